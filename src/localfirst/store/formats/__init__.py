"""What a path on the user's disk is, and what its files tell of the model: one file of this package per format.

Everything here reads files that may be damaged or hostile: by readers of our own, within bounds, and never by an
engine. What comes out is a value or a refusal, `ModelFileError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.gguf import describe_content
from localfirst.store.formats import gguf, litertlm, llamafile, onnx, openvino, safetensors
from localfirst.store.formats.found import Found, Told, check_regular, list_files, read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localfirst.types import Format

__all__ = ["FOLDER_MARKERS", "Found", "Told", "recognise", "tell"]


class _File(NamedTuple):
    """A format that is one file: known by its first bytes, or by its name, which then has to be right."""

    magic: bytes
    suffix: str
    find: Callable[[Path], Found]


class _Folder(NamedTuple):
    """A format that is a folder: known by a file in it."""

    marker: str
    find: Callable[[Path, frozenset[str]], Found]


# A llamafile begins as any program does; its name says that it is one.
_FILES = (
    _File(b"GGUF", ".gguf", gguf.find),
    _File(litertlm.MAGIC, ".litertlm", litertlm.find),
    _File(b"", llamafile.SUFFIX, llamafile.find),
    _File(b"", f"{llamafile.SUFFIX}.exe", llamafile.find),  # as Windows starts it
)
# In this order: a folder for OpenVINO has `config.json` too.
_FOLDERS = (
    _Folder(onnx.MARKER, onnx.find),
    _Folder(openvino.MARKER, openvino.find),
    _Folder(safetensors.MARKER, safetensors.find),
)
_TELL: dict[Format, Callable[[Path, Sequence[Path]], Told]] = {
    "gguf": gguf.tell,
    "llamafile": llamafile.tell,
    "litertlm": litertlm.tell,
    "onnx": onnx.tell,
    "openvino": openvino.tell,
    "mlx": safetensors.tell,
    "safetensors": safetensors.tell,
}
FOLDER_MARKERS = tuple(one.marker for one in _FOLDERS)
# Files that are part of a folder's model, by the end of their names.
_PARTS = (".onnx", ".safetensors", ".xml", ".onnx.data", ".json")
_CODE = (".py", ".pyc", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz", ".exe", ".sh", ".so", ".dll")


def recognise(path: Path) -> Found:
    """What `path` is, after looking at every file of it.

    Raises:
        ModelFileError: damaged, incomplete, or of a kind that is never loaded.
        OSError: it cannot be read.
    """
    return _find_folder(path) if path.is_dir() else _find_file(path)


def tell(model_format: Format, main: Path, files: Sequence[Path]) -> Told:
    """What a model's own files tell of it.

    Args:
        model_format: as it was recognised.
        main: what an engine opens, a file or a folder.
        files: all of them.

    Raises:
        ModelFileError: the files are no longer what they were.
        OSError: they cannot be read.
    """
    ask = _TELL.get(model_format)
    return ask(main, files) if ask else Told()


def _find_file(path: Path) -> Found:
    check_regular(path)
    name, head = path.name.lower(), _peek(path)
    for one in _FILES:
        if (one.magic and head.startswith(one.magic)) or name.endswith(one.suffix):
            return one.find(path)
    part = name.endswith(_PARTS) or (name.endswith(".bin") and path.with_suffix(".xml").is_file())
    if name.endswith(_CODE) and not part:
        raise ModelFileError(
            f"{path.name} may hold code, so it is never loaded", hint="Use a .gguf build of this model."
        )
    read_head(path)
    raise ModelFileError(
        f"{path.name} is {describe_content(head)}, and no model by itself" if part else f"{path.name} is no model",
        detail=None if part else f"It is {describe_content(head)}.",
        hint=f"Import its folder: `lf model import {path.parent}`." if part else _KINDS,
    )


def _peek(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


_KINDS = "Give a .gguf, .litertlm or .llamafile file, or the folder of an ONNX, OpenVINO or MLX model."


def _find_folder(path: Path) -> Found:
    names = list_files(path)
    for one in _FOLDERS:
        if one.marker in names and _is_such(one, names):
            return one.find(path, names)
    raise ModelFileError(
        f"{path} is not a model's folder",
        detail="It has no genai_config.json (ONNX), no openvino_model.xml, and no config.json with .safetensors (MLX).",
        hint=_find_hint(path, names),
    )


def _is_such(folder: _Folder, names: frozenset[str]) -> bool:
    """`config.json` alone is no sign: every repository has one."""
    return folder.marker != safetensors.MARKER or any(name.endswith(".safetensors") for name in names)


def _find_hint(path: Path, names: frozenset[str]) -> str:
    single = sorted(name for name in names if name.lower().endswith(tuple(one.suffix for one in _FILES)))
    if single:
        return f"Import the file: `lf model import {path / single[0]}`."
    if "openvino_language_model.xml" in names:
        return "OpenVINO models that see pictures are not taken yet; one for text has openvino_model.xml."
    inner = sorted(
        str(marker.parent)
        for folder in _FOLDERS[:2]
        for depth in ("*", "*/*")
        for marker in path.glob(f"{depth}/{folder.marker}")
    )
    return f"Import the folder inside: `lf model import {inner[0]}`." if inner else _KINDS

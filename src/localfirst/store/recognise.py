"""What a path on the user's disk is: a GGUF file, an ONNX Runtime GenAI folder, an MLX folder, or nothing to load."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from localfirst.errors import ModelFileError
from localfirst.gguf import read_header
from localfirst.store.builds import find_gguf_quantization, find_precision, find_shards
from localfirst.store.names import is_inert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.types import Format

_MAX_JSON_BYTES = 64 * 2**20
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# ONNX keeps big tensors in files of their own: StringStringEntryProto {key: "location", value: path}.
# Source: onnx, `onnx/onnx.proto3`, TensorProto.external_data; one length byte, so paths up to 127 bytes.
_EXTERNAL = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")
_NEVER = {
    ".py",
    ".pyc",
    ".pkl",
    ".pickle",
    ".pt",
    ".pth",
    ".ckpt",
    ".bin",
    ".npy",
    ".npz",
    ".exe",
    ".sh",
    ".so",
    ".dll",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A model on the user's disk: the folder, its files relative to it, and the quantization where a name says it."""

    format: Format
    root: Path
    paths: tuple[str, ...]
    quantization: str | None


def recognise(path: Path) -> Found:
    """What `path` is, after looking at every file of it.

    Raises:
        ModelFileError: damaged, incomplete, or of a kind that is never loaded.
        OSError: it cannot be read.
    """
    if path.is_file():
        if path.suffix.lower() in _NEVER:
            raise ModelFileError(
                f"{path.name} may hold code, so it is never loaded", hint="Use a .gguf build of this model."
            )
        return Found("gguf", path.parent, _check_gguf(path), find_gguf_quantization(path.name))
    if not path.is_dir():
        raise ModelFileError(f"{path} is neither a file nor a folder")
    names = {child.name for child in path.iterdir() if child.is_file()}
    if "genai_config.json" in names:
        return Found("onnx", path, _check_onnx(path, names), find_precision(str(path)))
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return Found("mlx", path, _check_mlx(path, names), find_precision(path.name))
    raise ModelFileError(
        f"{path} is not a model's folder",
        detail="It has neither genai_config.json (ONNX) nor config.json with .safetensors (MLX).",
        hint=_find_hint(path, names),
    )


def _find_hint(path: Path, names: set[str]) -> str:
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    if ggufs:
        return f"Import the file: `lf model import {path / ggufs[0]}`."
    inner = sorted(str(config.parent) for config in path.glob("*/*/genai_config.json"))
    inner += sorted(str(config.parent) for config in path.glob("*/genai_config.json"))
    return (
        f"Import the folder inside: `lf model import {inner[0]}`." if inner else "Give a .gguf file or such a folder."
    )


def _check_content(path: Path) -> None:
    """Refuse what is no weights at all.

    Raises:
        ModelFileError: empty, a web page, or a Git LFS pointer.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ModelFileError(f"{path.name} is empty", detail=str(path))
    if start.startswith(_LFS_POINTER):
        raise ModelFileError(
            f"{path.name} is a Git LFS pointer, not the file itself",
            detail=str(path),
            hint="Run `git lfs pull` in its repository, then import again.",
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise ModelFileError(
            f"{path.name} is a web page, not a model", detail=str(path), hint="Download the file again."
        )


def _check_gguf(path: Path) -> tuple[str, ...]:
    _check_content(path)
    shards = find_shards((child.name for child in path.parent.iterdir()), path.name)
    if shards is None:
        raise ModelFileError(
            f"Some shards of {path.name} are missing", detail=str(path.parent), hint="Put all shards into one folder."
        )
    for shard in shards:
        _check_content(path.parent / shard)
        with (path.parent / shard).open("rb") as file:
            read_header(file, (path.parent / shard).stat().st_size)
    return shards


def _read_json(path: Path) -> dict[str, object]:
    _check_content(path)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise ModelFileError(f"{path.name} is too long to be a configuration", detail=str(path))
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is not JSON", detail=f"{path}\n{error}") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} is not a configuration", detail=str(path))
    return value


def _find_filenames(value: object) -> Iterator[str]:
    """The files that genai_config.json names: every `filename` and `config_filename` under `model`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"filename", "config_filename"} and isinstance(inner, str):
                yield inner
            else:
                yield from _find_filenames(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _find_filenames(inner)


def _find_external(path: Path) -> set[str]:
    """Files beside an ONNX graph that hold its tensors."""
    data = path.read_bytes() if path.stat().st_size < 2**31 else b""  # protobuf ends at 2 GiB
    found = set()
    for match in _EXTERNAL.finditer(data):
        length = match[1][0]
        found.add(data[match.end() : match.end() + length].decode("utf-8", "replace"))
    return found


def _check_present(folder: Path, needed: set[str], present: set[str]) -> None:
    escaping = sorted(name for name in needed if "\\" in name or len(PurePosixPath(name).parts) != 1 or name == "..")
    if escaping:
        raise ModelFileError(
            "The model names files outside its folder", detail="\n".join(ascii(name) for name in escaping)
        )
    missing = sorted(needed - present)
    if missing:
        raise ModelFileError(f"{folder} is incomplete: {', '.join(missing)} missing", detail=str(folder))


def _check_onnx(folder: Path, names: set[str]) -> tuple[str, ...]:
    config = _read_json(folder / "genai_config.json")
    graphs = set(_find_filenames(config.get("model")))
    if not graphs:
        raise ModelFileError("genai_config.json names no model file", detail=str(folder))
    _check_present(folder, graphs | {"tokenizer.json"}, names)
    external = {name for graph in graphs if graph.endswith(".onnx") for name in _find_external(folder / graph)}
    _check_present(folder, external, names)
    files = tuple(sorted(name for name in names if is_inert(name, "onnx") or name in external))
    for name in files:
        _check_content(folder / name)
    return files


def _check_mlx(folder: Path, names: set[str]) -> tuple[str, ...]:
    config = _read_json(folder / "config.json")
    # mlx-lm before 0.32.2 runs the Python file named by `model_file` (CVE-2026-5843); `auto_map` does so elsewhere.
    code = sorted({"auto_map", "model_file"} & config.keys())
    if code:
        raise ModelFileError(
            f"{folder} asks for code of its own to be run, which is never done",
            detail=f"config.json: {', '.join(code)}",
        )
    index = folder / "model.safetensors.index.json"
    weights = _read_json(index).get("weight_map") if index.name in names else None
    shards = {str(shard) for shard in weights.values()} if isinstance(weights, dict) else set()
    _check_present(folder, shards | {"tokenizer.json"}, names)
    files = tuple(sorted(name for name in names if is_inert(name, "mlx")))
    for name in files:
        _check_content(folder / name)
        if name.endswith(".safetensors"):
            _check_safetensors(folder / name)
    return files


def _check_safetensors(path: Path) -> None:
    """Compare the length that a safetensors header announces with the file's.

    Source: safetensors, README "Format": u64 header length, JSON header with `data_offsets`, then the tensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, 100_000_000):
            raise ModelFileError(f"{path.name} is truncated or no safetensors file", detail=str(path))
        try:
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for key, tensor in header.items() if key != "__metadata__"]
            end = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"{path.name} has a damaged header", detail=f"{path}\n{error}") from error
    if end != size:
        raise ModelFileError(f"{path.name} is truncated: {size} bytes instead of {end}", detail=str(path))

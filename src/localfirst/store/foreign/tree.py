"""The builds in a folder of files with their published names, as the hub's cache and LM Studio keep them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import IntegrityError, ModelFileError
from localfirst.store.builds import find_gguf_quantization, find_shards
from localfirst.store.foreign.tool import MOST_ENTRIES, Build, ForeignFile, NotOursError, Refusal, is_inside, measure
from localfirst.store.formats import FOLDER_MARKERS, recognise
from localfirst.store.names import check_paths, is_projector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.store.foreign.tool import Finding

_SINGLE = (".litertlm", ".llamafile")
_MOST_DEPTH = 6
# Names that say nothing of the model: converters give them where they are told none.
_NAMELESS = ("", "model", "ggml-model", "gguf", "weights")


class Place(NamedTuple):
    """A repository as a tool keeps it: `root` and the folders that links in it may lead to."""

    keeper: str
    repo: str
    root: Path
    homes: tuple[Path, ...]
    announce: Callable[[Path], str | None]
    """The digest that a file's name says, if one does."""
    revision: str | None = None


def find_builds(place: Place) -> Iterator[Finding]:
    """Every build in a repository, and what is wrong with those that are none.

    Raises:
        OSError: the folder cannot be read.
    """
    for folder, names in _walk(place.root):
        for main in _find_mains(folder, names):
            label = "/".join((place.repo, *main.relative_to(place.root).parts))
            try:
                yield _make(place, main, label, folder, names)
            except NotOursError as refused:
                yield Refusal(place.keeper, label, refused.state, refused.reason)
            except (ModelFileError, IntegrityError) as error:
                yield Refusal(place.keeper, label, "unusable", error.message)
            except OSError as error:
                yield Refusal(place.keeper, label, "unusable", f"it cannot be read: {error.strerror}")


def _walk(root: Path) -> Iterator[tuple[Path, frozenset[str]]]:
    """The folders of a tree with the names of what is no folder in them, links as such."""
    seen = 0
    for parent, folders, names in os.walk(root, onerror=_fail):
        seen += len(folders) + len(names)
        if seen > MOST_ENTRIES:
            return
        depth = len(Path(parent).relative_to(root).parts)
        folders[:] = [] if depth >= _MOST_DEPTH else sorted(name for name in folders if not name.startswith("."))
        yield Path(parent), frozenset(names)


def _fail(error: OSError) -> None:
    raise error


def _find_mains(folder: Path, names: frozenset[str]) -> Iterator[Path]:
    """What `recognise` is to be asked about: the folder itself, and files in it, of shards the first that is there."""
    if any(marker in names for marker in FOLDER_MARKERS) and _has_weights(names):
        yield folder
    seen = set[str]()
    for name in sorted(names):
        if name.lower().endswith(_SINGLE):
            yield folder / name
        if name.lower().endswith(".gguf") and not is_projector(name):
            stem = re.sub(r"-\d{5}(-of-\d{5}\.gguf)$", r"\1", name)
            if stem not in seen:
                seen.add(stem)
                yield folder / name


def _has_weights(names: frozenset[str]) -> bool:
    return any(name.endswith((".onnx", ".xml", ".safetensors")) for name in names)


def _make(place: Place, main: Path, label: str, folder: Path, names: frozenset[str]) -> Build:
    _check(place, main, folder, names)
    found = recognise(main)
    check_paths(found.paths, label)
    files = tuple(_describe(place, found.root / path) for path in found.paths)
    named = found.format
    if named == "mlx" and not _says_mlx(place.repo, found.quantization):
        named = "safetensors"
    return Build(
        keeper=place.keeper,
        label=label,
        name=_name(place.repo, main, is_file=main != folder),
        format=named,
        quantization=found.quantization,
        root=found.root,
        files=files,
        revision=place.revision,
    )


def _says_mlx(repo: str, quantization: str | None) -> bool:
    """Whether a folder is a build for MLX, which could also load what it was converted from."""
    return quantization is not None or re.search(r"(?<![a-z])mlx(?![a-z])", repo.lower()) is not None


def _check(place: Place, main: Path, folder: Path, names: frozenset[str]) -> None:
    """Look at the names before anything is opened: missing shards, and links to where they should not lead."""
    if main == folder:
        needed: Sequence[str] = sorted(names)
        if "tokenizer.json" not in names and not names & {"genai_config.json", "openvino_model.xml"}:
            raise NotOursError("unusable", "it is no language model that lf runs")
    else:
        ggufs = [name for name in names if name.lower().endswith(".gguf")]
        shards = find_shards(ggufs, main.name)
        if shards is None:
            raise NotOursError("incomplete", "some of its shards are missing")
        needed = (*shards, *(name for name in ggufs if is_projector(name)))
    for name in needed:
        path = folder / name
        if not is_inside(path, place.homes):
            raise NotOursError("unusable", f"{name} is a link to elsewhere: {os.path.realpath(path)}")
        if not path.exists():
            raise NotOursError("incomplete", f"{name} is a link to a file that is not there")


def _describe(place: Place, path: Path) -> ForeignFile:
    size = measure(path)
    if size is None:
        raise NotOursError("incomplete", f"{path.name} is not there any more")
    return ForeignFile(place.keeper, path, size, place.announce(path))


def _name(repo: str, main: Path, *, is_file: bool) -> str:
    """`Qwen3-4B-Q4_K_M` by the file; by the repository where that says nothing, and for folders with what is below."""
    short = repo.rsplit("/", 1)[-1]
    if not is_file:
        return short if main.name in {short, ""} or _is_commit(main.name) else f"{short}-{main.name}"
    stem = re.sub(r"(?i)(-\d{5}-of-\d{5})?\.(gguf|litertlm|llamafile)$", "", main.name)
    quantization = find_gguf_quantization(main.name) or ""
    rest = stem.lower().replace(quantization.lower(), "").strip("-._ ")
    return f"{short}-{quantization}".strip("-") if rest in _NAMELESS else stem


def _is_commit(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", name) is not None

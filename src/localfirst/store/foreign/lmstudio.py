"""LM Studio's models: `<publisher>/<repository>/<files>`, with the files' names as they were published.

Source: lmstudio.ai/docs, "Import Models"; lmstudio-ai/lms, `lmstudioPaths.ts` and its `findLMStudioHome`, for the home
and the pointer to it. That `settings.json` there names another folder as `downloadsFolder` is how the application was
seen to behave; no document says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.store.foreign import tree
from localfirst.store.foreign.tool import (
    ForeignFile,
    NotOursError,
    Refusal,
    Tool,
    find_user_folder,
    list_folder,
    list_folders,
    look_in,
    measure,
    read_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.store.foreign.tool import Finding

KEEPER = "lmstudio"
_POINTER = ".lmstudio-home-pointer"
_HOMES = (".lmstudio", ".cache/lm-studio")
_UNFINISHED = (".part", ".incomplete", ".download", ".tmp")
_MODELS = (".gguf", ".safetensors", ".onnx", ".litertlm")


def find_folders(environment: Mapping[str, str]) -> Sequence[Path]:
    """The folders of its homes, the one that it points to first, and any other that its settings name."""
    user = find_user_folder(environment)
    pointed = _read_pointer(user / _POINTER)
    homes = (*([pointed] if pointed else []), *(user / home for home in _HOMES))
    chosen = (_read_setting(home / "settings.json") for home in homes)
    return tuple(dict.fromkeys((*filter(None, chosen), *(home / "models" for home in homes))))


def find_findings(folder: Path) -> Iterator[Finding]:
    """Every build of every repository."""
    yield from _find_links(folder, "")
    for publisher in list_folders(folder):
        yield from _find_links(publisher, f"{publisher.name}/")

    def find_in(repository: Path, repo: str) -> Iterator[Finding]:
        yield from tree.find_builds(tree.Place(KEEPER, repo, repository, (folder,), lambda _: None))
        yield from _find_unfinished(repository, repo)

    yield from look_in(KEEPER, _find_repositories(folder), find_in)


def find_files(folder: Path) -> Iterator[ForeignFile]:
    """All files of weights, no links."""
    for repository, _ in _find_repositories(folder):
        for entry in list_folder(repository):
            path = Path(entry.path)
            size = measure(path) if entry.is_file(follow_symlinks=False) else None
            if size is not None and entry.name.lower().endswith(_MODELS):
                yield ForeignFile(KEEPER, path, size, None)


def _find_repositories(folder: Path) -> Iterator[tuple[Path, str]]:
    for publisher in list_folders(folder):
        for repository in list_folders(publisher):
            yield repository, f"{publisher.name}/{repository.name}"


def _find_links(folder: Path, start: str) -> Iterator[Refusal]:
    """Folders by links, which its users make: they are not followed, and it is said how to have them."""
    for entry in list_folder(folder):
        if entry.is_symlink() and Path(entry.path).is_dir():  # which takes a link to itself for none
            target = os.path.realpath(entry.path)
            yield Refusal(KEEPER, start + entry.name, "unusable", f"it is a link; `lf model import {target}` takes it")


def _find_unfinished(repository: Path, repo: str) -> Iterator[Refusal]:
    for entry in list_folder(repository):
        if entry.name.lower().endswith(_UNFINISHED) and not entry.is_dir():
            yield Refusal(KEEPER, f"{repo}/{entry.name}", "incomplete", "its download has not ended")


def _read_pointer(path: Path) -> Path | None:
    if measure(path) is None:
        return None
    try:
        with path.open("rb") as file:
            home = Path(file.read(4096).decode().strip())
    except (OSError, ValueError):
        return None
    return home if home.is_absolute() else None


def _read_setting(path: Path) -> Path | None:
    try:
        value = read_json(path).get("downloadsFolder")
    except (NotOursError, OSError):
        return None
    return Path(value) if isinstance(value, str) and "\0" not in value and Path(value).is_absolute() else None


TOOL = Tool("lmstudio", KEEPER, find_folders, find_findings, find_files)

"""What a model on the user's disk is and tells, and the checks that all formats share."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.store.names import is_inert
from localfirst.types import Architecture

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.types import Format, Task

MOST_JSON_BYTES = 16 * 2**20
"""Of a configuration or an index of weights: 100,000 tensors by name take half of it."""
MOST_FILES = 10_000
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MARKUP = (b"<!doctype html", b"<html", b"<head")


class Found(NamedTuple):
    """A model on the user's disk: the folder, its files relative to it, and the quantization where anything says it."""

    format: Format
    root: Path
    paths: tuple[str, ...]
    quantization: str | None = None


class Told(NamedTuple):
    """What a model's own files tell of it; unknown where they do not."""

    architecture: Architecture = Architecture()
    title: str | None = None
    parameters: int | None = None
    license: str | None = None
    context_tokens: int | None = None
    """The context that the build was made for and always allocates, where it is one of that kind."""
    task: Task | None = None
    """What the model is for."""
    devices: tuple[str, ...] = ()
    """What the build was made for, as a catalog calls it; nothing where it does not say."""


def list_files(folder: Path, suffix: str = "") -> frozenset[str]:
    """Names of the regular files of a folder that end so, also by links; pipes, sockets and devices are none.

    Raises:
        ModelFileError: there are too many files for a model's folder.
        OSError: it cannot be read.
    """
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) >= MOST_FILES:
                raise ModelFileError(
                    f"{folder} is no model's folder: too many files", hint="Give the model's own file."
                )
            if entry.name.lower().endswith(suffix) and _is_file(entry):
                names.append(entry.name)
    return frozenset(names)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, also by links; those that lead in a circle lead to none.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def check_regular(path: Path) -> None:
    """Refuse what is no file before it is opened: reading a pipe waits for ever, a device never ends.

    Raises:
        ModelFileError: it is a pipe, a socket or a device.
        OSError: it is not there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((text for is_such, text in _KINDS if is_such(mode)), "no file")
        raise ModelFileError(f"{path} is {kind}, not a model's file or folder")


_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def read_head(path: Path) -> bytes:
    """The first bytes of a file, after looking that they are weights at all.

    Raises:
        ModelFileError: no file, empty, a web page, or a Git LFS pointer.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise ModelFileError(f"{path.name} is empty", detail=str(path), hint="Download the file again.")
    if head.startswith(_LFS_POINTER):
        raise ModelFileError(
            f"{path.name} is a Git LFS pointer, not the file itself",
            detail=str(path),
            hint="Run `git lfs pull` in its repository, then import again.",
        )
    if head.lstrip().lower().startswith(_MARKUP):
        raise ModelFileError(
            f"{path.name} is a web page, not a model", detail=str(path), hint="Download the file again."
        )
    return head


def read_json(path: Path) -> dict[str, object]:
    """A configuration: a JSON object.

    Raises:
        ModelFileError: too long, no JSON, or no object.
        OSError: it cannot be read.
    """
    read_head(path)
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ModelFileError(f"{path.name} is too long to be a configuration", detail=str(path))
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is not JSON", detail=f"{path}\n{error}") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} is not a configuration", detail=str(path))
    return value


def check_named(folder: Path, needed: Iterable[str], present: frozenset[str]) -> None:
    """Refuse files that a file of the model names and an engine would open, unless they are in the model's folder.

    Raises:
        ModelFileError: a name leads out of the folder, or nothing has it.
    """
    names = frozenset(needed)
    escaping = sorted(name for name in names if "\\" in name or len(PurePosixPath(name).parts) != 1 or name == "..")
    if escaping:
        raise ModelFileError(
            "The model names files outside its folder", detail="\n".join(ascii(name) for name in escaping)
        )
    missing = sorted(names - present)
    if missing:
        raise ModelFileError(
            f"{folder.name} is incomplete: {', '.join(missing)} missing",
            detail=str(folder),
            hint="Download what is missing into this folder.",
        )
    for name in sorted(names):
        _check_links(folder, name)


def _check_links(folder: Path, name: str) -> None:
    """A link out of the folder is followed only where the Hugging Face cache made it, to `blobs` beside `snapshots`.

    Engines that read the file would be made to read any file of the user's by a link in an unpacked archive. Source for
    the cache: huggingface_hub, "Understand caching".
    """
    here, target = Path(os.path.realpath(folder)), Path(os.path.realpath(folder / name))
    repository = next((parent for parent in here.parents if parent.name.startswith("models--")), None)
    homes = [here] if repository is None else [here, repository / "blobs"]
    if not any(target.is_relative_to(home) for home in homes):
        raise ModelFileError(
            "The model names a file that is a link out of its folder",
            detail=f"{folder / name}\nleads to {target}",
            hint="If you trust it, put the file itself there.",
        )


def keep_inert(names: Iterable[str], model_format: Format) -> tuple[str, ...]:
    """The names of files that only carry data, in order: no code, no pickle."""
    return tuple(sorted(name for name in names if is_inert(name, model_format)))

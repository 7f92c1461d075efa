"""Models that other tools keep, recorded in this store by reference: no byte is copied, none of theirs is written.

A file's digest is what its bytes say. It is known again without reading them where size and time of change are those of
when they were read; these are kept in the cache, which may be lost.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import IntegrityError, StoreError
from localfirst.store import manifest, removal, revisions
from localfirst.store.claim import claim
from localfirst.store.disk import hash_file, write_atomically
from localfirst.store.keepers import say_keeper
from localfirst.store.progress import Meter, ignore
from localfirst.store.verify import is_whole
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from localfirst.store.foreign import Build
    from localfirst.types import Format, Host, Progress

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


class Reading(NamedTuple):
    """What was read of a build: its files with the digests of their bytes, and their stamps as they were then."""

    files: tuple[InstalledFile, ...]
    stamps: Mapping[str, Stamp]


class Target(NamedTuple):
    """As what a build is recorded."""

    name: str
    variant: str
    format: Format
    quantization: str | None
    host: Host = "import"
    repo: str | None = None
    revision: str | None = None
    title: str | None = None


def find_known_files(build: Build, recorded: InstalledModel) -> tuple[InstalledFile, ...] | None:
    """The files of a build as they are recorded, where nothing was written to since; else `None`."""
    files = {file.path: file for file in recorded.files}
    stamps = _read_stamps()
    if recorded.root != str(build.root) or files.keys() != set(build.paths):
        return None
    for file in build.files:
        stamp = _read_stamp(file.path)
        if stamp is None or stamps.get(str(file.path)) != stamp:
            return None
    return tuple(files[path] for path in build.paths)


def read_files(build: Build, report: Callable[[Progress], None] = ignore) -> Reading:
    """The files of a build, every byte of them read.

    Raises:
        IntegrityError: a file is not what its name announces.
        StoreError: it cannot be read, or changes meanwhile.
    """
    meter = Meter(say_keeper(build.keeper), build.size_bytes, report)
    files, stamps = [], {}
    for path, file in zip(build.paths, build.files, strict=True):
        try:
            before = _read_stamp(file.path)
            digest = hash_file(file.path, partial(meter.add, file=build.label))
        except OSError as error:
            raise StoreError(f"{file.path} cannot be read", detail=str(error)) from error
        if before is None or before != _read_stamp(file.path) or before[0] != file.size_bytes:
            raise StoreError(f"{file.path} changes while it is read")
        if file.sha256_announced not in {None, digest}:
            raise IntegrityError(
                f"{file.path} is damaged", detail=f"its name says: {file.sha256_announced}\nits bytes:     {digest}"
            )
        files.append(InstalledFile(path, file.size_bytes, digest))
        stamps[str(file.path)] = before
    return Reading(tuple(files), stamps)


def describe(build: Build, files: Sequence[InstalledFile], target: Target) -> InstalledModel:
    """A build of another tool's as a model of this store."""
    return InstalledModel(
        **target._asdict(),
        root=str(build.root),
        files=tuple(files),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        keeper=build.keeper,
    )


def record(
    model: InstalledModel,
    replaced: Sequence[InstalledModel],
    stamps: Mapping[str, Stamp],
    report: Callable[[Progress], None] = ignore,
) -> None:
    """Let there be this model in the place of others that are records of it, too.

    `stamps` are those of the files that were just read for it; what is written to a file since is to be noticed.

    Raises:
        StoreError: the store cannot be written, or another process has given the name to another model meanwhile.
    """
    with claim(lambda: manifest.find_home(model), model.name, report) as (folder, _):
        there = manifest.find_in(folder)
        if there is not None and there not in replaced and there.files != model.files and is_whole(there):
            raise StoreError(
                f"`{model.name}` has become the name of another model meanwhile",
                detail=f"{there.root}\n{model.root}",
                hint="Run the same command again.",
            )
        manifest.write(model)
    for old in replaced:
        if manifest.find_manifest(old) != manifest.find_manifest(model):
            removal.remove(old)
    everything = manifest.find_all()
    revisions.make_current(model, everything)
    _keep_stamps(stamps, everything)


def _find_stamps() -> Path:
    return paths.cache_dir() / "adopted.json"


def _read_stamps() -> dict[str, Stamp]:
    """What was kept; nothing where it cannot be read, so that all is read again."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        record = json.loads(_find_stamps().read_text(encoding="utf-8"))
        return {path: (size, changed_ns) for path, (size, changed_ns) in record.items()}
    return {}


def _read_stamp(path: Path) -> Stamp | None:
    with suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def _keep_stamps(read: Mapping[str, Stamp], installed: Iterable[InstalledModel]) -> None:
    """Keep those of files that were just read, and of others that still are files of models."""
    used = {str(Path(one.root) / file.path) for one in installed if one.keeper for file in one.files}
    stamps = {path: stamp for path, stamp in (_read_stamps() | dict(read)).items() if path in used}
    with suppress(OSError):
        _find_stamps().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_find_stamps(), json.dumps(stamps))

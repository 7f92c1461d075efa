"""Copies of the user's files in the store: staged beside the model's folder's files, then put in their place at once.

A copy is made in `.partial/files/`, where it has its name once it is whole and on the disk; when all are whole, they go
to `files/`. A copy that a killed process left is used again if its bytes are the original's, else replaced.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import StoreError
from localfirst.store import layout
from localfirst.store.disk import check_space, explained, hash_file, sync_folder
from localfirst.store.transfer.copy import copy_file
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.store.progress import Meter


def stage(root: Path, paths: Sequence[str], folder: Path, meter: Meter) -> tuple[InstalledFile, ...]:
    """Copy files of `root` beside a model's folder, with the digest of what was written.

    Raises:
        DiskFullError: before the first byte if they cannot fit, else where the disk ended; what is whole is kept.
        StoreError: a file cannot be read, changes meanwhile, or the store cannot be written.
    """
    staged = folder / layout.PARTIAL / layout.FILES
    with explained(folder):
        for left in staged.rglob("*.tmp"):
            left.unlink()
        check_space(folder, sum(_find_size(root / path) for path in paths if not _is_there(root, path, folder)))
        staged.mkdir(parents=True, exist_ok=True)
        return tuple(_copy(root, path, folder, meter) for path in paths)


def settle(files: Sequence[InstalledFile], folder: Path) -> None:
    """Put what was staged in its place. The manifest has to be gone before, and is written after.

    Raises:
        StoreError: the store cannot be written.
    """
    staged, settled = folder / layout.PARTIAL / layout.FILES, folder / layout.FILES
    with explained(folder):
        for file in files:
            target = settled / file.path
            if (staged / file.path).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (staged / file.path).replace(target)
                sync_folder(target.parent)


def clear(folder: Path, *, keep: Sequence[InstalledFile] = ()) -> None:
    """Remove what an import left in a model's folder but for the files to keep; what cannot be removed stays."""
    with suppress(OSError):
        shutil.rmtree(folder / layout.PARTIAL)
    needed = {folder / layout.FILES / file.path for file in keep}
    for parent, _, names in os.walk(folder / layout.FILES, topdown=False):
        for path in (Path(parent, name) for name in names):
            if path not in needed:
                with suppress(OSError):
                    path.unlink()
        with suppress(OSError):  # not empty
            Path(parent).rmdir()


def _find_size(path: Path) -> int:
    with _reading(path):
        return path.stat().st_size


def _find_copies(path: str, folder: Path) -> tuple[Path, Path]:
    """Where a whole copy may be: staged, or in its place from an import before."""
    return folder / layout.PARTIAL / layout.FILES / path, folder / layout.FILES / path


def _is_there(root: Path, path: str, folder: Path) -> bool:
    """Whether there is a copy of this size, which mostly is the right one."""
    size = _find_size(root / path)
    return any(copy.is_file() and copy.stat().st_size == size for copy in _find_copies(path, folder))


def _copy(root: Path, path: str, folder: Path, meter: Meter) -> InstalledFile:
    source, count = root / path, partial(meter.add, file=path)
    size = _find_size(source)
    staged, settled = _find_copies(path, folder)
    if _is_there(root, path, folder):
        with _reading(source):
            digest = hash_file(source, count)
        if staged.is_file() and hash_file(staged, _ignore) != digest:
            staged.unlink()
        if any(copy.is_file() and hash_file(copy, _ignore) == digest for copy in (staged, settled)):
            return InstalledFile(path, size, digest)
        meter.add(-size, path)
    return InstalledFile(path, size, _write(source, staged, count))


def _ignore(_: int) -> None:
    pass


def _write(source: Path, target: Path, count: Callable[[int], None]) -> str:
    """Copy a file; its digest. There is nothing to mend a part of it from, so that no trail is kept."""
    with _reading(source):
        before = source.stat()
        source.open("rb").close()
    digest = copy_file(source, target, None, count=count)
    with _reading(source):
        after = source.stat()
    if digest is None or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        target.unlink()
        raise StoreError(f"{source} changed while it was copied", hint="Import it when it is whole.")
    return digest


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error about the user's file into one that says so: it is not the store's."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be read", detail=str(error)) from error

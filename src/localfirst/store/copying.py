"""Copies of the user's files in the store: staged beside the model's folder's files, then put in their place at once.

While a copy grows it is `.partial/files/<path>.part`; whole and on the disk it loses the ending; when all are whole,
they go to `files/`. A copy that a killed process left is used again if its bytes are the original's, else replaced.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import StoreError
from localfirst.store import layout
from localfirst.store.disk import READ_BYTES, check_space, explained, hash_file, sync_folder
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import FileIO

    from localfirst.store.progress import Meter

_PART = ".part"
_FICLONE = 0x40049409
"""The Linux call that lets two files share their blocks, on Btrfs, XFS and others. Source: `linux/fs.h`."""


def stage(root: Path, paths: Sequence[str], folder: Path, meter: Meter) -> tuple[InstalledFile, ...]:
    """Copy files of `root` beside a model's folder, with the digest of what was written.

    Raises:
        DiskFullError: before the first byte if they cannot fit, else where the disk ended; what is whole is kept.
        StoreError: a file cannot be read, changes meanwhile, or the store cannot be written.
    """
    staged = folder / layout.PARTIAL / layout.FILES
    with explained(folder):
        for left in staged.rglob(f"*{_PART}"):
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
    source = root / path
    if _is_there(root, path, folder):
        with _reading(source):
            digest = hash_file(source, partial(meter.add, file=path))
        for copy in _find_copies(path, folder):
            if copy.is_file() and hash_file(copy, _ignore) == digest:
                return InstalledFile(path, copy.stat().st_size, digest)
        meter.add(-source.stat().st_size, path)
    target = _find_copies(path, folder)[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    size, digest = _write(source, part, partial(meter.add, file=path))
    part.replace(target)
    sync_folder(target.parent)
    return InstalledFile(path, size, digest)


def _ignore(_: int) -> None:
    pass


def _write(source: Path, part: Path, count: Callable[[int], None]) -> tuple[int, str]:
    """Copy a file, durably; its size and digest. What is not whole is of no use, and goes."""
    try:
        with _reading(source):
            original = source.open("rb", buffering=0)
        with original, part.open("wb", buffering=0) as copy:
            return _transfer(original, copy, source, count)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _transfer(original: FileIO, copy: FileIO, source: Path, count: Callable[[int], None]) -> tuple[int, str]:
    before, digest = os.fstat(original.fileno()), hashlib.sha256()
    shared = _share(original, copy)
    buffer = memoryview(bytearray(READ_BYTES))
    while size := _read(original, buffer, source):
        digest.update(buffer[:size])
        if not shared:
            _write_all(copy, buffer[:size])
        count(size)
    os.fsync(copy.fileno())
    after, written = os.fstat(original.fileno()), os.fstat(copy.fileno()).st_size
    if (before.st_size, before.st_mtime_ns, written) != (after.st_size, after.st_mtime_ns, after.st_size):
        raise StoreError(f"{source} changed while it was copied", hint="Import it when it is whole.")
    return written, digest.hexdigest()


if sys.platform == "linux":
    import fcntl

    def _share(original: FileIO, copy: FileIO) -> bool:
        """Let the copy have the original's blocks, where the file system can: at once, and without taking space."""
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
        return True
else:

    def _share(_original: FileIO, _copy: FileIO) -> bool:
        return False


def _read(original: FileIO, buffer: memoryview, source: Path) -> int:
    with _reading(source):
        return original.readinto(buffer)


def _write_all(copy: FileIO, data: memoryview) -> None:
    while data:
        data = data[copy.write(data) :]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error about the user's file into one that says so: it is not the store's."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be read", detail=str(error)) from error

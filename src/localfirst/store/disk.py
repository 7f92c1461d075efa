"""Writing so that it survives a crash, and saying what is wrong when it cannot be written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import DiskFullError, StoreError
from localfirst.units import format_bytes

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

# EFBIG: a limit on file sizes (ulimit -f, FAT32) looks like a full disk and is solved like one.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PLACE = "Set LF_HOME to a folder that there is, or that can be made."
_HINTS = {errno.ENOTDIR: _NO_PLACE, errno.ENOENT: _NO_PLACE}
READ_BYTES = 2**20
MORE_SPACE = "Free some space (`lf store gc`, `lf rm`), or put the store on a larger disk: `lf store move DIR`."


def is_full(error: OSError) -> bool:
    """Whether an error says that no space, quota or file-size limit is left."""
    return error.errno in _FULL


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the system's errors about the store into ours.

    Raises:
        DiskFullError: no space, quota or file-size limit left.
        StoreError: anything else that the system refuses; where nothing of ours can be written, that.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFullError(
                f"The disk is full: {error.strerror}",
                detail=f"{path}\nWhat has been fetched is kept.",
                hint="Free some space and run the same command again; it goes on where it stopped.",
            ) from error
        paths.require_writable()
        raise StoreError(
            f"The store cannot be used: {error.strerror or error}",
            detail=str(error.filename or path),
            hint=_HINTS.get(error.errno or 0, "Make the folder writable, or set LF_HOME to a folder that is."),
        ) from error


def size_on_disk(status: os.stat_result) -> int:
    """Bytes that a file takes on the disk: of one with holes less than its length, of a preallocated one more."""
    blocks: int | None = getattr(status, "st_blocks", None)  # of 512 bytes, whatever the file system's are: stat(2)
    return status.st_size if blocks is None else blocks * 512


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable. Windows has no such call and needs none for a rename."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str, mode: int | None = None) -> None:
    """Write a small file so that it is there whole or not at all, also after a power cut; `mode`: who may read it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            if mode is not None:
                temporary.chmod(mode)
            file.write(text)
            file.flush()
            sync_file(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def free_bytes(path: Path) -> int:
    """Free space where `path` is or will be."""
    return shutil.disk_usage(_find_existing(path)).free


def find_apart(path: Path, other: Path) -> int | None:
    """Free bytes where `path` is or will be, if that is another disk than `other`'s.

    `None` where it is the same one, or one that cannot be looked at.
    """
    with suppress(OSError):
        path, other = _find_existing(path), _find_existing(other)
        if path.stat().st_dev != other.stat().st_dev:
            return shutil.disk_usage(path).free
    return None


def _find_existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def check_space(path: Path, needed_bytes: int, *, hint: str = MORE_SPACE) -> None:
    """Refuse to begin what cannot end; 5 % more than the files, for the file system's own needs.

    Raises:
        DiskFullError: with both numbers.
    """
    needed, free = needed_bytes + needed_bytes // 20, free_bytes(path)
    if needed > free:
        raise DiskFullError(
            f"Not enough space: {format_bytes(needed)} needed, {format_bytes(free)} free",
            detail=str(path),
            hint=hint,
        )


def read_all(descriptor: int, size: int) -> bytes:
    """So many bytes from where the descriptor stands; fewer where the file ends.

    Raises:
        OSError: it cannot be read.
    """
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def read_into(file: io.FileIO, buffer: memoryview) -> int:
    """Fill a buffer from where a file stands; how many bytes there were, fewer where the file ends.

    Raises:
        OSError: it cannot be read.
    """
    filled = 0
    while filled < len(buffer) and (more := file.readinto(buffer[filled:])):
        filled += more
    return filled


def write_all(descriptor: int, data: bytes) -> None:
    """All of these bytes, where the descriptor stands.

    Raises:
        OSError: they cannot be written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def measure_allocated(path: Path) -> int:
    """Bytes that a file takes on the disk, which are fewer than its size where it has holes.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    return min(status.st_size, size_on_disk(status))


def hash_file(path: Path, count: Callable[[int], None]) -> str:
    """The file's SHA-256 in hexadecimal; `count` hears of every block of bytes read.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            count(size)
    return digest.hexdigest()


def start_git_hash(size_bytes: int) -> hashlib._Hash:
    r"""A hash that names a git object of so many bytes, once it has had them; hubs list it for their small files.

    Source: git's object format, "blob <size>\0<content>".
    """
    return hashlib.sha1(f"blob {size_bytes}\0".encode(), usedforsecurity=False)


if sys.platform == "darwin":
    import fcntl

    def sync_file(descriptor: int) -> None:
        """Make the bytes of an open file durable, also those in the drive's own memory.

        Source: macOS, fsync(2) and fcntl(2), F_FULLFSYNC.
        """
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
else:

    def sync_file(descriptor: int) -> None:
        """Make the bytes of an open file durable."""
        os.fsync(descriptor)


if sys.platform == "linux":
    import fcntl

    _FICLONE = 0x40049409

    def share_blocks(original: int, copy: int) -> bool:
        """Let an empty file have another's blocks: at once and without taking space, on Btrfs, XFS and their like.

        Returns False where the file system cannot. Source: `FICLONE` in Linux, `include/uapi/linux/fs.h`.
        """
        try:
            fcntl.ioctl(copy, _FICLONE, original)
        except OSError:
            return False
        return True
else:

    def share_blocks(original: int, copy: int) -> bool:  # noqa: ARG001
        """Nothing is known here of a call that does so."""
        return False

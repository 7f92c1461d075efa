"""A lock on a file, which the operating system drops when its last holder ends, however it ends.

The file stays behind: removing it would let two processes lock two files of one name.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL_S = 0.1
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextmanager
def hold(path: Path, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock on `path`, made if need be; yields its descriptor.

    While another process has it, `waiting` is told its process id (`?` where that cannot be read), and again when the
    holder changes. A child process that inherits the descriptor keeps the lock until it ends too (not on Windows).

    Raises:
        OSError: the file cannot be made or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, waiting)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, waiting: Callable[[str], None]) -> None:
    told = None
    while not _try_lock(descriptor):
        owner = _read_owner(descriptor)
        if owner != told:
            waiting(owner)
            told = owner
        time.sleep(_POLL_S)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def _read_owner(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).decode("ascii", "replace").strip()
    return text if text.isdigit() else "?"


def _try_lock(descriptor: int) -> bool:
    try:
        _lock_now(descriptor)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock_now(descriptor: int) -> None:
        # A byte far behind the text: Windows locks are mandatory, and the owner's number must stay readable.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_now(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

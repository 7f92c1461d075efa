"""One process at a time per model folder. The operating system drops the lock when its owner dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localfirst.store.disk import explained
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_S = 0.2
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        # A byte far behind the text: Windows locks are mandatory, and the owner's number must stay readable.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True


def _read_owner(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).decode("ascii", "replace").strip()
    return text if text.isdigit() else "?"


def _write_owner(descriptor: int) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


@contextmanager
def hold(path: Path, what: str, report: Callable[[Progress], None]) -> Iterator[None]:
    """Hold the lock file `path`; while another process has it, wait and say which one.

    The file stays behind: removing it would let two processes lock two files of one name.

    Raises:
        StoreError: the file cannot be made or locked.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = ""
        while True:
            with explained(path):
                if _try_lock(descriptor):
                    break
                owner = _read_owner(descriptor)
            if owner != told:
                notice = f"waiting for process {owner}, which is fetching it"
                report(Progress(what, 0, None, None, {"notice": notice}))
                told = owner
            time.sleep(POLL_S)
        with explained(path):
            _write_owner(descriptor)
        yield
    finally:
        os.close(descriptor)

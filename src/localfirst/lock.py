"""A lock on a file, which the operating system drops when its last holder ends, however it ends.

The file stays behind: removing it would let two processes lock two files of one name. A holder that promises to give
signs of life, and then gives none, loses its lock: another process puts a new file in the place of the one it holds.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STALE_S = 60.0
"""Without a sign of life for so long, a holder that promised them hangs."""
_POLL_S = 0.1
_BEAT_S = 1.0
_BEATS = "beats"
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class LeaseLostError(Exception):
    """Another process has taken this lock over, since this one gave no sign of life. Touch nothing more."""


class Lease:
    """A lock that is held."""

    def __init__(self, path: Path, descriptor: int, *, taken_over: bool = False) -> None:
        self.descriptor = descriptor
        """A child process that inherits it keeps the lock until it ends too (not on Windows)."""
        self.taken_over = taken_over
        """The holder before hangs, and may wake up with files still open."""
        self._path = path
        self._beaten_at = float("-inf")

    def beat(self) -> None:
        """Give a sign of life; at most one a second reaches the disk.

        Raises:
            LeaseLostError: too late.
        """
        now = time.monotonic()
        if now - self._beaten_at >= _BEAT_S:
            self._beaten_at = now
            self.check()
            with suppress(OSError):  # a disk that has become read-only says so elsewhere
                os.utime(self._path)

    def check(self) -> None:
        """Make sure that the lock is still this process's own.

        Raises:
            LeaseLostError: it is not.
        """
        if not _is_current(self._path, self.descriptor):
            raise LeaseLostError


@contextmanager
def hold(
    path: Path, waiting: Callable[[str], None], *, beating: bool = False, stale_s: float = STALE_S
) -> Iterator[Lease]:
    """Hold the lock on `path`, made if need be.

    While another process has it, `waiting` is told its process id (`?` where that cannot be read), and again when the
    holder changes. With `beating` this holder promises to call `Lease.beat` every few seconds.

    Raises:
        OSError: the file cannot be made or locked.
    """
    lease = _acquire(path, waiting, stale_s)
    try:
        os.lseek(lease.descriptor, 0, os.SEEK_SET)
        with suppress(OSError):  # a full disk: the lock is held all the same, and who frees space has to have it
            os.ftruncate(lease.descriptor, 0)
            os.write(lease.descriptor, f"{os.getpid()}{f' {_BEATS}' if beating else ''}\n".encode())
        yield lease
    finally:
        os.close(lease.descriptor)


class _BusyError(Exception):
    """Another process has the lock."""


def _refuse(_: str) -> None:
    raise _BusyError


@contextmanager
def try_hold(path: Path) -> Iterator[bool]:
    """Hold the lock on `path`, made if need be, if that takes no waiting; yields whether it does.

    Raises:
        OSError: the file cannot be made or locked.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold(path, _refuse))
            free = True
        except _BusyError:
            free = False
        yield free


def is_busy(path: Path) -> bool:
    """Whether a process holds the lock on `path`. Makes no file; one that nobody can open nobody holds."""
    if not path.exists():
        return False
    try:
        with try_hold(path) as free:
            return not free
    except OSError:
        return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _is_current(path: Path, descriptor: int) -> bool:
    """Whether the file that is open is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _acquire(path: Path, waiting: Callable[[str], None], stale_s: float) -> Lease:
    told, seen, unchanged_s = None, None, 0.0
    while True:
        descriptor = _open(path)
        try:
            while _is_current(path, descriptor):
                if _try_lock(descriptor):
                    if _is_current(path, descriptor):
                        lease, descriptor = Lease(path, descriptor), -1
                        return lease
                    break
                owner, beats, beat = _read_owner(descriptor)
                if owner != told:
                    waiting(owner)
                    told = owner
                # Only what was watched counts: neither a clock that is set nor a computer that sleeps makes time pass.
                seen, unchanged_s = beat, unchanged_s + _POLL_S if beat == seen else 0.0
                if beats and unchanged_s >= stale_s and (taken := _take_over(path, descriptor)):
                    return taken
                time.sleep(_POLL_S)
        finally:  # else it is the file of a holder whose lock was taken over
            if descriptor >= 0:
                os.close(descriptor)


def _take_over(path: Path, hung: int) -> Lease | None:
    """Put a new file, locked by this process, where the one of a hanging holder is; `None` if another does so."""
    guard = _open(path.with_name(f"{path.name}.guard"))
    try:
        if not _try_lock(guard) or not _is_current(path, hung):
            return None
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = _open(fresh)
        try:
            _lock_now(descriptor)
            fresh.replace(path)
        except OSError:  # Windows replaces no file that is open
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            return None
        return Lease(path, descriptor, taken_over=True)
    finally:
        os.close(guard)


def _read_owner(descriptor: int) -> tuple[str, bool, tuple[str, int]]:
    """Who holds the lock, whether they promised signs of life, and what changes with each sign."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 64).decode("ascii", "replace").strip()
    owner, _, promise = text.partition(" ")
    return owner if owner.isdigit() else "?", promise == _BEATS, (text, os.fstat(descriptor).st_mtime_ns)


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

"""Bytes on their way from a connection to a file: in memory, or in a pipe of the kernel, which spares two copies.

Where bytes come unencrypted and fast, from this computer or the same room, the processor is what limits a fetch. There
Linux hands them on from the socket to the file by itself: `benchmarks/pull_speed.py` tells what that brings.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeGuard

from localfirst.store.disk import write_all

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE_BYTES = 2**20
"""What Linux lets everybody's pipe have at the most: `/proc/sys/fs/pipe-max-size`, pipe(7)."""


class Block(Protocol):
    """Bytes that came, in order, still to be written."""

    size_bytes: int
    """How many are left of them."""

    def write_to(self, descriptor: int, most: int) -> int:
        """Write some of them, at most so many, where the file's position is; how many.

        Raises:
            OSError: they cannot be written.
        """
        ...


class Received:
    """A block in memory."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)
        self.size_bytes = len(data)

    def write_to(self, descriptor: int, most: int) -> int:
        """Write some of the bytes."""
        written = os.write(descriptor, self._left[:most])
        self._left = self._left[written:]
        self.size_bytes -= written
        return written


class Piped:
    """A block in a pipe, to be written before the next one is read."""

    def __init__(self, pipe: int, size_bytes: int) -> None:
        self._pipe = pipe
        self.size_bytes = size_bytes

    def write_to(self, descriptor: int, most: int) -> int:
        """Write some of the bytes; by the way through this process where the file system takes no other."""
        assert sys.platform == "linux"  # noqa: S101 - tells the type checker where there is splice
        most = min(most, self.size_bytes)
        try:
            written = os.splice(self._pipe, descriptor, most)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            data = os.read(self._pipe, most)
            write_all(descriptor, data)
            written = len(data)
        self.size_bytes -= written
        return written


def can_pipe(connection: object) -> TypeGuard[socket.socket]:
    """Whether bytes can be handed on unseen from there: on Linux, from a plain socket, which decrypts nothing."""
    return sys.platform == "linux" and type(connection) is socket.socket


def read_piped(connection: socket.socket, size_bytes: int, silence_s: float) -> Iterator[Piped]:
    """The next bytes of a connection, each block to be written before the next one; fewer where the connection ends.

    Raises:
        TimeoutError: nothing came for `silence_s`.
        OSError: the connection broke.
    """
    assert sys.platform == "linux"  # noqa: S101 - tells the type checker where there is splice
    reading, writing = os.pipe()
    try:
        with suppress(OSError):  # this user has many pipes; then it is a small one
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        arrived = select.poll()
        arrived.register(connection, select.POLLIN)
        while size_bytes:
            if not arrived.poll(silence_s * 1000):
                raise TimeoutError("timed out")
            moved = os.splice(connection.fileno(), writing, min(size_bytes, PIPE_BYTES))
            if not moved:
                return
            size_bytes -= moved
            yield Piped(reading, moved)
    finally:
        os.close(reading)
        os.close(writing)

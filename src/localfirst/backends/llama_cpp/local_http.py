"""Requests over a Unix socket to an engine's own HTTP server, one after the other on a connection.

Before each prompt is read it is tokenized, and `http.client` takes as long for that as the engine does: so the little
that is needed of HTTP is here. Every answer says how long it is, as cpp-httplib's `set_content` makes them.
"""

from __future__ import annotations

import re
import select
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.05
"""How often a cancel is looked for while an answer is computed."""
REQUEST_TIMEOUT_S = 60.0
READ_BYTES = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class CancelledError(Exception):
    """Nobody waits for the answer any more."""


class LocalConnection:
    """A connection to a server that listens at a path."""

    def __init__(self, path: str, key: str) -> None:
        """Connect.

        Raises:
            OSError: nobody listens there.
        """
        self._head = f"Host: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self.stays = True
        """Whether the server answers more than what it has answered; after a hundred it takes a new connection."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(REQUEST_TIMEOUT_S)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def ask(
        self, method: str, route: str, body: bytes = b"", cancelled: Callable[[], bool] | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of an answer; where it can be cancelled, it may take any time to begin.

        Raises:
            CancelledError: it was cancelled before.
            OSError: the server is gone, or slower than `REQUEST_TIMEOUT_S`, or does not answer by HTTP.
        """
        self._socket.sendall(
            f"{method} {route} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        while cancelled is not None and not self.has_input():
            if cancelled():
                raise CancelledError
        return self._read()

    def has_input(self, wait_s: float = POLL_S) -> bool:
        """Whether there is something to read: an answer, or the end of the connection."""
        return bool(select.select([self._socket], [], [], wait_s)[0])

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _read(self) -> tuple[int, bytes]:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        head, body = bytes(data[:end]), data[end + 4 :]
        length = _LENGTH.search(head)
        status = _STATUS.match(head)
        if length is None or status is None:
            raise ConnectionError(f"not an answer: {head[:100]!r}")
        self.stays = _CLOSE.search(head) is None
        while len(body) < int(length[1]):
            body += self._receive()
        return int(status[1]), bytes(body[: int(length[1])])

    def _receive(self) -> bytes:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

"""When the text of an answer leaves the worker: the first of it at once, the rest as often as somebody reads it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol

from localfirst.backends.pace import find_wait_s
from localfirst.worker import protocol

if TYPE_CHECKING:
    from localfirst.conversation import TextDelta


class Send(Protocol):
    """Writes events of one request, together."""

    def __call__(self, *events: protocol.Event) -> None:
        """Write them."""


class Texts:
    """Pieces of an answer on their way out, those of a few milliseconds in one frame: each frame wakes the parent."""

    def __init__(self, send: Send) -> None:
        """Send nothing yet."""
        self._send = send
        self._pending: list[TextDelta] = []
        self._next_s = 0.0

    def add(self, piece: TextDelta) -> None:
        """Send a piece, at once or with those that follow."""
        self._pending.append(piece)
        if time.monotonic() >= self._next_s:
            self.flush()

    def close(self) -> None:
        """Send what waits; after an engine's failure too."""
        self.flush()

    def flush(self) -> None:
        """Send what waits. Where nothing does, the next piece is sent at once: the first one follows another event."""
        if not self._pending:
            return
        for reasoning, group in itertools.groupby(self._pending, key=lambda piece: piece.reasoning):
            pieces = list(group)
            text = "".join(piece.text for piece in pieces)
            self._send(protocol.Text(text, reasoning, tuple(one for piece in pieces for one in piece.weighed)))
        self._pending.clear()
        self._next_s = time.monotonic() + find_wait_s()

    def send(self, event: protocol.Event) -> None:
        """Send another event, after the text before it."""
        self.flush()
        self._send(event)

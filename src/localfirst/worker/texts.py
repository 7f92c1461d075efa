"""When the text of an answer leaves the worker: the first of it at once, the rest as often as somebody reads it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol

from localfirst.backends import base
from localfirst.backends.pace import find_wait_s
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._started: tuple[protocol.Event, ...] = ()
        self._pending: list[TextDelta] = []
        self._next_s = 0.0

    def take(self, chunk: base.Chunk, add: Callable[[base.Piece], None]) -> None:
        """Send what an engine says; `add` puts the text of a piece in here."""
        match chunk:
            case base.Started():  # goes with what is said first: to wake the parent now would delay the engine
                self._started = (protocol.Started(chunk.prompt_tokens),)
            case base.Piece():
                add(chunk)
            case base.Finished():
                seconds = chunk.prefill_s, chunk.decode_s
                self.send(protocol.Finished(chunk.finish_reason, chunk.usage, *seconds, chunk.stopped_by))

    def add(self, piece: TextDelta) -> None:
        """Keep text until it is passed on, or another event is sent."""
        self._pending.append(piece)

    def pass_on(self) -> None:
        """Send what waits, if some time has gone since that was done last."""
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
            weighed = tuple(one for piece in pieces for one in piece.weighed)
            self._send(*self._take_started(), protocol.Text(text, reasoning, weighed))
        self._pending.clear()
        self._next_s = time.monotonic() + find_wait_s()

    def send(self, event: protocol.Event) -> None:
        """Send another event, after the text before it."""
        self.flush()
        self._send(*self._take_started(), event)

    def _take_started(self) -> tuple[protocol.Event, ...]:
        started, self._started = self._started, ()
        return started

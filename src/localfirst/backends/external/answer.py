"""What a server's events say of an answer: its text, its counts, and why it ended."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localfirst.backends.base import Chunk, Finished, Piece
from localfirst.backends.external import http
from localfirst.backends.llama_cpp import likely
from localfirst.backends.text import Pieces
from localfirst.conversation import Usage
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.backends import limits
    from localfirst.backends.base import GenerateRequest
    from localfirst.conversation import FinishReason

SHOWN = 200
"""Characters of an event that is none."""


def follow(
    stream: http.Stream, request: GenerateRequest, allowance: limits.Allowance, prompt_tokens: int | None
) -> Iterator[Chunk]:
    """The pieces of an answer and its end. A cancelled answer ends at once, and so does the connection."""
    answer = _Answer(prompt_tokens, request.likeliest)
    pieces = Pieces(request.stop)
    try:
        reason: FinishReason | None = None
        while reason is None:
            event = stream.wait(http.POLL_S)
            if request.cancelled():
                reason = "cancelled"
            elif event is http.OVER:
                reason = answer.find_reason(allowance)
            elif event is not None:
                for piece in _read(answer, event):
                    shown = piece if piece.reasoning else pieces.feed(piece.text, *piece.weighed)
                    if shown is not None:
                        yield shown
                reason = "stop" if pieces.matched else None
    finally:
        stream.close()
    if (held := pieces.flush()) is not None:
        yield held
    yield replace(answer.finish(reason), stopped_by=pieces.word)


def _read(answer: _Answer, event: dict[str, Any]) -> list[Piece]:
    """The pieces of an event.

    Raises:
        EngineError: it is none that OpenAI's dialect has.
    """
    try:
        return list(answer.take(event))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineError("The server answers with something unexpected", detail=repr(event)[:SHOWN]) from error


class _Answer:
    """What the events of an answer say: text, counts, times, and why it ended."""

    def __init__(self, prompt_tokens: int | None, likeliest: int | None) -> None:
        self._reader = likely.Reader(likeliest, lambda _: b"")
        self._usage = Usage(prompt_tokens or 0, 0)
        self._seconds: tuple[float, float] | None = None  # of reading and of writing, as the server says
        self._begun_s = time.monotonic()
        self._first_s: float | None = None
        self._pieces = 0
        self._ended: str | None = None

    def take(self, event: dict[str, Any]) -> Iterator[Piece]:
        """The text of an event."""
        self._count(event)
        for choice in event.get("choices") or ():
            self._ended = choice.get("finish_reason") or self._ended
            delta = choice.get("delta") or {}
            said = choice.get("text") or delta.get("content") or ""
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if not (isinstance(said, str) and isinstance(thought, str)):
                raise TypeError("a text that is none")
            if said or thought:
                self._pieces += 1
                self._first_s = self._first_s or time.monotonic()
            if thought:
                yield Piece(thought, reasoning=True)
            weighed = self._reader.read(choice, said, self._usage.completion_tokens)
            if said:
                yield Piece(said, weighed=weighed)

    def find_reason(self, allowance: limits.Allowance) -> FinishReason:
        """Why the server ended it."""
        return allowance.finish_reason if self._ended == "length" else "stop"

    def finish(self, reason: FinishReason) -> Finished:
        """The end of the answer, as far as it came."""
        usage = self._usage
        if not usage.completion_tokens:
            usage = Usage(usage.prompt_tokens, self._pieces, usage.cached_tokens)
        if self._seconds is not None:
            return Finished(reason, usage, *(self._seconds if usage.completion_tokens else ()))
        if self._first_s is None:
            return Finished(reason, usage)
        # Of an answer that came all at once nobody knows how long its tokens took one after the other.
        decode_s = time.monotonic() - self._first_s if self._pieces > 1 else None
        return Finished(reason, usage, self._first_s - self._begun_s, decode_s)

    def _count(self, event: dict[str, Any]) -> None:
        """Take the counts of an event: llama.cpp's timings, or OpenAI's usage, with those of `lf serve` beside it."""
        usage = self._usage
        timings = event.get("timings") or {}
        if timings.get("predicted_ms") is not None:  # there are others, of other servers
            self._seconds = (timings["prompt_ms"] / 1000, timings["predicted_ms"] / 1000)
            cached = max(
                usage.cached_tokens,
                int(event.get("prompt_progress", {}).get("cache", 0)),
                int(timings.get("cache_n", 0)),
            )
            self._usage = Usage(usage.prompt_tokens, int(timings.get("predicted_n", 0)), cached)
        if told := event.get("usage"):
            cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            self._usage = Usage(
                int(told.get("prompt_tokens") or usage.prompt_tokens),
                int(told.get("completion_tokens") or 0),
                int(cached),
            )
            if reads := timings.get("prefill_tps"):
                usage, writes = self._usage, timings.get("decode_tps")
                prefill_s = (usage.prompt_tokens - usage.cached_tokens) / reads
                self._seconds = prefill_s, (usage.completion_tokens - 1) / writes if writes else 0.0

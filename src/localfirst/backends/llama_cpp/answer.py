"""What llama.cpp's server says of one answer, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.backends.base import Finished
from localfirst.conversation import Usage
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.backends.base import Chunk, Piece
    from localfirst.backends.limits import Allowance
    from localfirst.backends.llama_cpp.likely import Reader
    from localfirst.backends.text import Pieces
    from localfirst.conversation import FinishReason

UNENDED = RuntimeError("the answer ended without an end")
"""What happened where the engine comes back, and has told of no end and of no error."""


class Answer:
    """Text, counts, times, and why it ended."""

    def __init__(self, prompt_tokens: int, allowance: Allowance, pieces: Pieces, reader: Reader) -> None:
        self.prompt_tokens = prompt_tokens
        self._most_tokens = allowance.tokens
        self._reasons: dict[str | None, FinishReason | None]
        self._reasons = {None: None, "stop": "stop", "length": allowance.finish_reason}
        self._pieces, self._reader = pieces, reader
        self._timings: dict[str, Any] = {}
        self._cached_tokens = 0
        self._reading: Finished | None = None
        self.ended: FinishReason | None = None

    def take_reading(self, trial: Answer) -> None:
        """The prompt was read by that one."""
        self._reading = trial.end("stop")

    def take(self, event: dict[str, Any]) -> Piece | None:
        """The text of an event that is safe to show, and the tokens that it tells of.

        Raises:
            EngineError: it says that the engine failed.
        """
        if (error := event.get("error")) is not None:
            raise EngineError("llama.cpp could not answer", detail=str(error.get("message", error)))
        self._timings = event.get("timings", self._timings)
        self._cached_tokens = event.get("prompt_progress", {}).get("cache", self._cached_tokens)
        choice = event["choices"][0]
        text: str = choice["text"]
        piece = self._pieces.feed(text, *self._reader.read(choice, text, int(self._timings.get("predicted_n", 0))))
        self.ended = "stop" if self._pieces.matched else self._reasons[choice["finish_reason"]]
        return piece

    def find_left_s(self) -> float:
        """How long it goes on at the most, as fast as it came so far."""
        tokens = int(self._timings.get("predicted_n", 0))
        each_s = self._timings["predicted_ms"] / 1000 / tokens if tokens else 0.0
        return (self._most_tokens - tokens) * each_s

    def finish(self) -> Iterator[Chunk]:
        """What was held back, and the end."""
        assert self.ended is not None  # noqa: S101 - it is asked when it has ended
        if (held := self._pieces.flush()) is not None:
            yield held
        yield self.end(self.ended)

    def end(self, reason: FinishReason) -> Finished:
        """The end of the answer, as far as it came."""
        generated = int(self._timings.get("predicted_n", 0))
        cached = max(self._cached_tokens, int(self._timings.get("cache_n", 0)))
        prefill_s = self._timings["prompt_ms"] / 1000 if generated else None
        if self._reading is not None:
            cached, prefill_s = self._reading.usage.cached_tokens, self._reading.prefill_s
        return Finished(
            finish_reason=reason,
            usage=Usage(self.prompt_tokens, generated, cached, int(self._timings.get("draft_n_accepted", 0))),
            prefill_s=prefill_s,
            decode_s=self._timings["predicted_ms"] / 1000 if generated else None,
            stopped_by=self._pieces.word,
        )


def is_last(event: dict[str, Any]) -> bool:
    """Whether no event follows it."""
    return "error" in event or event["choices"][0]["finish_reason"] is not None


def explain(error: Exception) -> EngineError:
    """The error of an engine that failed, by what it threw."""
    failure = EngineError("llama.cpp failed while answering", detail=str(error))
    failure.__cause__ = error
    return failure

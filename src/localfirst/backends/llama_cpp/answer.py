"""What llama.cpp's server says of one answer, event by event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from localfirst.backends.base import Finished
from localfirst.conversation import Usage
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import Chunk, Piece
    from localfirst.backends.limits import Allowance
    from localfirst.backends.llama_cpp.likely import Reader
    from localfirst.backends.text import Pieces
    from localfirst.conversation import FinishReason

UNENDED = RuntimeError("the answer ended without an end")
"""What happened where the engine comes back, and has told of no end and of no error."""


class Answer:
    """Text, counts, times, and why it ended."""

    def __init__(
        self,
        prompt_tokens: int | Callable[[], int],
        find_allowance: Callable[[int], Allowance],
        pieces: Pieces,
        reader: Reader,
    ) -> None:
        """Take nothing yet.

        Args:
            prompt_tokens: of the prompt, or what counts them: the engine tells before, where it says anything.
            find_allowance: what a prompt of so many leaves for the answer.
            pieces: makes its text safe to show.
            reader: reads how likely its tokens were.
        """
        self._prompt_tokens = prompt_tokens
        self._find_allowance = find_allowance
        self._pieces, self._reader = pieces, reader
        self._timings: dict[str, Any] = {}
        self._cached_tokens = 0
        self._reading: Finished | None = None
        self.ended: FinishReason | None = None

    @property
    def prompt_tokens(self) -> int:
        """Of the prompt; counted now, where it was not before and the engine has said nothing yet.

        That is where it was left; where it cannot be counted either, it counts as none.
        """
        if not isinstance(self._prompt_tokens, int):
            try:
                self._prompt_tokens = self._prompt_tokens()
            except (EngineError, OSError):
                self._prompt_tokens = 0
        return self._prompt_tokens

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
        if not isinstance(self._prompt_tokens, int):
            self._prompt_tokens = _find_prompt_tokens(event) or self._prompt_tokens
        self._timings = event.get("timings", self._timings)
        self._cached_tokens = event.get("prompt_progress", {}).get("cache", self._cached_tokens)
        choice = event["choices"][0]
        text: str = choice["text"]
        piece = self._pieces.feed(text, *self._reader.read(choice, text, int(self._timings.get("predicted_n", 0))))
        if self._pieces.matched or choice["finish_reason"] == "stop":
            self.ended = "stop"
        elif choice["finish_reason"] == "length":
            self.ended = self._find_allowance(self.prompt_tokens).finish_reason
        return piece

    def find_left_s(self) -> float:
        """How long it goes on at the most, as fast as it came so far."""
        tokens = int(self._timings.get("predicted_n", 0))
        each_s = self._timings["predicted_ms"] / 1000 / tokens if tokens else 0.0
        return (self._find_allowance(self.prompt_tokens).tokens - tokens) * each_s

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


def _find_prompt_tokens(event: dict[str, Any]) -> int | None:
    """As the engine tells it: while it reads a prompt, or with a token."""
    if (progress := event.get("prompt_progress")) is not None:
        return int(progress["total"])
    timings = event.get("timings", {})
    return int(timings["cache_n"]) + int(timings["prompt_n"]) if timings.get("predicted_n") else None


class Ages:
    """Tells how long ago the engine said what is heard now, by the times that it tells with each token.

    How soon one event is heard after the other does not tell: many requests hear at the same moments, by turns.
    """

    def __init__(self) -> None:
        """Nothing is heard yet."""
        self._least_lag_s = math.inf

    def is_newest(self, event: dict[str, Any], now_s: float) -> bool:
        """Whether it was said so lately that no next one can be there."""
        timings = event.get("timings", {})
        tokens, said_s = timings.get("predicted_n", 0), timings.get("predicted_ms", 0.0) / 1000
        if not tokens:
            return True
        lag_s = now_s - said_s
        self._least_lag_s = min(self._least_lag_s, lag_s)
        return bool(lag_s - self._least_lag_s <= said_s / tokens / 2)


def is_last(event: dict[str, Any]) -> bool:
    """Whether no event follows it."""
    return "error" in event or event["choices"][0]["finish_reason"] is not None


def explain(error: Exception) -> EngineError:
    """The error of an engine that failed, by what it threw."""
    failure = EngineError("llama.cpp failed while answering", detail=str(error))
    failure.__cause__ = error
    return failure

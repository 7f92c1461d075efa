"""What every adapter does with the text that its engine streams, so that all behave the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.backends.base import Piece

if TYPE_CHECKING:
    from localfirst.conversation import Weighed


def begin_with(first: list[int], tokens: list[int]) -> list[int]:
    """Token ids with the model's own first ones, once, whether or not its template wrote them."""
    return tokens if tokens[: len(first)] == first else first + tokens


class Pieces:
    """Makes the pieces of an answer: its text up to the first stop string, and what is told of the tokens in it.

    A token is told with the text that it begins with: not before, and not at all where a stop string begins before it.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = StopFilter(stop)
        self._fed = self._shown = 0
        self._waiting: list[tuple[int, Weighed]] = []

    @property
    def matched(self) -> bool:
        """Whether a stop string was met."""
        return self._stop.matched

    @property
    def word(self) -> str | None:
        """The one that was met."""
        return self._stop.word

    def feed(self, text: str, *weighed: Weighed) -> Piece | None:
        """The piece that is now safe to show, after so much text of so many tokens; `None`: there is none."""
        self._waiting += [(self._fed, one) for one in weighed]
        self._fed += len(text)
        return self._show(self._stop.feed(text), final=False)

    def flush(self) -> Piece | None:
        """What was held back, when no more can come."""
        return self._show(self._stop.flush(), final=not self._stop.matched)

    def _show(self, text: str, *, final: bool) -> Piece | None:
        self._shown += len(text)
        told = [one for begin, one in self._waiting if begin < self._shown or final]
        self._waiting = self._waiting[len(told) :]
        return Piece(text, weighed=tuple(told)) if text or told else None


class StopFilter:
    """Passes streamed text on up to the first stop string, which may lie across any number of pieces.

    The match that is complete first wins; of two that end together, the longer. Only text that may still become a
    match is held back, so the result does not depend on where the pieces are cut.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(word for word in stop if word)
        self._held = ""
        self.word: str | None = None
        """The one that was met."""

    @property
    def matched(self) -> bool:
        """Whether one was."""
        return self.word is not None

    def feed(self, piece: str) -> str:
        """The text that is now safe to show; empty once a stop string has been seen."""
        if self.matched:
            return ""
        text = self._held + piece
        if (found := self._find(text)) is not None:
            start, self.word = found
            self._held = ""
            return text[:start]
        keep = self._count_held(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text held back, when no more can come."""
        held, self._held = self._held, ""
        return held

    def _find(self, text: str) -> tuple[int, str] | None:
        """Where the first complete match starts, and of which word it is."""
        found = [(start + len(word), start, word) for word in self._stop if (start := text.find(word)) >= 0]
        return min(found)[1:] if found else None

    def _count_held(self, text: str) -> int:
        """Length of the longest end of `text` that is the start of a stop string."""
        longest = max(map(len, self._stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(word.startswith(text[-size:]) for word in self._stop):
                return size
        return 0

"""What every adapter does with the text that its engine streams, so that all behave the same."""

from __future__ import annotations


def begin_with(first: list[int], tokens: list[int]) -> list[int]:
    """Token ids with the model's own first ones, once, whether or not its template wrote them."""
    return tokens if tokens[: len(first)] == first else first + tokens


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

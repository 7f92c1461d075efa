"""Which tokens an answer's text is made of, where that is told: not those of thinking, of calls, or of what marks both.

What a model writes goes through a reader, which holds text back, and lets less out than was written. So a token belongs
to the answer if a part of its text came out of the reader as that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from localfirst.conversation import TextDelta, ToolCall

if TYPE_CHECKING:
    from localfirst.backends.base import Piece
    from localfirst.chat.calls import AnswerReader
    from localfirst.conversation import Weighed


class _Written(NamedTuple):
    """A piece as the model wrote it, by its place among all that it wrote, and its tokens."""

    begin: int
    end: int
    weighed: tuple[Weighed, ...]


class Telling:
    """Puts the tokens of pieces to what a reader makes of them."""

    def __init__(self) -> None:
        self._written = 0
        self._waiting: list[_Written] = []

    def feed(self, piece: Piece, reader: AnswerReader) -> list[TextDelta | ToolCall]:
        """What is certain now, with the tokens of the answer."""
        begin, self._written = self._written, self._written + len(piece.text)
        if piece.weighed:
            self._waiting.append(_Written(begin, self._written, piece.weighed))
        return self._tell(reader.feed(piece.text), reader.held)

    def flush(self, reader: AnswerReader) -> list[TextDelta | ToolCall]:
        """The rest, at the end of the answer."""
        return self._tell(reader.flush(), 0)

    def _tell(self, deltas: list[TextDelta | ToolCall], held: int) -> list[TextDelta | ToolCall]:
        if not self._waiting:
            return deltas
        until = self._written - held
        answers = [place for place, delta in enumerate(deltas) if isinstance(delta, TextDelta) and not delta.reasoning]
        shown = sum(len(delta.text) for delta in deltas if isinstance(delta, TextDelta) and not delta.reasoning)
        certain = [one for one in self._waiting if one.begin < until and (answers or one.end <= until)]
        self._waiting = self._waiting[len(certain) :]
        told = tuple(one for part in certain if part.end > until - shown for one in part.weighed)
        if answers and told:
            first = deltas[answers[0]]
            assert isinstance(first, TextDelta)  # noqa: S101 - as it was found
            deltas[answers[0]] = replace(first, weighed=told)
        return deltas

"""Break streaming prose between words, so that no word is cut at the edge of a terminal. Code keeps its own lines."""

from __future__ import annotations

import re

from localfirst.cli.screen import measure

_PARTS = re.compile("\n|[^\\S\n]+|[\u0300-\u036f]+|[^\\s\u1100-\uffff]+|[\u1100-\uffff]")
"""A line's end, a gap, accents for the character before, a part of a word, or one character of the range that holds the
wide ones (Hangul, CJK, ...)."""
_FENCES = ("```", "~~~")


class WordWrap:
    """Text in pieces to text in lines that end before the last column.

    All is shown at once. A word that turns out not to fit is taken back and begun again on the next line: the cursor
    goes left (CSI D) and the rest of the line is erased (CSI K; ECMA-48, 8.3.18 and 8.3.41). Lines between code fences
    pass as they are, for a break inside would be copied with them.
    """

    def __init__(self, width: int) -> None:
        self._limit = width - 1  # in the last column, terminals differ in where the cursor is
        self._fenced = False
        self._begin_line()

    def feed(self, text: str) -> str:
        """What to write for this piece."""
        return "".join(self._pass(part) for part in _PARTS.findall(text))

    def finish(self) -> None:
        """Forget the text: another one begins, on a new line."""
        self._fenced = False
        self._begin_line()

    def _begin_line(self) -> None:
        self._line = self._word = ""
        self._column = 0

    def _pass(self, part: str) -> str:
        if part == "\n":
            if self._line.lstrip().startswith(_FENCES):
                self._fenced = not self._fenced
            self._begin_line()
            return part
        shown = part
        if not self._fenced and self._column + measure(part) > self._limit:
            shown = self._break(part)
        self._line += part
        self._column += measure(part)
        begins = bool(self._word) or measure(part) > 0  # an accent alone belongs to what stands before it
        self._word = "" if part.isspace() or _breaks_anywhere(part) or not begins else self._word + part
        return shown

    def _break(self, part: str) -> str:
        """What to write for a part that is too long for the line."""
        if part.isspace():
            return part[: max(0, self._limit - self._column)]
        word = "" if _breaks_anywhere(part) else self._word
        back = measure(word)
        if self._column == back:  # a word wider than a line
            return part
        self._column = back
        return (f"\x1b[{back}D\x1b[K" if back else "") + f"\n{word}{part}"


def _breaks_anywhere(part: str) -> bool:
    """Whether all characters are wide: their scripts have no gaps between words."""
    return measure(part) == 2 * len(part)

"""Break streaming prose between words, so that no word is cut at the edge of a terminal. Code keeps its own lines."""

from __future__ import annotations

import re

from localfirst.cli.screen import measure

_PARTS = re.compile("\n|[^\\S\n]+|[^\\s\u1100-\uffff]+|[\u1100-\uffff]")
"""A line's end, a gap, a word, or one character from the range that holds all wide ones (Hangul, kana, CJK, ...)."""
_FENCE = ("```", "~~~")


class WordWrap:
    """Text in pieces to text in lines of at most `width` columns.

    The last word of a piece is held until its end is known, for then alone it is known whether it fits. Lines between
    code fences are passed as they are: a break in the middle would be copied with them.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._begin()

    def feed(self, text: str) -> str:
        """What can be shown now."""
        shown: list[str] = []
        for part in _PARTS.findall(text):
            if part == "\n":
                shown += [self._take_word(), part]
                self._column, self._gap, self._line_begins, self._cut = 0, "", True, False
            elif part.isspace():
                shown.append(self._take_word())
                self._gap += part
            elif measure(part) == 2 * len(part):  # a wide character breaks anywhere
                shown += [self._take_word(), self._place(part)]
            else:
                self._word += part
            if measure(self._word) >= self._width:
                shown.append(self._take_word())
                self._cut = True
        return "".join(shown)

    def flush(self) -> str:
        """What was held, at the end of the text."""
        shown = self._take_word() + self._gap
        self._begin()
        return shown

    def _begin(self) -> None:
        self._column = 0
        self._gap = self._word = ""
        self._fenced = self._cut = False
        self._line_begins = True

    def _take_word(self) -> str:
        word, self._word = self._word, ""
        return self._place(word) if word else ""

    def _place(self, word: str) -> str:
        """The word after its gap, or at the start of a new line."""
        if self._line_begins and word.startswith(_FENCE):
            self._fenced = not self._fenced
        self._line_begins = False
        gap, self._gap = self._gap, ""
        end = self._column + measure(gap) + measure(word)
        goes_on, self._cut = self._cut and not gap, False  # the rest of a word that fits on no line
        if self._column and end > self._width and not self._fenced and not goes_on:
            self._column = measure(word)
            return f"\n{word}"
        self._column = end
        return gap + word

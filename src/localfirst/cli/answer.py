"""An answer as it streams, on the screen: the thinking dim under a heading, the answer plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.cli.screen import stdout_screen
from localfirst.cli.wordwrap import WordWrap
from localfirst.terminal import InertStream

if TYPE_CHECKING:
    from localfirst.cli.screen import Screen
    from localfirst.conversation import TextDelta


class AnswerPrinter:
    """Prints the pieces of one answer. Thinking is for a person who waits: a file or a pipe gets the answer alone.

    Unless `raw`, text is made inert, and on a terminal that knows how, broken between words.
    """

    def __init__(self, screen: Screen | None = None, *, raw: bool = False) -> None:
        self._screen = screen or stdout_screen()
        self._inert = None if raw else InertStream()
        self._wrap = WordWrap(self._screen.width) if self._screen.width and self._screen.cursor and not raw else None
        self._thinking = False
        self._last = ""

    def write(self, delta: TextDelta) -> None:
        """Print a piece."""
        if delta.reasoning and not self._screen.terminal:
            return
        text = delta.text if self._inert is None else self._inert.feed(delta.text)
        if delta.reasoning != self._thinking:
            self._put(self._screen.paint("thinking", "bold") + "\n" if delta.reasoning else "\n\n")
            self._thinking = delta.reasoning
            if self._wrap is not None:
                self._wrap.finish()
        if self._wrap is not None:
            text = self._wrap.feed(text)
        self._put(self._screen.paint(text, "dim") if delta.reasoning else text)

    def finish(self) -> None:
        """End the last line; also where the answer was cut short."""
        if self._last and not self._last.endswith("\n"):
            self._put("\n")

    def _put(self, text: str) -> None:
        if text:
            self._screen.write(text)
            self._last = text

"""Where output goes, and what that place can show: a terminal of some width with or without styles, or a plain file.

Everything from outside (names from a hub, words of a model, paths) passes `line` or `block` on its way to a screen.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple, TextIO

from localfirst.errors import LfError
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "bold green": "1;32",
    "bold red": "1;31",
}
_STYLES |= {"bold yellow": "1;33"}
"""Styles as SGR parameters. Only default colours that read on dark and light backgrounds; no meaning rests on them.

Source: ECMA-48, 8.3.117.
"""


class Screen(NamedTuple):
    """A stream to write to. `width` is in columns, `None` where nothing bounds a line (a file, a pipe)."""

    stream: TextIO
    width: int | None = None
    styles: bool = False
    cursor: bool = False
    """Whether written text can be taken back."""

    @property
    def terminal(self) -> bool:
        """Whether a person is looking."""
        return self.width is not None

    def paint(self, text: str, style: str) -> str:
        """The text in a style, where the screen shows styles."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.styles and text.strip() else text

    def write(self, text: str) -> None:
        """Write a text as it is, at once.

        Raises:
            BrokenPipeError: nobody reads any more, as behind `| head`; Typer ends the program without a word.
            LfError: it cannot be written, such as to a file on a full disk.
        """
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LfError("The output cannot be written", detail=error.strerror) from error

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write lines, each with its end."""
        self.write("".join(f"{text.rstrip()}\n" for text in lines))


def stdout_screen() -> Screen:
    """The place for results."""
    return _open(sys.stdout)


def stderr_screen() -> Screen:
    """The place for errors, progress and notices."""
    return _open(sys.stderr)


def _open(stream: TextIO) -> Screen:
    if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
        reconfigure(errors="replace")  # a character that the terminal's encoding lacks must not end the program
    if not stream.isatty():
        return Screen(stream)
    cursor = os.environ.get("TERM") != "dumb"
    styles = cursor and not os.environ.get("NO_COLOR")
    return Screen(stream, shutil.get_terminal_size().columns, styles, cursor)


def line(text: str | None) -> str:
    """Foreign text, inert and on one line."""
    return " ".join(make_inert(text or "").split())


def block(text: str, indent: str = "  ") -> list[str]:
    """Foreign text of several lines, inert and indented."""
    return [indent + row for row in make_inert(text).splitlines()]


def measure(text: str) -> int:
    """Columns that a text takes; East Asian characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces to a width, after it or (`right`) before it."""
    space = " " * (width - measure(text))
    return space + text if right else text + space


def wrap(text: str, width: int | None, indent: str = "") -> list[str]:
    """A text broken at spaces to lines of a width, each after `indent`; words are never broken."""
    lines: list[str] = []
    current = indent
    for word in text.split():
        if width is not None and measure(current) + measure(word) + 1 > width and current.strip():
            lines.append(current)
            current = indent
        current += word if current == indent else f" {word}"
    return [*lines, current]


def clip(text: str, length: int) -> str:
    """A remark cut to a length; never used for names."""
    return text if len(text) <= length else f"{text[: length - 3].rstrip()}..."

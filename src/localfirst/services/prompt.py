"""What is said to the model: the words of the command line, attached files, lines, and what is piped in."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, BinaryIO, TextIO

from localfirst.errors import UsageError, say_cause
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_FILE_BYTES = 4 * 2**20
"""No local model reads more text than this at once; a larger file, or more that is piped in, is a mistake."""


def read_text_file(path: Path) -> str:
    """The text of a file to show to the model.

    Raises:
        UsageError: it does not exist, is no plain text, or is too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"`{path}` is not a file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UsageError(
                f"`{path}` is too large to attach",
                detail=f"it has {format_bytes(size)}; the most is {format_bytes(MAX_FILE_BYTES)}",
            )
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", detail=say_cause(error)) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"`{path}` is not UTF-8 text", detail=say_cause(error)) from error
    if "\0" in text:
        raise UsageError(f"`{path}` is a binary file, not text")
    return text


def read_piped(stdin: TextIO | None) -> str:
    """What is piped into the command; empty at a terminal, or where there is no input at all.

    Raises:
        UsageError: it is no UTF-8 text, or is too large.
    """
    if stdin is None or stdin.isatty():
        return ""
    data = stdin.buffer.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"What is piped in is too large: the most is {format_bytes(MAX_FILE_BYTES)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("What is piped in is not UTF-8 text", detail=say_cause(error)) from error


def read_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a stream with their numbers, from 0; those without a word are left out.

    Raises:
        UsageError: a line is no UTF-8 text, or too long to be one.
    """
    for number in count():
        data = stream.readline(MAX_FILE_BYTES + 1)
        if not data:
            return
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(f"Line {number + 1} of {name} is longer than {format_bytes(MAX_FILE_BYTES)}")
        try:
            text = data.decode("utf-8-sig" if number == 0 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError(f"Line {number + 1} of {name} is not UTF-8 text", detail=say_cause(error)) from error
        if text.strip():
            yield number, text


def attach(name: str, text: str) -> str:
    """A file's text as the model sees it: named, and fenced so that it does not read as an instruction."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{name}:\n{fence}\n{text.rstrip()}\n{fence}"


def compose(prompt: str, attachments: Iterable[str] = (), piped: str = "") -> str:
    """One message of the prompt, the attachments and the piped text, a blank line between; empty parts are left out."""
    parts = (prompt.strip(), *attachments, piped.strip())
    return "\n\n".join(part for part in parts if part)

"""Strict reading of plain YAML values: which keys a mapping has, and what each value must be.

Knows nothing of models; `catalog.parse` has the tables of keys. A check takes a value as read, returns it as kept, and
raises ValueError with the words that follow "must be".
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REQUIRED = object()
COUNT_MAX = 2**63 - 1
Path = tuple[str | int, ...]
"""Where in the document: `("models", 3, "variants", 0, "files", 1, "sha256")`."""


class Field(NamedTuple):
    """One key of a mapping."""

    check: Callable[[Any], Any]
    default: Any = REQUIRED


class ProblemError(Exception):
    """A mistake at a place in the document, and those that were found with it."""

    def __init__(self, path: Path, message: str, others: tuple[ProblemError, ...] = ()) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.others = others

    def list_all(self) -> tuple[ProblemError, ...]:
        """This one, then the others."""
        return self, *self.others


def gather(readers: Iterable[Callable[[], Any]]) -> list[Any]:
    """What every reader gives; where some fail, the others are asked all the same.

    Raises:
        ProblemError: the mistakes of all that failed.
    """
    values: list[Any] = []
    problems: list[ProblemError] = []
    for read in readers:
        try:
            values.append(read())
        except ProblemError as problem:
            problems += problem.list_all()
    if problems:
        first, *others = problems
        raise ProblemError(first.path, first.message, tuple(others))
    return values


def read_mapping(value: object, path: Path, known: Mapping[str, Field]) -> dict[str, Any]:
    """The checked values of a mapping by key, with the defaults of absent keys.

    Raises:
        ProblemError: not a mapping, or keys are unknown, missing or wrong: all of them.
    """
    if not isinstance(value, dict):
        raise ProblemError(path, f"expected keys and values, found {show(value)}")
    result: dict[str, Any] = {}
    problems = [
        ProblemError((*path, str(key)), f"unknown key `{key}`{suggest(str(key), known)}")
        for key in value
        if key not in known
    ]
    for key, (check, default) in known.items():
        if key in value:
            try:
                result[key] = read_value(value[key], (*path, key), check)
            except ProblemError as problem:
                problems.append(problem)
        elif default is REQUIRED:
            problems.append(ProblemError(path, f"`{key}` is missing"))
        else:
            result[key] = default
    if problems:
        raise ProblemError(problems[0].path, problems[0].message, tuple(problems[1:]))
    return result


def read_value(value: object, path: Path, check: Callable[[Any], Any]) -> Any:
    """A checked value; the message of a failure names the last key of the path that is a word.

    Raises:
        ProblemError: the check refused it.
    """
    try:
        return check(value)
    except ValueError as error:
        key = next(part for part in reversed(path) if isinstance(part, str))
        raise ProblemError(path, f"`{key}` must be {error}, found {show(value)}") from None


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for a misspelt word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def show(value: object) -> str:
    """A short form of a value for a message."""
    for kind, words in ((type(None), "nothing"), (dict, "keys and values"), (list, "a list")):
        if isinstance(value, kind):
            return words
    if isinstance(value, int) and abs(value) > COUNT_MAX:
        return "a number far too large"
    text = str(value)
    return f"`{text[:60]}...`" if len(text) > 60 else f"`{text}`"


def check_text(value: object) -> str:
    """One line of printable text."""
    if isinstance(value, str) and value.strip() == value != "" and value.isprintable():
        return value
    raise ValueError("one line of text")


def check_texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if isinstance(value, list):
        return tuple(check_text(item) for item in value)
    raise ValueError("a list of texts")


def check_text_or_texts(value: object) -> tuple[str, ...]:
    """A text, or a list with one text or more."""
    if isinstance(value, str):
        return (check_text(value),)
    if value:
        return check_texts(value)
    raise ValueError("a text or a list of texts")


def check_list(value: object) -> list[Any]:
    """A list with one item or more, each to be read on its own."""
    if isinstance(value, list) and value:
        return value
    raise ValueError("a list with one item or more")


def check_count(value: object) -> int:
    """A positive integer."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= COUNT_MAX:
        return value
    raise ValueError("a positive whole number")


def check_temperature(value: object) -> float:
    """A number from 0 to 2."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2:
        return float(value)
    raise ValueError("a number from 0 to 2")


def check_flag(value: object) -> bool:
    """`true` or `false`."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def check_name(value: object) -> str:
    """A short name: lower-case letters and digits, joined by `-`, `.` or `_`."""
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", value):
        return value
    raise ValueError("lower-case letters and digits joined by `-`, `.` or `_`")


def check_path(value: object) -> str:
    """A path below the repository's root, with `/`; `*` and `?` may stand for parts of a name."""
    if isinstance(value, str) and value.isprintable() and not set(value) & set('\\:<>"|'):
        parts = value.split("/")
        if all(part and part.strip() == part and part not in (".", "..") for part in parts):
            return value
    raise ValueError("a relative path with `/` and without `..`")


def make_hex_check(digits: int) -> Callable[[object], str]:
    """A check for a digest or a commit."""

    def check(value: object) -> str:
        if isinstance(value, str) and len(value) == digits and set(value) <= set("0123456789abcdef"):
            return value
        raise ValueError(f"{digits} hex digits")

    return check


def make_choice_check(choices: tuple[str, ...]) -> Callable[[object], str]:
    """A check for one of a few words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"one of {', '.join(choices)}")

    return check

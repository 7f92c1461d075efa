"""TOML: a table is added at the end, or replaced where it stands. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COMMENT = re.compile(r"""\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|(\#[^\n]*)""", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse(text: str) -> Any:
    """What the text says.

    Raises:
        ValueError: it is none.
    """
    return tomllib.loads(text)


def find_comments(text: str) -> list[str]:
    """Every comment, in order."""
    return [found[1].rstrip() for found in _COMMENT.finditer(text) if found[1]]


def put(text: str, path: Sequence[str], value: Any, by: str | None) -> str:
    """The text with a table of plain values at a path.

    Raises:
        ValueError: there is no place for it.
    """
    if by is not None or not path or not isinstance(value, dict):
        raise ValueError("only tables are changed here")
    lines = text.splitlines()
    header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(_match_key(key) for key in path) + r"\s*\]\s*(#.*)?")
    begin = next((index for index, line in enumerate(lines) if header.fullmatch(line)), None)
    table = _write_table(path, value)
    if begin is None:
        before = f"{text.rstrip()}\n\n" if text.strip() else ""
        return before + table
    end = next((index for index in range(begin + 1, len(lines)) if lines[index].lstrip().startswith("[")), len(lines))
    while lines[end - 1].strip() == "" or lines[end - 1].lstrip().startswith("#"):  # of what follows
        end -= 1
    return "\n".join([*lines[:begin], *table.splitlines(), *lines[end:]]) + "\n"


def write(value: Any) -> str:
    """A text of its own, of tables within each other."""
    return "\n".join(_write_tables((), value))


def _write_tables(path: tuple[str, ...], value: Mapping[str, Any]) -> list[str]:
    inner = {key: one for key, one in value.items() if isinstance(one, dict)}
    plain = {key: one for key, one in value.items() if key not in inner}
    own = [_write_table(path, plain)] if plain else []
    return own + [text for key, one in inner.items() for text in _write_tables((*path, key), one)]


def _write_table(path: Sequence[str], value: Mapping[str, Any]) -> str:
    head = f"[{'.'.join(_write_key(key) for key in path)}]\n" if path else ""
    return head + "".join(f"{_write_key(key)} = {_write_value(key, one)}\n" for key, one in value.items())


def _write_value(key: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:  # a date, a time
        raise ValueError(f"`{key}` is a {type(value).__name__}, which cannot be written again as it was") from error


def _write_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _match_key(key: str) -> str:
    return f"(?:{re.escape(key)}|{re.escape(json.dumps(key))}|'{re.escape(key)}')"

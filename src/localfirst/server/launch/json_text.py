"""JSON with comments and trailing commas, as editors and their kin read it: changed in place. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[^\s,:\[\]{}\"/]+")
_COMMENT = re.compile(_STRING.pattern + r"|(//[^\n]*|/\*.*?\*/)", re.DOTALL)
UNIT = "  "


@dataclass(slots=True)
class _Node:
    """A value, and where it stands."""

    value: Any
    start: int
    end: int
    members: dict[str, _Node] = field(default_factory=dict)
    last: _Node | None = None
    """The last of what is in it."""
    comma: bool = False
    """Whether a comma follows that."""


def parse(text: str) -> Any:
    """What the text says; of one with nothing in it, an empty object.

    Raises:
        ValueError: it is something else.
    """
    return _read(text).value


def find_comments(text: str) -> list[str]:
    """Every comment, in order."""
    return [found[1] for found in _COMMENT.finditer(text) if found[1]]


def put(text: str, path: Sequence[str], value: Any, by: str | None) -> str:
    """The text with a value at a path.

    Raises:
        ValueError: there is no place for it.
    """
    if by is not None or not path:
        raise ValueError("no item of a list is changed here")
    if not text[_BLANK.match(text).end() :]:  # type: ignore[union-attr]  # it matches nothing, too
        text = f"{text.rstrip()}\n{{}}\n".lstrip("\n")
    node, depth = _read(text), 0
    while depth < len(path) and path[depth] in node.members:
        node, depth = node.members[path[depth]], depth + 1
    if depth == len(path):
        base = _find_indent(text, node.start)
        return text[: node.start] + _write(value, base, _find_unit(text)) + text[node.end :]
    if not isinstance(node.value, dict):
        raise ValueError(f"`{'.'.join(path[:depth])}` is no object")  # noqa: TRY004 - of the text, not of the caller
    for key in reversed(path[depth + 1 :]):
        value = {key: value}
    return _add(text, node, path[depth], value)


def write(value: Any) -> str:
    """A text of its own."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _add(text: str, node: _Node, key: str, value: Any) -> str:
    """The text with one more member of an object, behind all that is in it and every comment there."""
    base, unit = _find_indent(text, node.start), _find_unit(text)
    inner = base + unit
    brace = node.end - 1
    tail = len(text[:brace].rstrip())
    member = f"\n{inner}{json.dumps(key, ensure_ascii=False)}: {_write(value, inner, unit)}\n{base}"
    comma = ""
    if node.last is not None and not node.comma:
        comma, at = ",", node.last.end
        return text[:at] + comma + text[at:tail] + member + text[brace:]
    return text[:tail] + member + text[brace:]


def _write(value: Any, base: str, unit: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return f"\n{base}".join(lines)


def _find_indent(text: str, at: int) -> str:
    """The white space that the line begins with."""
    begin = text.rfind("\n", 0, at) + 1
    found = re.match(r"[ \t]*", text[begin:at])
    return found[0] if found else ""


def _find_unit(text: str) -> str:
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else UNIT


def _read(text: str) -> _Node:
    at = _skip(text, 0)
    if at == len(text):
        return _Node({}, at, at)
    node = _read_value(text, at)
    if _skip(text, node.end) != len(text):
        raise ValueError(f"more follows its end, in line {_find_line(text, node.end)}")
    return node


def _read_value(text: str, at: int) -> _Node:
    if text.startswith("{", at):
        return _read_within(text, at, "}")
    if text.startswith("[", at):
        return _read_within(text, at, "]")
    found = _STRING.match(text, at) or _WORD.match(text, at)
    if found is None:
        raise ValueError(f"a value is missing in line {_find_line(text, at)}")
    try:
        return _Node(json.loads(found[0]), at, found.end())
    except ValueError:
        raise ValueError(f"`{found[0][:20]}` is no value, in line {_find_line(text, at)}") from None


def _read_within(text: str, start: int, closing: str) -> _Node:
    """An object or a list."""
    node = _Node({} if closing == "}" else [], start, start)
    at = _skip(text, start + 1)
    while not text.startswith(closing, at):
        if node.last is not None and not node.comma:
            raise ValueError(f"a comma is missing in line {_find_line(text, at)}")
        key = None
        if closing == "}":
            found = _STRING.match(text, at)
            at = _skip(text, found.end()) if found else at
            if found is None or not text.startswith(":", at):
                raise ValueError(f"a key is missing in line {_find_line(text, at)}")
            key, at = json.loads(found[0]), _skip(text, at + 1)
        node.last = _read_value(text, at)
        if key is None:
            node.value.append(node.last.value)
        elif key in node.members:
            raise ValueError(f"`{key}` is there twice")
        else:
            node.members[key], node.value[key] = node.last, node.last.value
        at = _skip(text, node.last.end)
        node.comma = text.startswith(",", at)
        at = _skip(text, at + 1) if node.comma else at
    node.end = at + 1
    return node


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _find_line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1

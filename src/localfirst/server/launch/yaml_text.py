"""YAML: an item is added at the end of a list, or replaced where it stands. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMENT = re.compile(r"#[^\n]*")


def parse(text: str) -> Any:
    """What the text says; `None` where it says nothing.

    Raises:
        ValueError: it is none, or has values of another program's own kind.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def find_comments(text: str) -> list[str]:
    """Every comment, in order: what stands between the tokens besides white space."""
    comments, at = list[str](), 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        comments += _COMMENT.findall(text[at : token.start_mark.index])
        at = max(at, token.end_mark.index)
    return comments + _COMMENT.findall(text[at:])


def put(text: str, path: Sequence[str], value: Any, by: str | None) -> str:
    """The text with an item in the list at a path, or with a plain value under a key of its own.

    Raises:
        ValueError: there is no place for it.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        for key in reversed(path):
            value, by = {key: value if by is None else [value]}, None
        return text.rstrip("\n") + ("\n" if text.strip() else "") + write(value if by is None else [value])
    if by is None and len(path) == 1:
        return _add_key(text, root, path[0], value)
    if by is None or len(path) > 1:
        raise ValueError("only items of a list are changed here")
    items = root
    if path:
        found = _find(root, path[0])
        if found is None:
            return _add_key(text, root, path[0], [value])
        items = found
    return _put_item(text, items, value, by)


def write(value: Any) -> str:
    """A text of its own."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000))


def _add_key(text: str, root: yaml.Node, key: str, value: Any) -> str:
    if not isinstance(root, yaml.MappingNode) or root.flow_style or root.start_mark.column:
        raise ValueError("it is no table that a key can be added to")
    if _find(root, key) is not None:
        raise ValueError(f"`{key}` is there already")
    return _insert(text, _find_end(root), write({key: value}))


def _put_item(text: str, items: yaml.Node, value: Any, by: str) -> str:
    if not isinstance(items, yaml.SequenceNode) or items.flow_style or not items.value:
        raise ValueError("the list stands in a line, or is empty")
    indent = " " * items.start_mark.column
    lines = [f"{indent}{line}\n" for line in write([value]).splitlines()]
    for item in items.value:
        if isinstance(item, yaml.MappingNode) and _say(_find(item, by)) == str(value[by]):
            begin, end = _find_line(text, item.start_mark.index), _find_end(item)
            return text[:begin] + "".join(lines) + text[_find_next_line(text, end) :]
    return _insert(text, _find_end(items), "".join(lines))


def _insert(text: str, after: int, added: str) -> str:
    at = _find_next_line(text, after)
    gap = "" if text[:at].endswith("\n") else "\n"
    return text[:at] + gap + added + text[at:]


def _find(node: yaml.Node, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if _say(name) == key), None)


def _say(node: yaml.Node | None) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _find_end(node: yaml.Node) -> int:
    """Where the last of what a node holds ends; a list's own end would be past comments of what follows."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _find_end(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


def _find_line(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _find_next_line(text: str, at: int) -> int:
    if at and text[at - 1 : at] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1

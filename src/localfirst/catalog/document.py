"""The catalog's text as a YAML document: its plain values, and the lines that its keys are on.

Knows YAML and nothing of models.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from localfirst.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localfirst.catalog.schema import Path


def load_document(text: str, name: str) -> tuple[Any, Any]:
    """The YAML node tree (it knows the lines) and the plain values made from it; `name` is the file's in messages.

    PyYAML keeps the last of two equal keys without a word, and aliases make a small file huge, so both are refused.

    Raises:
        CatalogError: not YAML, empty, or one of these two; the message has the line where there is one.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is None:
            raise CatalogError(f"{name} is empty")
        _check_nodes(node, name, set())
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogError(f"{name} line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters, dates, numbers, depth that it refuses
        raise CatalogError(f"{name} cannot be read as YAML", detail=str(error)) from error


def _check_nodes(node: Any, name: str, seen: set[int]) -> None:
    if id(node) in seen:
        raise CatalogError(f"{name} line {node.start_mark.line + 1}: anchors and aliases are not used here")
    seen.add(id(node))
    if node.id == "mapping":
        keys = set()
        for key, value in node.value:
            if key.id != "scalar":
                raise CatalogError(f"{name} line {key.start_mark.line + 1}: a key must be a word")
            if key.value in keys:
                raise CatalogError(f"{name} line {key.start_mark.line + 1}: `{key.value}` is there twice")
            keys.add(key.value)
            _check_nodes(value, name, seen)
    elif node.id == "sequence":
        for item in node.value:
            _check_nodes(item, name, seen)


def find_line(node: Any, path: Path) -> int:
    """The line, from 1, of the key or item that a path leads to, as far as the path exists."""
    line = node.start_mark.line
    for part in path:
        if isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line
            continue
        found = next(((key, value) for key, value in node.value if key.value == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1


def find_owner(document: Any, path: Path) -> str:
    """Whose key a path leads to, such as `model ..., variant ...: `; empty outside the models."""
    words = []
    for part, index in pairwise(path):
        document = document[part]
        if part in ("models", "variants") and isinstance(index, int):
            item = document[index]
            name = item.get("name") if isinstance(item, dict) else None
            words.append(f"{part[:-1]} `{name or index + 1}`")
    return ", ".join(words) + ": " if words else ""


def replace_keys(text: str, name: str, model: str, variant: str, values: Mapping[str, str]) -> str:
    """A catalog's text with other values for some keys of one variant; a key that is not there comes after `repo`.

    `values` are what follows `key:`, with its own line breaks. Nothing else changes, comments and order included. A
    variant that is not there, or is written on one line in braces, is left as it is.

    Raises:
        CatalogError: not YAML.
    """
    node, _ = load_document(text, name)
    found = _find_named(_find_value(_find_named(_find_value(node, "models"), model), "variants"), variant)
    if found is None or found.flow_style:
        return text
    lines, indent = text.split("\n"), " " * found.start_mark.column
    spans = {key.value: (key.start_mark.line, _find_end(value)) for key, value in found.value}
    edits = []
    for key, value in values.items():
        start, end = spans.get(key, (spans["repo"][1], spans["repo"][1]))
        edits.append((start, end, f"{indent}{key}:{value}".split("\n")))
    for start, end, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:end] = new
    return "\n".join(lines)


def _find_value(node: Any, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), None) if node is not None else None


def _find_named(node: Any, name: str) -> Any:
    items = node.value if node is not None else ()
    return next((item for item in items if getattr(_find_value(item, "name"), "value", None) == name), None)


def _find_end(node: Any) -> int:
    """The line after a value: a list in lines ends with the last line of its last item."""
    if node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        return _find_end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line) + 1

"""The catalog's text as a YAML document: its plain values, and the lines that its keys are on.

Knows YAML and nothing of models.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from localfirst.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localfirst.catalog.schema import Path

DEPTH_MAX = 50


def load_document(text: str, name: str) -> tuple[Any, Any]:
    """The YAML node tree (it knows the lines) and the plain values made from it; `name` is the file's in messages.

    PyYAML keeps the last of two equal keys without a word, aliases make a small file huge, deep nesting overflows the
    stack of its native parser, and tags make it construct values of other kinds; so all of these are refused.

    Raises:
        CatalogError: not YAML, empty, or one of these; the message has the line where there is one.
    """
    import yaml

    try:
        safe_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _check_events(yaml.parse(text, Loader=safe_loader), name)
        loader = safe_loader(text)
        node = loader.get_single_node()
        if node is None:
            raise CatalogError(f"{name} is empty")
        _check_keys(node, name)
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogError(f"{name} line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters, dates, numbers, depth that it refuses
        raise CatalogError(f"{name} cannot be read as YAML", detail=str(error)) from error


def _check_events(events: Iterable[Any], name: str) -> None:
    """Look at the parser's events, one after another and never one within another, before anything is built of them."""
    depth = 0
    for event in events:
        depth += event.__class__.__name__.endswith("StartEvent") - event.__class__.__name__.endswith("EndEvent")
        problem = None
        if getattr(event, "anchor", None) is not None:
            problem = "anchors and aliases are not used here"
        elif getattr(event, "tag", None) is not None:
            problem = f"tags such as {event.tag} are not used here"
        elif depth > DEPTH_MAX:
            problem = f"nested more than {DEPTH_MAX} deep"
        if problem:
            raise CatalogError(f"{name} line {event.start_mark.line + 1}: {problem}")


def _check_keys(node: Any, name: str) -> None:
    if node.id == "mapping":
        keys = set()
        for key, value in node.value:
            if key.id != "scalar":
                raise CatalogError(f"{name} line {key.start_mark.line + 1}: a key must be a word")
            if key.value in keys:
                raise CatalogError(f"{name} line {key.start_mark.line + 1}: `{key.value}` is there twice")
            keys.add(key.value)
            _check_keys(value, name)
    elif node.id == "sequence":
        for item in node.value:
            _check_keys(item, name)


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


def replace_keys(text: str, name: str, model: str, variant: str, values: Mapping[str, str | None]) -> str:
    """A catalog's text with other values for some keys of one variant; a key that is not there comes after `repo`.

    `values` are what follows `key:`, with its own line breaks; `None` takes the key away. Nothing else changes, but for
    comments inside the values. A variant that is not there, or is written on one line in braces, is left as it is.

    Raises:
        CatalogError: not YAML.
    """
    node, _ = load_document(text, name)
    found = _find_named(_find_value(_find_named(_find_value(node, "models"), model), "variants"), variant)
    if found is None or found.flow_style or _find_value(found, "repo") is None:
        return text
    lines, column = text.split("\n"), found.start_mark.column
    spans = {key.value: (key.start_mark.line, _find_end(value)) for key, value in found.value}
    after_repo = spans["repo"][1]
    edits = []
    for key, value in values.items():
        start, end = spans.get(key, (after_repo, after_repo))
        before = lines[start][:column] if start < end else " " * column  # the first key of an entry has its dash there
        new = [] if value is None else f"{before}{key}:{value}".split("\n")
        if new or not before.strip():
            edits.append((start, end, new))
    for start, end, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:end] = new
    return "\n".join(lines)


def _find_value(node: Any, key: str) -> Any:
    if node is None or node.id != "mapping":
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _find_named(node: Any, name: str) -> Any:
    items = node.value if node is not None and node.id == "sequence" else ()
    return next((item for item in items if getattr(_find_value(item, "name"), "value", None) == name), None)


def _find_end(node: Any) -> int:
    """The line after a value: a list in lines ends with the last line of its last item."""
    if node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        return _find_end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line) + 1

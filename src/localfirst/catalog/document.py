"""The catalog's text as a YAML document: its plain values, and the lines that its keys are on.

Knows YAML and nothing of models.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from localfirst.errors import CatalogError

if TYPE_CHECKING:
    from localfirst.catalog.schema import Path


def load_document(text: str) -> tuple[Any, Any]:
    """The YAML node tree (it knows the lines) and the plain values made from it.

    PyYAML keeps the last of two equal keys without a word, and aliases make a small file huge, so both are refused.

    Raises:
        CatalogError: not YAML, empty, or one of these two; the message has the line where there is one.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is None:
            raise CatalogError("catalog.yaml is empty")
        _check_nodes(node, set())
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogError(f"catalog.yaml line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters, dates, numbers, depth that it refuses
        raise CatalogError("catalog.yaml cannot be read as YAML", detail=str(error)) from error


def _check_nodes(node: Any, seen: set[int]) -> None:
    if id(node) in seen:
        raise CatalogError(f"catalog.yaml line {node.start_mark.line + 1}: anchors and aliases are not used here")
    seen.add(id(node))
    if node.id == "mapping":
        keys = set()
        for key, value in node.value:
            if key.id != "scalar":
                raise CatalogError(f"catalog.yaml line {key.start_mark.line + 1}: a key must be a word")
            if key.value in keys:
                raise CatalogError(f"catalog.yaml line {key.start_mark.line + 1}: `{key.value}` is there twice")
            keys.add(key.value)
            _check_nodes(value, seen)
    elif node.id == "sequence":
        for item in node.value:
            _check_nodes(item, seen)


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

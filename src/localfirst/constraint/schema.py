"""The mistakes of a JSON schema that every engine refuses, found without one: values of a wrong kind.

Source: JSON Schema 2020-12 and its older drafts, whose words engines still take; a word that is not here is passed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.constraint import expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHOWN = 60
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def find_mistake(schema: object) -> str | None:
    """The first mistake, with its place: `properties.age.type` is 3, ...; without recursion."""
    waiting: list[tuple[str, object]] = [("", schema)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            return _say(place, part, "a schema: an object, true or false")
        for key, value in part.items():
            needed = next((what for what, (keys, fits) in _KINDS.items() if key in keys and not fits(value)), None)
            if needed is not None:
                return _say(_join(place, key), value, needed)
            if key == "pattern" and (mistake := expression.find_mistake(value)):
                return f"`{_join(place, key)}`: {mistake}"
            waiting += ((_join(place, *path), inner) for path, inner in _list_schemas(key, value))
    return None


def _list_schemas(key: str, value: Any) -> Iterator[tuple[tuple[str, ...], object]]:
    """The schemas that the value of a key has in it, each with the way to it."""
    if key in _OF_SCHEMAS:
        yield from (((key, name), item) for name, item in value.items())
    elif key in _SCHEMA_LISTS or (key == "items" and isinstance(value, list)):
        yield from (((key, str(number)), item) for number, item in enumerate(value))
    elif key in _SCHEMAS:
        yield (key,), value


def _join(place: str, *path: str) -> str:
    return ".".join((*([place] if place else []), *path))


def _say(place: str, value: object, needed: str) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return f"`{place}` is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}; it has to be {needed}"


def _is_type(value: object) -> bool:
    return (isinstance(value, str) and value in TYPES) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, str) and one in TYPES for one in value)
    )


def _is_count(value: object) -> bool:
    """In JSON, 2.0 is an integer too."""
    return _is_number(value) and value == int(value) and value >= 0  # type: ignore[call-overload,operator]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0  # not infinite


_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset({"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"})
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_KINDS: dict[str, tuple[frozenset[str], Callable[[Any], bool]]] = {
    f"one of {', '.join(TYPES)}, or a list of them": (frozenset({"type"}), _is_type),
    "an object, with a schema for each name": (_OF_SCHEMAS, lambda value: isinstance(value, dict)),
    "a list of schemas": (_SCHEMA_LISTS, lambda value: isinstance(value, list) and bool(value)),
    "a list of names": (
        frozenset({"required"}),
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    ),
    "a list of values": (frozenset({"enum"}), lambda value: isinstance(value, list)),
    "a whole number, 0 or more": (COUNTS, _is_count),
    "a number": (frozenset({"minimum", "maximum", "multipleOf"}), _is_number),
    "a text": (frozenset({"$ref", "format", "pattern"}), lambda value: isinstance(value, str)),
}
"""What the values of keys have to be."""

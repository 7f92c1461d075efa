"""Constraints in OpenVINO GenAI's words. It holds xgrammar, whose notation for grammars is llama.cpp's.

Sources: openvinotoolkit/openvino.genai, `structured_output_config`; mlc-ai/xgrammar, `cpp/json_schema_converter.cc`.
"""

from __future__ import annotations

import json
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from localfirst.backends import constraints

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.conversation import Constraint, ConstraintKind

CHARACTER = r'[^"\\\x00-\x1f]|\\["\\/bfnrt]'
"""A character in a JSON text."""
VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keys of a schema whose values are no schemas."""
REFUSAL = re.compile(r"xgrammar\S*:\d+: (.*)", re.DOTALL)


def describe(genai: Any, constraint: Constraint) -> Any:
    """A constraint for the engine, which looks at it when the request is added."""
    name, find_text = STRUCTURES[constraint.kind]
    return genai.StructuredOutputConfig(**{name: find_text(constraint)})


def find_refusal(words: str) -> str | None:
    """Why the engine does not take a constraint, if that is what it says; it does so before it reads the prompt."""
    refusal = REFUSAL.search(words)
    return refusal and refusal[1].strip()


def find_strict_schema(constraint: Constraint) -> str:
    """The schema of a JSON constraint, with the lengths of texts as patterns.

    Given a length, xgrammar lets control characters into a text, which JSON does not.
    """
    return json.dumps(_write_lengths(json.loads(constraints.find_schema(constraint))))


def _write_lengths(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_write_lengths(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {key: value if key in VALUES else _write_lengths(value) for key, value in schema.items()}
    lengths = [written.get(key) for key in ("minLength", "maxLength")]
    if any(type(length) is int for length in lengths) and not {"pattern", "format"} & written.keys():
        least, most = (length if type(length) is int else "" for length in lengths)
        written["pattern"] = f"^({CHARACTER}){{{least or 0},{most}}}$"
    return written


STRUCTURES: dict[ConstraintKind, tuple[str, Callable[[Constraint], str]]] = {
    "json_schema": ("json_schema", find_strict_schema),
    "json_object": ("json_schema", find_strict_schema),
    "regex": ("regex", attrgetter("text")),
    "gbnf": ("grammar", attrgetter("text")),
}
"""What the engine calls each, and its text."""

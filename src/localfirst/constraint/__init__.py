"""Texts to constraints, with the bounds that they are held to before native code sees them.

Engines take a schema apart by recursion, and put a grammar together whose size follows its numbers: 460 nested objects
keep one of them busy for two minutes, and an array of a billion items another. So what is deeper, longer or larger
than any schema in use is refused here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from localfirst.constraint import expression, schema
from localfirst.conversation import Constraint
from localfirst.errors import BadConstraintError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.conversation import ConstraintKind

MAX_CHARACTERS = 65_536
MAX_DEPTH = 64
"""Nested JSON values of a schema; 30 nested objects take two each."""
MAX_COUNT = 10_000
"""The largest number of characters, items or properties that a schema may ask for."""
REPEATED = re.compile(r"\{(\d*),?(\d*)\}")
GBNF_RULE = re.compile(r"^\s*[\w-]+\s*::=", re.MULTILINE)
LARK_START = re.compile(r"^(\s*[?!]*)start\b", re.MULTILINE)
STARTS: dict[ConstraintKind, tuple[str, re.Pattern[str], str]] = {
    "gbnf": ("llama.cpp's grammars", re.compile(r"^\s*root\s*::=", re.MULTILINE), 'root ::= "yes" | "no"'),
    "lark": ("Lark's grammars", LARK_START, 'start: "yes" | "no"'),
}
"""How a grammar's first rule is found in each notation, and what one looks like."""
ANY_OBJECT = '{"type": "object"}'


def make_schema(text: str) -> Constraint:
    """The constraint of a JSON schema.

    Raises:
        BadConstraintError: it is no JSON object, has a mistake that every engine refuses, or is over one of the bounds.
    """
    _check_size(text, "JSON schema")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise BadConstraintError(
            "The schema is no JSON", detail=str(error), hint='A schema looks like {"type": "object", "properties": {}}'
        ) from error
    if not isinstance(value, dict):
        raise BadConstraintError(
            "The schema is no JSON object",
            detail=f"it is {text.strip()[:60]}",
            hint='To allow any JSON object, write {"type": "object"}',
        )
    for key, part, depth in _walk(value):
        if depth > MAX_DEPTH:
            raise _too_deep()
        if key in schema.COUNTS and isinstance(part, (int, float)) and not isinstance(part, bool) and part > MAX_COUNT:
            raise BadConstraintError(
                f"The schema asks for too many: `{key}` is {part}",
                hint=f"Make it {MAX_COUNT:,} or less, or leave it out",
            )
        if key == "pattern" and isinstance(part, str):
            _check_repeats(part, "The schema's pattern")
    if mistake := schema.find_mistake(value):
        raise BadConstraintError("The schema has a mistake", detail=mistake, hint="Correct it, or leave that key out")
    return Constraint("json_schema", text)


def make_regex(text: str) -> Constraint:
    """The constraint of a regular expression, which the whole answer matches.

    Raises:
        BadConstraintError: it is empty, broken in every dialect, or over one of the bounds.
    """
    _check_size(text, "regular expression")
    _check_repeats(text, "The regular expression")
    if mistake := expression.find_mistake(text):
        raise BadConstraintError(
            "The regular expression has a mistake",
            detail=mistake,
            hint="Correct it; a shell changes less of it between single quotes",
        )
    return Constraint("regex", text)


def make_grammar(text: str) -> Constraint:
    """The constraint of a grammar: llama.cpp's notation where it has rules with `::=`, else Lark's.

    Raises:
        BadConstraintError: it is empty, has no rule to start from, or is over one of the bounds.
    """
    _check_size(text, "grammar")
    kind: ConstraintKind = "gbnf" if GBNF_RULE.search(text) else "lark"
    notation, start, example = STARTS[kind]
    if not start.search(text):
        raise BadConstraintError(
            f"The grammar has no rule to start from: {notation} begin with `{example.partition(' ')[0].strip(':')}`",
            hint=f"Write one: {example}",
        )
    return Constraint(kind, text)


def is_kept(constraint: Constraint, answer: str) -> bool:
    """Whether a whole answer is of the asked kind, as far as can be told without the engine: that JSON is JSON."""
    if constraint.kind not in {"json_schema", "json_object"}:
        return True
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return constraint.kind == "json_schema" or isinstance(value, dict)


def _walk(schema: object) -> Iterator[tuple[str, Any, int]]:
    """Every value with its key and depth, without recursion."""
    waiting: list[tuple[str, object, int]] = [("", schema, 1)]
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        if isinstance(value, dict):
            waiting += [(name, item, depth + 1) for name, item in value.items()]
        elif isinstance(value, list):
            waiting += [("", item, depth + 1) for item in value]


def _check_size(text: str, what: str) -> None:
    if not text.strip():
        raise BadConstraintError(f"The {what} is empty", hint="Without one, leave the option out")
    if len(text) > MAX_CHARACTERS:
        detail = f"{len(text):,} characters; the most are {MAX_CHARACTERS:,}"
        raise BadConstraintError(
            f"The {what} is too long", detail=detail, hint="Leave out what the answer does not need"
        )


def _check_repeats(text: str, what: str) -> None:
    for match in REPEATED.finditer(text):
        if any(len(number) > 9 or int(number) > MAX_COUNT for number in match.groups() if number):
            raise BadConstraintError(
                f"{what} repeats too often: {match[0]}", hint=f"Repeat at most {MAX_COUNT:,} times"
            )


def _too_deep() -> BadConstraintError:
    return BadConstraintError(
        f"The schema is nested deeper than {MAX_DEPTH} levels",
        hint="Flatten it, or name its parts with `$defs` and `$ref`",
    )

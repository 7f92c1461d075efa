"""Constraints in the words of llama.cpp's server, and how to see that it took one.

llama.cpp has a notation of its own for grammars, and the build that xllamacpp has holds llguidance besides, which it is
given by a first line. A grammar that llguidance refuses, llama.cpp logs and does without, and the answer is free. So
each is tried first behind a mark that no model writes by itself: if that is not what comes, it was refused.
Source: llama.cpp, `common/llguidance.cpp` and `docs/llguidance.md`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localfirst.backends import constraints

if TYPE_CHECKING:
    from localfirst.conversation import Constraint, ConstraintKind

KINDS: tuple[ConstraintKind, ...] = ("json_schema", "json_object", "regex", "lark", "gbnf")
OWN_KINDS: tuple[ConstraintKind, ...] = ("gbnf",)
MARK = "\x01"
_FIRST_LINE = "%llguidance {}\n"
_MARKED = 'start: LF_MARK lf_start\nLF_MARK: "\\u0001"\n'
_OWN_FIRST_LINE = re.compile(r"\A\s*%llguidance[^\n]*\n")
_START = re.compile(r"^start\b", re.MULTILINE)


def find_kinds(xllamacpp: Any) -> tuple[ConstraintKind, ...]:
    """What this build can hold an answer to. Without llguidance in it, asking for that would end the process."""
    built_in = str(xllamacpp.json_schema_to_grammar({"type": "object"})).startswith(_FIRST_LINE)
    return KINDS if built_in else OWN_KINDS


def describe(constraint: Constraint | None) -> dict[str, Any]:
    """The part of a request that holds its answer."""
    if constraint is None:
        return {}
    if constraint.kind == "gbnf":
        return {"grammar": constraint.text}
    return {"grammar": _FIRST_LINE + _find_body(constraint)}


def describe_trial(constraint: Constraint) -> dict[str, Any]:
    """The part of a request of one token, which tells whether the engine takes the constraint.

    Inside the grammar, `start` means the marked whole then: that says nothing else than whether it can be taken.
    """
    grammar = describe(constraint)
    if constraint.kind != "gbnf":
        grammar = {"grammar": _FIRST_LINE + _MARKED + _START.sub("lf_start", _find_body(constraint), count=1)}
    return grammar | {"max_tokens": 1, "temperature": 0.0}


def _find_body(constraint: Constraint) -> str:
    """A grammar without a first line of its own."""
    return _OWN_FIRST_LINE.sub("", constraints.find_lark(constraint))


def is_taken(constraint: Constraint, text: str) -> bool:
    """Whether the answer to that request says so. In llama.cpp's own notation, a refusal is an error instead."""
    return constraint.kind == "gbnf" or text == MARK

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
from localfirst.constraint import LARK_START

if TYPE_CHECKING:
    from localfirst.conversation import Constraint, ConstraintKind

KINDS: tuple[ConstraintKind, ...] = ("json_schema", "json_object", "regex", "lark", "gbnf")
OWN_KINDS: tuple[ConstraintKind, ...] = ("gbnf",)
MARK = "\x01"
_FIRST_LINE = "%llguidance {}\n"
_START = "lf_st"
"""What the grammar's `start` is called in a trial: as long as that, so that columns stay."""
_MARKED = f'start: LF_MARK {_START}\nLF_MARK: "\\u0001"\n'
_OWN_FIRST_LINE = re.compile(r"\A\s*%llguidance[^\n]*\n")
_LOG_LINE = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ", re.MULTILINE)
"""Such as `0.00.384.776 E llg error: at 5(11): unknown name`."""
_WORDS = (re.compile(r"^parse: error parsing grammar: ", re.MULTILINE), re.compile(r" E (?:llg error: )?(?!srv )"))
"""What comes before the engine's own words: of its grammar's parser, which has no log, or of the log's first error."""


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
        body = LARK_START.sub(rf"\1{_START}", _find_body(constraint), count=1)
        grammar = {"grammar": _FIRST_LINE + _MARKED + body}
    return grammar | {"max_tokens": 1, "temperature": 0.0}


def _find_body(constraint: Constraint) -> str:
    """A grammar without a first line of its own."""
    return _OWN_FIRST_LINE.sub("", constraints.find_lark(constraint))


def count_lines_ahead(constraint: Constraint) -> int:
    """The lines that a trial has before the user's grammar, whose own first line is left out."""
    own = _OWN_FIRST_LINE.match(constraints.find_lark(constraint)) if constraint.kind == "lark" else None
    return (_FIRST_LINE + _MARKED).count("\n") - (own[0].count("\n") if own else 0)


def find_reason(constraint: Constraint, log: str) -> str | None:
    """Why a grammar is refused, in the engine's words: what it writes about anything else, and its stamps, left out.

    `parse: error parsing grammar: expecting newline or end at ] ...`, with all that follows in the grammar and then the
    whole grammar; or `0.00.384.776 E llg error: at 5(11): unknown name: "word"` and an excerpt of the grammar.
    """
    found = next(filter(None, (words.search(log) for words in _WORDS)), None)
    if found is None:
        return None
    reason = _LOG_LINE.split(log[found.end() :], maxsplit=1)[0].rstrip()
    if constraint.kind != "gbnf":
        return reason
    words, at, rest = reason.removesuffix(constraint.text.rstrip()).rstrip().partition(" at ")
    if not at or not rest or not (text := constraint.text.rstrip()).endswith(rest):
        return words + at + rest.partition("\n")[0]
    line = text[: len(text) - len(rest)].count("\n") + 1
    return f"line {line}: {words} at {rest.partition(chr(10))[0]}"


def is_taken(constraint: Constraint, text: str) -> bool:
    """Whether the answer to that request says so. In llama.cpp's own notation, a refusal is an error instead."""
    return constraint.kind == "gbnf" or text == MARK

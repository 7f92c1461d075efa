"""What adapters have in common in holding an answer to a constraint.

Most engines have llguidance inside, or it is put beside them here; its grammars are Lark's with additions.
Source: guidance-ai/llguidance, `docs/syntax.md` and `docs/json_schema.md`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from localfirst.constraint import ANY_OBJECT
from localfirst.errors import BadConstraintError, ConstraintError

if TYPE_CHECKING:
    from localfirst.backends.base import LoadedInfo
    from localfirst.conversation import Constraint, ConstraintKind

NAMES: dict[ConstraintKind, str] = {
    "json_schema": "a JSON schema",
    "json_object": "JSON",
    "regex": "a regular expression",
    "lark": "a grammar in Lark's notation",
    "gbnf": "a grammar in llama.cpp's notation (`::=`)",
}
MAX_WORDS = 1000
_EXCERPT = re.compile(r"\n\s*\d+ \| .*|<state>.*", re.DOTALL)
"""What llguidance shows of the grammar below its words, which is not as the user wrote it, and of its own state."""
_POSITION = re.compile(r"^(?:at )?(\d+)\((\d+)\): ")
"""Line and column, as llguidance has them."""
WRITING = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}
"""How JSON is written: as models have mostly read it, on one line. Free to choose, a model may add whitespace without
end, since no schema forbids it."""


def require(constraint: Constraint, info: LoadedInfo) -> None:
    """Raise unless an engine can hold an answer to this.

    Raises:
        ConstraintError: it cannot; what it can is in the detail.
    """
    if constraint.kind in info.constraints:
        return
    known = ", ".join(NAMES[kind] for kind in info.constraints)
    raise ConstraintError(
        f"{info.engine} cannot hold an answer to {NAMES[constraint.kind]}",
        detail=f"it can to {known}" if known else None,
        hint="Take a build for another engine: `lf model explain` lists them, `--backend` chooses",
    )


def refuse(constraint: Constraint, engine: str, reason: str, ahead: int = 0) -> BadConstraintError:
    """The error for a constraint that an engine does not take.

    `ahead` are the lines that the adapter put before a grammar: what the engine says of a line is told by the user's.
    """
    return BadConstraintError(
        f"{engine} does not take {NAMES[constraint.kind]} like this one",
        detail=_tell_place(constraint, _EXCERPT.sub("", reason).strip(), ahead)[:MAX_WORDS] or None,
        hint="Correct it; engines differ in what they take, so another one may: `--backend`",
    )


def _tell_place(constraint: Constraint, reason: str, ahead: int) -> str:
    """The reason with the line of the user's grammar. What is made of another constraint has no lines of the user's."""
    place = _POSITION.match(reason)
    if place is None:
        return reason
    words, line = reason[place.end() :], int(place[1]) - ahead
    if constraint.kind != "lark" or line < 1:
        return words
    last = constraint.text.rstrip().count("\n") + 1
    return f"line {line}, column {place[2]}: {words}" if line <= last else f"after line {last}, the last: {words}"


def find_schema(constraint: Constraint) -> str:
    """The schema of a JSON constraint, for any engine."""
    return constraint.text or ANY_OBJECT


def find_guided_schema(constraint: Constraint) -> str:
    """The schema of a JSON constraint for llguidance, with how JSON is written unless it says so itself."""
    return json.dumps(WRITING | json.loads(find_schema(constraint)))


def find_lark(constraint: Constraint) -> str:
    """Any constraint but `gbnf` as a grammar of llguidance's."""
    if constraint.kind == "lark":
        return constraint.text
    if constraint.kind == "regex":
        return f"start: /{_escape(constraint.text)}/"
    return f"start: %json {find_guided_schema(constraint)}"


def _escape(expression: str) -> str:
    """An expression between slashes: a slash of its own is escaped, and so is a line's end."""
    escaped = False
    pieces = []
    for character in expression:
        if character == "\n":
            pieces.append("n" if escaped else "\\n")  # where it is escaped, its backslash is written already
        else:
            pieces.append("\\/" if character == "/" and not escaped else character)
        escaped = character == "\\" and not escaped
    return "".join(pieces)

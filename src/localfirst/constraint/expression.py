"""The mistakes of a regular expression that are some in every dialect: what is begun and never closed, and the like.

What else an expression may say is the engine's to judge: llguidance takes Rust's, xgrammar JavaScript's.
Sources: docs.rs/regex, "Syntax"; mlc-ai/xgrammar, `cpp/regex_converter.cc`.
"""

from __future__ import annotations

import re

_PARTS = re.compile(
    r"\\(?P<escaped>.?)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<single>[()\[])|\{(?P<least>\d+),(?P<most>\d+)\}",
    re.DOTALL,
)


def find_mistake(text: str) -> str | None:
    """What is wrong with an expression for sure, or nothing.

    A set may have another inside in Rust's, and comments may hold anything in its verbose mode: there only an engine
    knows where a parenthesis stands.
    """
    opened, sure = 0, not re.search(r"\(\?[a-zA-Z]*x", text)
    for part in _PARTS.finditer(text):
        if part["escaped"] == "":
            return "it ends in a backslash"
        if part["single"] == "[":
            return _say(text, part.start(), "`[` is not closed")
        if part["set"]:
            sure = sure and "[" not in part["set"][1:]
        elif part["least"] and int(part["least"]) > int(part["most"]):
            return _say(text, part.start(), f"`{part[0]}` begins above its end")
        elif part["single"]:
            opened += 1 if part["single"] == "(" else -1
            if opened < 0 and sure:
                return _say(text, part.start(), "`)` closes nothing")
    return "a `(` is not closed" if opened > 0 and sure else None


def _say(text: str, index: int, what: str) -> str:
    return f"{what}, at character {index + 1} of {len(text)}"

"""A tiny phrasing grammar: expand a template to one random sentence, or tell whether it gives a sentence.

`(a|b|)` is one of its alternatives (an empty one makes the part optional; they nest) and `<name>` is one of the
alternatives that the lexicon gives for that name. Everything else stands for itself.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

MACRO = re.compile(r"<([a-z_]+)>")
INNERMOST = re.compile(r"\(([^()]*)\)")


def expand(template: str, lexicon: Mapping[str, Sequence[str]], rng: random.Random) -> str:
    """One random sentence of `template`, with runs of spaces collapsed."""
    text = template
    while True:
        replaced = MACRO.sub(lambda m: rng.choice(lexicon[m[1]]), text)
        replaced = INNERMOST.sub(lambda m: rng.choice(m[1].split("|")), replaced, count=1)
        if replaced == text:
            return " ".join(text.split())
        text = replaced


def generates(template: str, lexicon: Mapping[str, Sequence[str]], sentence: str) -> bool:
    """Whether `template` can give `sentence`, not counting case, spaces and marks."""
    text = squeeze(sentence)
    return len(text) in ends(template, lexicon, text, {0})


def ends(template: str, lexicon: Mapping[str, Sequence[str]], text: str, starts: set[int]) -> set[int]:
    """The positions in `text` where `template` can end when it begins at one of `starts`."""
    for literal, macro, group in parts(template):
        squeezed = squeeze(literal)
        starts = {start + len(squeezed) for start in starts if text.startswith(squeezed, start)}
        if not starts:
            break
        if macro or group is not None:
            options = lexicon[macro] if macro else split(group or "")
            starts = set().union(*(ends(option, lexicon, text, starts) for option in options))
    return starts


@cache
def parts(template: str) -> tuple[tuple[str, str | None, str | None], ...]:
    """`template` as literals, each with the macro's name or the inside of the group that follows it."""
    found, at = [], 0
    while match := re.compile(r"<([a-z_]+)>|\(").search(template, at):
        literal, group, at = template[at : match.start()], None, match.end()
        if not match[1]:
            depth, begin = 1, at
            while depth:
                depth += {"(": 1, ")": -1}.get(template[at], 0)
                at += 1
            group = template[begin : at - 1]
        found.append((literal, match[1], group))
    return (*found, (template[at:], None, None))


@cache
def split(choices: str) -> tuple[str, ...]:
    """The alternatives of a group, cut at its own bars only."""
    depth, out = 0, [""]
    for letter in choices:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "|" and depth == 0:
            out.append("")
        else:
            out[-1] += letter
    return tuple(out)


@cache
def squeeze(text: str) -> str:
    """The letters of `normalize`d text, without the spaces."""
    return normalize(text).replace(" ", "")


def normalize(text: str) -> str:
    """Lower case, without the punctuation that never changes a question's meaning."""
    return " ".join(re.sub(r"[?!.,;:`'\"]+", "", text.lower()).split())

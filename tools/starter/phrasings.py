"""The intents as values, and questions made from their phrasings: clean ones, noisy ones, and the held-out ones.

`intents/*.yaml` is the data: one entry per intent with its `answer`, what a right answer must contain (`command`, to
be found in backticks, or `phrase`), the `train` templates and the literal `heldout` questions. `kind` adds the shared
templates of `kinds.yaml`, with each of the intent's `terms` in place of `<term>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from grammar import expand, generates, normalize

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

FOLDER = Path(__file__).parent / "intents"
HELDOUT_PER_KIND = 3
WEIGHT, EASY_WEIGHT = 3, 2
BEFORE = (
    *("please", "hi,", "hello,", "hey,", "ok,", "so", "and", "well,", "quick question:", "one more thing:", "also,"),
    *("now", "tell me,", "do you know", "excuse me,", "can you tell me", "could you tell me", "i wonder,", "but"),
    *("i am new to lf,", "i have a question:", "sorry,", "in lf,", "lf:", "then", "just", "could you please"),
    *("a friend asks:", "honestly,", "maybe you know,", "i read the manual, but", "for a test,", "good evening,"),
    *("yesterday i wondered:", "say,", "listen,", "next,", "my question is", "i am not sure,", "thanks, and", "again,"),
)
AFTER = (
    *("please", "thanks", "with lf", "in lf", "then", "now", "exactly", "again", "thank you", "lf", "for me", "here"),
    *(", how", ", how do i do that", ", what do i type", ", which command is it", ", is that possible", ", any idea"),
    *(", what should i do", ", can you help", ", what do you say", "today", "actually", "in general", "at all"),
)
CONTRACTIONS = (
    *(("what is", "what's"), ("i am", "i'm"), ("do not", "don't"), ("does not", "doesn't"), ("cannot", "can't")),
    *(("how is", "how's"), ("who is", "who's"), ("where is", "where's"), ("i would", "i'd"), ("i have", "i've")),
    *(("it is", "it's"), ("is not", "isn't"), ("you are", "you're"), ("there is", "there's"), ("did not", "didn't")),
)
FILLER = (
    *("really", "actually", "just", "maybe", "somehow", "now", "some", "any", "here", "there", "very", "quite", "also"),
    *("still", "already", "simply", "would", "could", "be", "it", "that", "this", "one", "me", "my", "for", "of", "in"),
    *("to", "on", "with", "is", "are", "was", "has", "when", "if", "as", "by", "at", "from", "so", "too", "then", "or"),
)
KEPT = {"not", "no", "without", "all", "every", "never", "do", "don't", "and", "but", "two", "more"}


@dataclass(frozen=True)
class Intent:
    """One thing that can be asked."""

    id: str
    answer: str
    expected: str
    weight: int
    templates: tuple[str, ...]
    shared: tuple[str, ...]
    terms: tuple[str, ...]
    heldout: tuple[str, ...]
    macros: Mapping[str, Sequence[str]]

    @cached_property
    def lexicon(self) -> dict[str, Sequence[str]]:
        """The macros of this intent's templates."""
        return {**self.macros, "term": self.terms}

    def question(self, rng: random.Random) -> str:
        """One clean question, as a template gives it."""
        pool = self.shared if self.shared and (not self.templates or rng.random() < SHARED_SHARE) else self.templates
        return expand(rng.choice(pool), self.lexicon, rng)

    def trains(self, question: str) -> bool:
        """Whether a training template can give `question`, not counting case, spaces and marks."""
        return any(generates(template, self.lexicon, question) for template in (*self.templates, *self.shared))


SHARED_SHARE = 0.3


def load() -> tuple[Intent, ...]:
    """Every intent of every topic, in the order of the files."""
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
    macros = {name: tuple(str(choice) for choice in choices) for name, choices in read.pop("lexicon").items()}
    kinds = read.pop("kinds")
    intents = []
    for entries in read.values():
        for index, (name, entry) in enumerate(entries.items()):
            kind = kinds.get(entry.get("kind"), {"train": [], "heldout": []})
            terms = tuple(entry.get("terms", ()))
            heldout = [*entry.get("heldout", ()), *shared_heldout(kind["heldout"], terms, index)]
            command = entry.get("command")
            intents.append(
                Intent(
                    id=name,
                    answer=entry["answer"],
                    expected=f"`{command}`" if command else entry["phrase"],
                    weight=entry.get("weight", 1) * (EASY_WEIGHT if entry.get("kind") == "term" else WEIGHT),
                    templates=tuple(entry.get("train", ())),
                    shared=tuple(kind["train"]),
                    terms=terms,
                    heldout=tuple(heldout),
                    macros=macros,
                )
            )
    return tuple(intents)


def shared_heldout(templates: Sequence[str], terms: Sequence[str], index: int) -> list[str]:
    """A few of the kind's held-out templates for one intent, in turn, each with another of its terms."""
    count = min(HELDOUT_PER_KIND, len(templates))
    chosen = [templates[(index * count + offset) % len(templates)] for offset in range(count)]
    return [template.replace("<term>", terms[offset % len(terms)]) for offset, template in enumerate(chosen)]


def noisy(question: str, rng: random.Random) -> str:
    """`question` as a hurried person would type it."""
    if rng.random() < 0.4:
        for long, short in CONTRACTIONS:
            question = re.sub(rf"\b{long}\b", short, question)
    return typed(" ".join(framed(disturbed(question.split(), rng), rng)).replace(" ,", ","), rng)


def disturbed(words: list[str], rng: random.Random) -> list[str]:
    """`words` with some lost, added, moved or misspelt."""
    if rng.random() < 0.15:
        lost = rng.choice((0.1, 0.2))
        words = [word for word in words if not word.isalpha() or word in KEPT or rng.random() > lost] or words
    if rng.random() < 0.15:
        words = [word for word in words if word not in {"a", "the", "an"}] or words
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), rng.choice(FILLER))
    if rng.random() < 0.08:
        at = rng.randrange(len(words))
        words.insert(rng.randrange(len(words)), words.pop(at))
    if rng.random() < 0.15:
        at = rng.randrange(len(words))
        words[at] = misspell(words[at], rng)
    return words


def framed(words: list[str], rng: random.Random) -> list[str]:
    """`words` with something polite or idle before or after, and sometimes with backticks around flags."""
    if rng.random() < 0.18:
        words = [rng.choice(BEFORE), *words]
    if rng.random() < 0.14:
        words = [*words, rng.choice(AFTER)]
    if rng.random() < 0.15:
        words = [f"`{word}`" if word.startswith(("--", "/")) or word.isupper() else word for word in words]
    return words


def typed(text: str, rng: random.Random) -> str:
    """`text` in one of the usual cases, with some mark at its end."""
    style = rng.random()
    if style < 0.5:
        text = re.sub(r"\bi\b", "I", text[:1].upper() + text[1:])
    elif style < 0.75:
        text = text.lower()
    elif style < 0.77:
        text = text.upper()
    return text + rng.choice(("", "", "", "?", "?", "?", ".", " ?", "!", "??"))


def misspell(word: str, rng: random.Random) -> str:
    """`word` with one letter doubled, lost or swapped with its neighbour; short words and commands stay."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    match rng.randrange(3):
        case 0:
            return word[:at] + word[at] + word[at:]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def heldout_keys(intents: Sequence[Intent]) -> set[str]:
    """The held-out questions, normalized; the trainer drops whatever would equal one."""
    return {normalize(question) for intent in intents for question in intent.heldout}

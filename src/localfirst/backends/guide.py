"""Which tokens a constraint allows next, for engines that have nothing of their own for it: by llguidance.

llguidance is a package without dependencies that goes with such an engine. It takes the tokenizer from the model's
`tokenizer.json`. Source: guidance-ai/llguidance, `python/llguidance/_lib.pyi`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from localfirst.backends import constraints

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from localfirst.conversation import Constraint, ConstraintKind

KINDS: tuple[ConstraintKind, ...] = ("json_schema", "json_object", "regex", "lark", "gbnf")


def find_kinds() -> tuple[ConstraintKind, ...]:
    """What can be held to here: nothing where the package is not."""
    return KINDS if find_spec("llguidance") is not None else ()


class Guides:
    """Makes guides for one vocabulary. What is known of that is put together once: for 150,000 tokens in a second."""

    def __init__(self, tokenizer: Path, ends: Iterable[int]) -> None:
        self._tokenizer, self._ends = tokenizer, sorted(ends)
        self._vocabulary: Any = None

    def make(self, constraint: Constraint, engine: str, vocabulary_size: int) -> Guide:
        """A guide for one answer; `vocabulary_size` is the number of logits.

        Raises:
            ConstraintError: llguidance refuses it; `engine` is what the user knows.
        """
        import llguidance

        if self._vocabulary is None:
            self._vocabulary = llguidance.LLTokenizer(str(self._tokenizer), vocabulary_size, self._ends)
        matcher = llguidance.LLMatcher(self._vocabulary, _find_grammar(constraint, engine))
        made = Guide(matcher, vocabulary_size, constraint, engine)
        made.find_allowed()  # what allows nothing at all is refused here too
        return made


class Guide:
    """Follows one answer token by token."""

    def __init__(self, matcher: Any, size: int, constraint: Constraint, engine: str) -> None:
        self._size = size
        self._matcher, self._constraint, self._engine = matcher, constraint, engine
        self._check()

    def find_allowed(self) -> Any:
        """An array of one truth value for each token.

        Raises:
            ConstraintError: what is to come has become too much for llguidance, or nothing can come.
        """
        import numpy as np

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        return np.unpackbits(bits, count=self._size, bitorder="little").view(bool)

    def note(self, token: int) -> None:
        """Take note of a token that was drawn and did not end the answer."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise constraints.refuse(self._constraint, self._engine, str(self._matcher.get_error()))


def _find_grammar(constraint: Constraint, engine: str) -> str:
    if constraint.kind != "gbnf":
        return constraints.find_lark(constraint)
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        converted: str = any_to_lark(constraint.text)
    except Exception as error:
        raise constraints.refuse(constraint, engine, str(error)) from error
    return converted

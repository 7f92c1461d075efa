"""Which tokens a constraint allows next, for engines that have nothing of their own for it: by llguidance.

llguidance is a package without dependencies that goes with such an engine. It takes the tokenizer from the model's
`tokenizer.json`, or from what an engine says of its tokens. Sources: guidance-ai/llguidance,
`python/llguidance/_lib.pyi` and `_tokenizer.py`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from localfirst.backends import constraints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from localfirst.conversation import Constraint, ConstraintKind

KINDS: tuple[ConstraintKind, ...] = ("json_schema", "json_object", "regex", "lark", "gbnf")


def find_kinds() -> tuple[ConstraintKind, ...]:
    """What can be held to here: nothing where the package is not."""
    return KINDS if find_spec("llguidance") is not None else ()


class Tokenizer:
    """A tokenizer that is in no `tokenizer.json`, with the attributes that llguidance asks for."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(
        self, tokens: Sequence[bytes], special: Sequence[int], end: int, tokenize: Callable[[str], list[int]]
    ) -> None:
        """Take the bytes of each token, which of them are special, and one that ends an answer."""
        self.tokens, self.special_token_ids, self.eos_token_id = tokens, special, end
        self._tokenize = tokenize

    def __call__(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self._tokenize(text)


class Guides:
    """Makes guides for one vocabulary. What is known of that is put together once: for 150,000 tokens in a second."""

    def __init__(self, describe: Callable[[], tuple[str | Tokenizer, Iterable[int]]]) -> None:
        """Take what tells a tokenizer, or its path, and the tokens that end an answer; asked when first needed."""
        self._describe = describe
        self._ends: list[int] = []
        self._vocabulary: Any = None

    def make(self, constraint: Constraint, engine: str, vocabulary_size: int) -> Guide:
        """A guide for one answer; `vocabulary_size` is the number of logits.

        Raises:
            ConstraintError: llguidance refuses it; `engine` is what the user knows.
        """
        import llguidance

        if self._vocabulary is None:
            tokenizer: Any  # llguidance looks at attributes, and its stubs want a class of its own
            tokenizer, ends = self._describe()
            self._ends = sorted(ends)
            self._vocabulary = llguidance.LLTokenizer(tokenizer, vocabulary_size, self._ends[0])
        matcher = llguidance.LLMatcher(self._vocabulary, _find_grammar(constraint, engine))
        made = Guide(matcher, vocabulary_size, self._ends, constraint, engine)
        made.find_allowed()  # what allows nothing at all is refused here too
        return made


class Guide:
    """Follows one answer token by token."""

    def __init__(self, matcher: Any, size: int, ends: list[int], constraint: Constraint, engine: str) -> None:
        self._size, self._ends = size, ends
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
        allowed = np.unpackbits(bits, count=self._size, bitorder="little").view(bool)
        allowed[self._ends] = allowed[self._ends[0]]  # not every version of it knows more than one
        return allowed

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

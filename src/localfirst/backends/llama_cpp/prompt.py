"""A prompt as llama.cpp's server is given it: counted beforehand, or as a text that it counts itself.

To have a text counted is a request of its own, which takes the engine longer than to begin with a short prompt. Of one
that fits whatever its tokens are, the count is only told: the engine does that with the first it says.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from localfirst.choices import CONTEXT_STEP_TOKENS, LLAMA_BATCH_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BYTES = 4
"""Of a key, for each token: as many as a token of text has, about."""
ADDED_TOKENS = 2
"""What may come before a text: the model's own first token, and a space that some tokenizers begin with."""


class Prompt(NamedTuple):
    """What the engine reads."""

    given: str | Sequence[int | str]
    key: bytes
    """By which slots know it again: prompts that begin alike have keys that do."""
    tokens: int | None
    """`None`: the engine tells."""

    @property
    def is_one_batch(self) -> bool:
        """Whether the engine surely computes it at once."""
        most = len(self.key) + ADDED_TOKENS if self.tokens is None else self.tokens
        return most <= LLAMA_BATCH_TOKENS


def make_counted(tokens: list[int], text: str | None = None) -> Prompt:
    """A prompt of these tokens, of which a text is made up, if it is one."""
    return Prompt(tokens, make_key(tokens) if text is None else text.encode("utf-8", "replace"), len(tokens))


def make_uncounted(text: str, first: Sequence[int], first_text: str) -> Prompt:
    """A text for the engine to count, after the model's own first tokens: once, whether or not the text has them."""
    key = text.encode("utf-8", "replace")
    if not first:
        return Prompt(text, key, None)
    rest = text.removeprefix(first_text)
    return Prompt([*first, rest] if rest else list(first), key, None)


def make_key(tokens: Sequence[int]) -> bytes:
    """The key of token ids."""
    return array("i", tokens).tobytes()


def fits(text: str, context_tokens: int, max_tokens: int | None) -> bool:
    """Whether a text leaves room for an answer, and ends it where it has to, whatever its tokens are.

    They are no more than its bytes, and what is put before them. The engine's own context, at which it ends
    an answer of any length, is longer where ours is no multiple of its step.
    """
    room = context_tokens - len(text.encode("utf-8", "replace")) - ADDED_TOKENS
    most = room + 1 if max_tokens is None else max_tokens
    return bool(text) and min(most, room) >= 1 and (most <= room or context_tokens % CONTEXT_STEP_TOKENS == 0)

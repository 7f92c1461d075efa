"""How many tokens an answer may have, and what it is called when it has used them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.errors import ContextError, UsageError

if TYPE_CHECKING:
    from localfirst.conversation import FinishReason


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most tokens an answer may have, and its finish reason if it takes them all."""

    tokens: int
    finish_reason: FinishReason


def find_allowance(prompt_tokens: int, context_tokens: int, max_tokens: int | None) -> Allowance:
    """What the context leaves for an answer, and no more than was asked for.

    Raises:
        ContextError: the prompt leaves no room for a single token.
        UsageError: there is no prompt, or fewer than one token is asked for.
    """
    if prompt_tokens == 0:
        raise UsageError("The prompt is empty")
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"The maximum of tokens must be at least 1, not {max_tokens}")
    room = context_tokens - prompt_tokens
    if room < 1:
        raise ContextError(
            f"The prompt has {prompt_tokens} tokens; the context is {context_tokens}",
            detail="The context is shared by prompt and answer",
            hint="Shorten the prompt, or use a model with a longer context; `--ctx` sets it, up to the model's own",
        )
    if max_tokens is not None and max_tokens <= room:
        return Allowance(max_tokens, "length")
    return Allowance(room, "context")

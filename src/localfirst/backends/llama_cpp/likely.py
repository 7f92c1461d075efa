"""How likely tokens were, as llama.cpp's server tells it, in this process or over HTTP.

It tells one token with each event, before anything that changes chances. Of tokens that end inside a character it sends
no event: they come with the one that completes it, and only of that the server tells. Nor does it of what a draft
guessed.
Source: `populate_token_probs` and `process_token` in `tools/server/server-context.cpp`, ggml-org/llama.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import IMPOSSIBLE, Likely, Weighed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def describe(likeliest: int | None) -> dict[str, Any]:
    """The part of a request that asks for it; one of the likeliest at least, for else it tells nothing."""
    return {} if likeliest is None else {"n_probs": max(1, likeliest), "logprobs": max(1, likeliest)}


class Reader:
    """Reads what the events of an answer tell of its tokens."""

    def __init__(self, likeliest: int | None, name: Callable[[int], bytes]) -> None:
        """`name` gives the name of a special token, which has no bytes in events."""
        self._likeliest, self._name = likeliest, name
        self._unseen: list[Weighed] = []
        self._tokens = 0

    def read(self, choice: Mapping[str, Any], text: str, tokens: int) -> tuple[Weighed, ...]:
        """The tokens that a text begins with, of an answer with so many tokens up to it.

        A token without a text comes with the next one that has some. What ends an answer is thus never told.
        """
        alone, self._tokens = tokens == self._tokens + 1, tokens
        if self._likeliest is None:
            return ()
        told = (choice.get("logprobs") or {}).get("content") or ()
        self._unseen += [self._weigh(one, alone=alone) for one in told]
        if not text:
            return ()
        seen, self._unseen = tuple(self._unseen), []
        return seen

    def _weigh(self, told: Mapping[str, Any], *, alone: bool) -> Weighed:
        likeliest = [self._describe(one) for one in told["top_logprobs"]]
        drawn = next((one for one in likeliest if one.token == told["id"]), None)
        if drawn is None:
            drawn = self._describe(told) if alone else Likely(int(told["id"]), None, _bound(told["logprob"]))
        return Weighed(drawn, tuple(likeliest[: self._likeliest]))

    def _describe(self, told: Mapping[str, Any]) -> Likely:
        token = int(told["id"])
        return Likely(token, tuple(told["bytes"] or self._name(token)), _bound(told["logprob"]))


def _bound(log_prob: float) -> float:
    return max(float(log_prob), IMPOSSIBLE)

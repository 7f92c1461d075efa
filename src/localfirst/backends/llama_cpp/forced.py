"""How likely a given text is, of llama.cpp's server, which has no way to ask for that (`echo` is ignored).

It tells how likely the token was that it drew, before any bias. So each token of the text is forced by a bias, in a
request of its own for one token; all that comes before it is in the cache.
Source: `populate_token_probs` in `tools/server/server-context.cpp`, ggml-org/llama.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import Scores
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.backends.llama_cpp.server import LlamaServer

FORCE = 1e6
"""Added to a logit: more than any two differ by."""


def score(  # noqa: PLR0913, PLR0917 - as the contract has it, and where
    server: LlamaServer, slot: int, prompt: Sequence[int], scored: int, likeliest: int, cancelled: Callable[[], bool]
) -> Scores:
    """The scores of the last `scored` tokens of a prompt but the first of them.

    Raises:
        EngineError: the engine failed, or drew something else.
    """
    log_probs, places = [], []
    for at in range(len(prompt) - scored + 1, len(prompt)):
        if cancelled():
            return Scores(())
        told = _force(server, slot, prompt[:at], prompt[at], max(1, likeliest))
        log_probs.append(float(told["logprob"]))
        places.append(tuple((int(one["id"]), float(one["logprob"])) for one in told["top_logprobs"]))
    return Scores(tuple(log_probs), tuple(places) if likeliest else ())


def _force(server: LlamaServer, slot: int, before: Sequence[int], token: int, likeliest: int) -> dict[str, Any]:
    """What the engine tells of a token that it had to draw."""
    answer = server.complete(
        {
            "prompt": list(before),
            "max_tokens": 1,
            "temperature": 0,
            "samplers": [],
            "logit_bias": [[token, FORCE]],
            "n_probs": likeliest,
            "logprobs": likeliest,
            "cache_prompt": True,
            "id_slot": slot,
        }
    )
    told: list[dict[str, Any]] = (answer["choices"][0].get("logprobs") or {}).get("content") or []
    if not told or told[0]["id"] != token:
        raise EngineError("llama.cpp did not tell how likely a token is", detail=f"token {token} after {len(before)}")
    return told[0]

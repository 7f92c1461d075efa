"""How likely the tokens of an answer were, as the dialects that tell it do: all but Anthropic's, in one form. Pure.

Source of the form: openai/openai-openapi, `ChatCompletionTokenLogprob`; ollama/ollama, `api/types.go`, `Logprob`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import MOST_LIKELIEST
from localfirst.server.failures import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.conversation import Likely, Weighed
    from localfirst.server.fields import Fields


def take_likeliest(fields: Fields) -> int | None:
    """How many of the likeliest tokens to tell in each place; `None`: nothing is to be told of tokens.

    Raises:
        ParameterError: of `logprobs` or `top_logprobs`.
    """
    wanted, most = fields.flag("logprobs"), fields.integer("top_logprobs", 0, MOST_LIKELIEST)
    if most and not wanted:
        raise ParameterError("`top_logprobs` is only for requests whose `logprobs` is true", "top_logprobs")
    return (most or 0) if wanted else None


def describe_all(weighed: Iterable[Weighed]) -> list[dict[str, Any]]:
    """Tokens with what was likeliest in their places."""
    return [{**_describe(one.drawn), "top_logprobs": [_describe(other) for other in one.likeliest]} for one in weighed]


def write_token(likely: Likely) -> str:
    """A token as text; what is only a part of a character becomes U+FFFD."""
    return bytes(likely.spelled or ()).decode("utf-8", "replace")


def _describe(likely: Likely) -> dict[str, Any]:
    """A token. Its `id`, which `logit_bias` takes, is none of OpenAI's fields."""
    spelled = None if likely.spelled is None else list(likely.spelled)
    return {"token": write_token(likely), "logprob": likely.log_prob, "bytes": spelled, "id": likely.token}

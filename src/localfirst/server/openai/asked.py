"""What OpenAI's three requests have in common: how tokens are drawn, how many answers, how they are sent. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from localfirst.server.asked import MOST_STOPS, MOST_TOKENS, Manner, parse_biases
from localfirst.server.failures import ParameterError

if TYPE_CHECKING:
    from localfirst.conversation import Answer
    from localfirst.server.fields import Fields
    from localfirst.types import Plan

MOST_ANSWERS = 16
IGNORED = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prediction"}
)
"""What has no part in an answer: who asks, for whose books, and hints that only make it faster."""
MOST_PENALTY = 2
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
}
"""Values that ask for nothing, of parameters that no engine here honours."""


def parse_manner(
    fields: Fields, likeliest: int | None, told_by: tuple[str, str] = ("logprobs", "top_logprobs")
) -> Manner:
    """Take what all requests that are answered by text have; the last two are as in `Manner`.

    Raises:
        ParameterError: one of them is wrong.
    """
    longest = {name: fields.integer(name, 1, MOST_TOKENS) for name in ("max_tokens", "max_completion_tokens")}
    if len({value for value in longest.values() if value is not None}) > 1:
        raise ParameterError("`max_tokens` and `max_completion_tokens` are different", "max_tokens")
    stream = fields.flag("stream")
    return Manner(
        model=fields.text("model"),
        drawn={
            "temperature": fields.number("temperature", 0, 2),
            "top_p": fields.number("top_p", 0, 1),
            "top_k": fields.integer("top_k", 1, MOST_TOKENS),
            "min_p": fields.number("min_p", 0, 1),
            "repetition_penalty": fields.number("repetition_penalty", 0.1, 10),
            "presence_penalty": fields.number("presence_penalty", -MOST_PENALTY, MOST_PENALTY),
            "frequency_penalty": fields.number("frequency_penalty", -MOST_PENALTY, MOST_PENALTY),
            "logit_bias": parse_biases(fields.take("logit_bias"), "logit_bias"),
        },
        likeliest=likeliest,
        told_by=told_by,
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        answers=fields.integer("n", 1, MOST_ANSWERS) or 1,
        max_tokens=next((value for value in longest.values() if value is not None), None),
        stop=fields.texts("stop", MOST_STOPS),
        stream=stream,
        usage=_parse_stream_options(fields, stream=stream),
    )


def _parse_stream_options(fields: Fields, *, stream: bool) -> bool:
    options = fields.take("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict) or not stream:
        raise ParameterError("`stream_options` is an object, and only for streams", "stream_options")
    include = options.get("include_usage", False)
    others = [name for name in options if name not in {"include_usage", "include_obfuscation"}]
    if others or not isinstance(include, bool) or options.get("include_obfuscation"):
        raise ParameterError("Of `stream_options` only `include_usage` is supported", "stream_options")
    return include


def count(answers: list[Answer], prompts: int = 1) -> dict[str, Any]:
    """Tokens of answers in OpenAI's form; several answers to one prompt count it once.

    Args:
        answers: all of a request, those to one prompt beside each other.
        prompts: how many prompts there were.
    """
    each = max(1, len(answers) // prompts)
    asked = sum(answer.usage.prompt_tokens for answer in answers[::each])
    told = sum(answer.usage.completion_tokens for answer in answers)
    return {
        "prompt_tokens": asked,
        "completion_tokens": told,
        "total_tokens": asked + told,
        "prompt_tokens_details": {"cached_tokens": sum(answer.usage.cached_tokens for answer in answers[::each])},
    }


def tell_timings(answers: list[Answer]) -> dict[str, float | None]:
    """How long a request took, which OpenAI does not tell: of its first answer, seconds and tokens per second.

    `load_s` is what loading the model took, when that was.
    """
    return asdict(answers[0].timings) if answers else {}


def name_build(plan: Plan) -> str:
    """Which build answered, for `system_fingerprint`: the same for the same build in the same engine."""
    return f"{plan.variant.name}-{plan.runtime.name if plan.runtime else 'unknown'}"


def name_end(answer: Answer) -> str:
    """Why an answer ended, in OpenAI's words. A full context cuts it off as its maximum does."""
    if answer.tool_calls:
        return "tool_calls"
    return {"length": "length", "context": "length"}.get(answer.finish_reason, "stop")

"""What OpenAI's three requests have in common: how tokens are drawn, how many answers, how they are sent. Pure."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localfirst.errors import ConstraintError, UsageError
from localfirst.server.failures import ParameterError
from localfirst.services.session import make_sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from localfirst.conversation import Answer, Sampling, TextDelta, ToolCall
    from localfirst.server.fields import Fields
    from localfirst.services.session import Session
    from localfirst.types import Plan
    from localfirst.worker import protocol
    from localfirst.worker.client import Reply

MOST_ANSWERS = 16
MOST_STOPS = 16
MOST_TOKENS = 2**31 - 1
SEEDS = 2**32
"""Of our engines; OpenAI's seeds have 64 bits, of which those above are folded in."""
IGNORED = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prediction"}
)
"""What has no part in an answer: who asks, for whose books, and hints that only make it faster."""
NO_PENALTY = (0, 0.0)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": NO_PENALTY,
    "presence_penalty": NO_PENALTY,
    "logit_bias": ({},),
    "logprobs": (False,),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
"""Values that ask for nothing, of parameters that no engine here honours."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is answered, besides what it asks."""

    model: str
    drawn: dict[str, float | int | None]
    """Fields of `Sampling`; `None`: as the model's publisher has it."""
    seed: int | None
    answers: int
    max_tokens: int | None
    stop: tuple[str, ...]
    stream: bool
    usage: bool
    """Whether a stream ends with the counts of tokens."""

    def make_samplings(self, plan: Plan) -> Iterator[Sampling]:
        """How each of the answers is drawn: by seeds that follow each other, else all would be one."""
        for index in range(self.answers):
            seed = None if self.seed is None else (self.seed + index) % SEEDS
            yield make_sampling(plan, {**self.drawn, "seed": seed})


def parse_manner(fields: Fields) -> Manner:
    """Take what all requests that are answered by text have.

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
        },
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


@contextmanager
def blaming(param: str) -> Generator[None, None, None]:
    """Tell what is wrong with a value as a fault of the parameter that it came by."""
    try:
        yield
    except (UsageError, ConstraintError) as error:
        message = f"{error.message}; {error.detail}" if error.detail else error.message
        raise ParameterError(message, param) from error


@dataclass(frozen=True, slots=True)
class Generating:
    """The work of answering: each request after the other, every piece with the number of its answer."""

    make: Callable[[Plan], Iterator[protocol.Chat | protocol.Complete]]

    def __call__(
        self, session: Session, begun: Callable[[Reply], None]
    ) -> Generator[tuple[int, TextDelta | ToolCall | Answer], None, None]:
        """The pieces, as they come."""
        for index, request in enumerate(self.make(session.plan)):
            for piece in session.answer(request, begun):
                yield index, piece


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


def name_build(plan: Plan) -> str:
    """Which build answered, for `system_fingerprint`: the same for the same build in the same engine."""
    return f"{plan.variant.name}-{plan.runtime.name if plan.runtime else 'unknown'}"


def name_end(answer: Answer) -> str:
    """Why an answer ended, in OpenAI's words. A full context cuts it off as its maximum does."""
    if answer.tool_calls:
        return "tool_calls"
    return {"length": "length", "context": "length"}.get(answer.finish_reason, "stop")

"""What requests of every dialect come to: how tokens are drawn, a conversation to answer, and the work of it. Pure."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.constraint import make_schema
from localfirst.conversation import Answer, Sampling, TextDelta, ToolCall, find_lacking, find_unknown
from localfirst.errors import ConstraintError, UsageError
from localfirst.server.failures import ParameterError
from localfirst.server.fields import refuse_type
from localfirst.services.session import EMBEDDED_TEXTS, make_sampling
from localfirst.services.structure import parse_choice, parse_tools
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from localfirst.backends.base import LoadedInfo
    from localfirst.conversation import Constraint, Embedding, Message, ToolChoice
    from localfirst.services.session import Session
    from localfirst.types import Plan
    from localfirst.worker.holder import Heard

MOST_TOKENS = 2**31 - 1
MOST_STOPS = 16
MOST_MESSAGES = 10_000
"""Of a conversation: no context here holds as many, and a template that goes through more takes too long."""
MOST_TOOLS = 128
MOST_DIGITS = 9
MOST_BIASES = 300
"""Tokens whose chance one request may change."""
MOST_BIAS = 100
CERTAIN = 1e4
"""What the largest bias, which has to force a token or to forbid it, adds to a logit: more than any two differ by.

Source: https://platform.openai.com/docs/api-reference/chat/create, `logit_bias`.
"""
SEEDS = 2**32
"""Of our engines; seeds of dialects may have 64 bits, of which those above are folded in."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is answered, besides what it asks."""

    model: str
    drawn: dict[str, Any]
    """Fields of `Sampling`; `None`: as the model's publisher has it."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What its dialect calls those of them that have another name there."""
    likeliest: int | None = None
    """How many of the likeliest tokens are told in the place of each; `None`: nothing is told of tokens."""
    told_by: tuple[str, str] = ("logprobs", "top_logprobs")
    """What asks for how likely tokens were, and what for how many others."""
    seed: int | None = None
    answers: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    """Whether a stream ends with the counts of tokens, where a dialect leaves that open."""

    def check(self, loaded: LoadedInfo) -> None:
        """See that what is loaded can draw tokens as it is asked to.

        Raises:
            ParameterError: it cannot; the parameter is named.
        """
        asked = Sampling(**{name: value for name, value in self.drawn.items() if value is not None}, seed=self.seed)
        if (name := find_lacking(asked, loaded.lacks)) is not None:
            param = self.names.get(name, name)
            raise ParameterError(
                f"`{param}` is not supported by {loaded.engine}, which this model runs in",
                param,
                "unsupported_parameter",
            )
        if (token := find_unknown(asked, loaded.vocabulary_size)) is not None:
            param = self.names.get("logit_bias", "logit_bias")
            raise ParameterError(f"`{param}` names the token {token}; the model has {loaded.vocabulary_size}", param)
        most = loaded.likeliest
        if self.likeliest is not None and (most is None or self.likeliest > most):
            param = self.told_by[most is not None]
            what = (
                "does not tell how likely tokens were" if most is None else f"tells of {most} other tokens at the most"
            )
            raise ParameterError(
                f"`{param}` is not supported: {loaded.engine}, which this model runs in, {what}",
                param,
                "unsupported_parameter",
            )

    def make_samplings(self, plan: Plan) -> Iterator[Sampling]:
        """How each of the answers is drawn: by seeds that follow each other, else all would be one."""
        for index in range(self.answers):
            seed = None if self.seed is None else (self.seed + index) % SEEDS
            yield make_sampling(plan, {**self.drawn, "seed": seed})


@dataclass(frozen=True, slots=True)
class Generating:
    """The work of answering: each request after the other, every piece with the number of its answer."""

    manner: Manner
    make: Callable[[Plan], Iterator[protocol.Chat | protocol.Complete]]

    def make_requests(self, session: Session) -> Iterator[protocol.Chat | protocol.Complete]:
        """One for each answer.

        Raises:
            ParameterError: what is loaded cannot honour one of them.
        """
        self.manner.check(session.loaded)
        return self.make(session.plan)

    def take(self, index: int, heard: Heard) -> Iterator[tuple[int, TextDelta | ToolCall | Answer]]:
        """The pieces, as they come."""
        if isinstance(heard, (TextDelta, ToolCall, Answer)):
            yield index, heard


@dataclass(frozen=True, slots=True)
class Vectorizing:
    """The work of embedding texts, some at a time, so that it can be cancelled between."""

    texts: tuple[str, ...]

    def make_requests(self, _: Session) -> Iterator[protocol.Embed]:
        """One for some of them."""
        for start in range(0, len(self.texts), EMBEDDED_TEXTS):
            yield protocol.Embed(self.texts[start : start + EMBEDDED_TEXTS])

    def take(self, _: int, heard: Heard) -> Iterable[Embedding]:
        """The vectors in the order of the texts."""
        return heard.embeddings if isinstance(heard, protocol.Embedded) else ()


class Chat(NamedTuple):
    """A conversation that is to be answered."""

    manner: Manner
    messages: tuple[Message, ...]
    constraint: Constraint | None
    tools: tuple[dict[str, Any], ...]
    choice: ToolChoice
    options: dict[str, Any]
    """What the model's template is told besides."""

    def make_work(self) -> Generating:
        """What a loaded model is asked to do."""
        return Generating(self.manner, self.make_requests)

    def make_requests(self, plan: Plan) -> Iterator[protocol.Chat]:
        """What its worker is asked, for each of the answers."""
        for sampling in self.manner.make_samplings(plan):
            yield protocol.Chat(
                self.messages,
                sampling,
                self.manner.max_tokens,
                self.manner.stop,
                options=self.options,
                constraint=self.constraint,
                tools=self.tools,
                choice=self.choice,
                likeliest=self.manner.likeliest,
            )


@dataclass(frozen=True, slots=True)
class Counting:
    """The work of counting the tokens of conversations, which are not answered."""

    make: Callable[[Plan], Iterator[protocol.Chat]]

    def make_requests(self, session: Session) -> Iterator[protocol.Count]:
        """One for each conversation."""
        return map(protocol.Count, self.make(session.plan))

    def take(self, _: int, heard: Heard) -> Iterator[int]:
        """As many as an answer to each would count."""
        if isinstance(heard, protocol.Counted):
            yield heard.prompt_tokens


def parse_biases(given: Any, param: str) -> tuple[tuple[int, float], ...]:
    """What is added to the logits of tokens, by their ids, as OpenAI has it: an object of ids and numbers.

    Raises:
        ParameterError: it is none, or too large, or a number is.
    """
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise refuse_type(param, "an object of token ids and numbers")
    if len(given) > MOST_BIASES:
        raise ParameterError(f"`{param}` has {len(given)} tokens; the most are {MOST_BIASES}", param)
    return tuple(_parse_bias(token, bias, param) for token, bias in given.items())


def _parse_bias(token: str, bias: Any, param: str) -> tuple[int, float]:
    if not (token.isascii() and token.isdecimal() and len(token) <= MOST_DIGITS and str(int(token)) == token):
        raise ParameterError(f"`{param}` has {token[:20]!r} where the id of a token belongs", param)
    if isinstance(bias, bool) or not isinstance(bias, (int, float)):
        raise refuse_type(param, "an object of token ids and numbers")
    if not -MOST_BIAS <= bias <= MOST_BIAS:
        raise ParameterError(f"The numbers in `{param}` have to be between {-MOST_BIAS} and {MOST_BIAS}", param)
    return int(token), math.copysign(CERTAIN, bias) if abs(bias) == MOST_BIAS else float(bias)


class Loading:
    """The work of nothing, for which a model is loaded."""

    def make_requests(self, _: Session) -> Iterable[protocol.Request]:
        """None."""
        return ()

    def take(self, _: int, __: Heard) -> Iterable[object]:
        """Nothing."""
        return ()


@contextmanager
def blaming(param: str) -> Generator[None, None, None]:
    """Tell what is wrong with a value as a fault of the parameter that it came by."""
    try:
        yield
    except (UsageError, ConstraintError) as error:
        message = f"{error.message}; {error.detail}" if error.detail else error.message
        raise ParameterError(message, param) from error


def hold_to(schema: Any, param: str) -> Constraint:
    """What an answer is held to by a JSON schema; `param` is what it came by.

    Raises:
        ParameterError: it is none, or cannot be kept to.
    """
    if not isinstance(schema, dict):
        raise ParameterError(f"The schema in `{param}` has to be an object", param)
    with blaming(param):
        return make_schema(json.dumps(schema))


def offer_tools(given: Any, asked: Any, *, parallel: bool) -> tuple[tuple[dict[str, Any], ...], ToolChoice]:
    """The tools that may be called, and whether one has to be, in OpenAI's form.

    Raises:
        ParameterError: of `tools` or `tool_choice`.
    """
    if given is not None and not isinstance(given, list):
        raise refuse_type("tools", "a list")
    tools = given or []
    if len(tools) > MOST_TOOLS:
        raise ParameterError(f"There are {len(tools)} tools; the most are {MOST_TOOLS}", "tools")
    for tool in tools:
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise ParameterError("Only tools of type `function` can be offered", "tools", "unsupported_value")
    with blaming("tools"):
        offered = parse_tools(tools, "`tools`")
    if asked is not None and not isinstance(asked, (str, dict)):
        raise refuse_type("tool_choice", "a text or an object")
    with blaming("tool_choice"):
        return offered, parse_choice(asked, offered, parallel=parallel)

"""The values of a conversation: what was said, how the next token is drawn, what came and how fast.

Plain frozen data, which travels between `lf` and a worker as JSON objects. `None` is unknown, or nobody's wish.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for. Nobody has looked at whether there is such a tool."""

    name: str
    arguments_json: str
    """The text of one JSON object."""
    id: str = ""
    """What its result names it by; empty in what was just read out of a text."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; of role `tool`, the result of one call."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant asks for, beside what it says."""
    tool_call_id: str | None = None
    """Which call this is the result of."""
    name: str | None = None
    """The tool that gave this result."""


def find_waiting(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls at the end of a conversation that have no result yet, in their order."""
    answered: set[str | None] = set()
    for message in reversed(messages):
        if message.role != "tool":
            return tuple(call for call in message.tool_calls if call.id not in answered)
        answered.add(message.tool_call_id)
    return ()


ToolUse = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model calls a tool: as it likes (`auto`), not at all, or in any case."""

    use: ToolUse = "auto"
    name: str | None = None
    """The one tool that it has to call, where `use` is `required`."""
    parallel: bool = True
    """Whether one answer may ask for several calls. One that has to call asks for one only."""

    def find_for(self, said: Message) -> ToolChoice:
        """The choice for what was said last: an answer to a result need not be another call."""
        return ToolChoice(parallel=self.parallel) if said.role == "tool" and self.use == "required" else self


FREE_CHOICE = ToolChoice()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. `temperature` 0 is greedy; `None` leaves the engine's neutral value (off)."""

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    """Taken off the logit of each token that is among the last ones."""
    frequency_penalty: float | None = None
    """The same, as often as it is among them."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of some tokens, by their ids."""


PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
NEUTRAL: Mapping[str, float | tuple[()]] = MappingProxyType(
    {
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "logit_bias": (),
    }
)
"""What asks for nothing, as `None` does, by fields of `Sampling`."""


def find_lacking(sampling: Sampling, lacks: Iterable[str]) -> str | None:
    """The first of the fields of `Sampling` in `lacks` that is asked for."""
    given = ((name, getattr(sampling, name)) for name in lacks)
    return next((name for name, value in given if value is not None and value != NEUTRAL.get(name)), None)


def find_unknown(sampling: Sampling, vocabulary_size: int | None) -> int | None:
    """The first token with a bias that no vocabulary of this size has."""
    if vocabulary_size is None:
        return None
    return next((token for token, _ in sampling.logit_bias if not 0 <= token < vocabulary_size), None)


ConstraintKind = Literal["json_schema", "json_object", "regex", "lark", "gbnf"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must look like, held to token by token: no other token can be drawn."""

    kind: ConstraintKind
    text: str = ""
    """The JSON schema, the regular expression or the grammar; empty for `json_object`, which is any JSON object."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were still in the cache from the turn before."""
    drafted_tokens: int = 0
    """Tokens of the answer that a draft had guessed."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds and rates of one answer; `None` where there is nothing to divide by."""

    load_s: float | None = None
    first_token_s: float | None = None
    prefill_tps: float | None = None
    decode_tps: float | None = None


FinishReason = Literal["stop", "length", "context", "cancelled"]
"""`stop`: end token or stop string; `length`: the asked maximum; `context`: full; `cancelled`: the user's wish."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer."""

    text: str
    reasoning: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    tool_calls: tuple[ToolCall, ...] = ()
    stopped_by: str | None = None
    """The stop string that ended it; `None`: something else did."""
    weighed: tuple[Weighed, ...] = ()
    """The tokens of the text, where that was asked for."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a text means, as a vector of length 1: the nearer two are, the more alike are their texts."""

    vector: tuple[float, ...]
    tokens: int | None
    """Of the text, with those that the model wants before and after it; `None`: a server does not tell."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How likely a model finds the tokens of a text, each after those before it, as natural logarithms."""

    log_probs: tuple[float, ...]
    """Of each token but the first; none where it was cancelled."""
    likeliest: tuple[tuple[tuple[int, float], ...], ...] = ()
    """What it finds likeliest in the same places: token ids with theirs, the likeliest first. None where nobody asked,
    or where the engine does not tell."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A token that may come, and how likely a model finds it before anything that changes chances: temperature, too."""

    token: int
    spelled: tuple[int, ...] | None
    """Its bytes; those of its name where it is a special one. `None`: the engine does not say."""
    log_prob: float
    """As a natural logarithm; `IMPOSSIBLE` at the least."""


IMPOSSIBLE = -9999.0
"""What OpenAI's API has for tokens that are very unlikely: JSON has no minus infinity."""
MOST_LIKELIEST = 20
"""Tokens that are told in each place, at the most, as in OpenAI's API."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A token of an answer, and what the model found likeliest in its place, the likeliest first."""

    drawn: Likely
    likeliest: tuple[Likely, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of an answer as it streams. `reasoning` pieces are the model's thinking, not its answer."""

    text: str
    reasoning: bool = False
    weighed: tuple[Weighed, ...] = ()
    """The tokens of an answer's piece, where that was asked for."""

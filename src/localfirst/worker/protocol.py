"""The frames between `lf` and a worker: one JSON object a line, UTF-8, over two private pipes.

A request carries the `id` that all of its events repeat. Knows no process, no engine and no template.

    -> {"op": "chat", "id": 2, "messages": [{"role": "user", "content": "hi"}], "sampling": {...}, ...}
    <- {"event": "started", "id": 2, "prompt_tokens": 11}
    <- {"event": "text", "id": 2, "text": "Hello", "reasoning": false}
    <- {"event": "finished", "id": 2, "finish_reason": "stop", "usage": {...}, "prefill_s": 0.004, "decode_s": 0.1}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from localfirst.backends.base import LoadedInfo
from localfirst.conversation import (
    FREE_CHOICE,
    Constraint,
    Embedding,
    FinishReason,
    Likely,
    Message,
    Sampling,
    Scores,
    ToolCall,
    ToolChoice,
    Usage,
    Weighed,
)
from localfirst.types import ALONE, Parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localfirst.types import CacheType, Placement, Pooling


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model; answered by any number of `Loading`, then `Loaded` or `Failed`.

    `main` is what the engine opens: a file or a folder, or the address of a server elsewhere.
    """

    backend: str
    main: str
    context_tokens: int | None
    threads: int
    placement: Placement
    device_layers: int | None = None
    cache: CacheType = "f16"
    memory_bytes: int | None = None
    program: str | None = None
    """What to start, for an engine that is a program."""
    parallel: Parallel = ALONE
    key: str | None = None
    model: str | None = None
    requests: int = 1
    draft: str | None = None
    pooling: Pooling | None = None
    budget_bytes: int | None = None
    title: str = "This model"
    """What people call the model, for messages."""
    batch_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """Answer a conversation through the model's own template.

    Answered by `Started`, `Text`..., `Finished`, or by `Failed` at any point.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    """Further values that the template sees, such as `enable_thinking`."""
    constraint: Constraint | None = None
    """What the answer is held to; the thinking before it is free."""
    tools: tuple[dict[str, Any], ...] = ()
    """What the model may call: JSON objects as OpenAI's API has them. `Called` says that it does."""
    choice: ToolChoice = FREE_CHOICE
    """Whether it calls any of them."""
    ignore_end: bool = False
    likeliest: int | None = None
    """As in `GenerateRequest`, the last two."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Continue a text, or token ids, as they stand, without a template; events as for `Chat`."""

    prompt: str | tuple[int, ...]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None
    ignore_end: bool = False
    likeliest: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """Tell how many tokens a conversation has as a prompt; answered by `Counted` or `Failed`."""

    chat: Chat


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Tell the token ids of a text, with nothing added; answered by `Tokens` or `Failed`."""

    text: str


@dataclass(frozen=True, slots=True)
class Embed:
    """Compute the vectors of texts; answered by `Embedded` or `Failed`."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Tell how likely each of these tokens is after those before it; answered by `Scored` or `Failed`."""

    tokens: tuple[int, ...]
    likeliest: int = 0
    """How many of the likeliest tokens to tell in each place, by engines that can."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the request `target`; it still ends: with `Finished` (reason `cancelled`), or with nothing, as it would.

    Has no answer of its own.
    """

    target: int


@dataclass(frozen=True, slots=True)
class Look:
    """Say of the engine which devices it sees, besides the CPU, and its build; no model is needed.

    Answered by `Seen` or `Failed`.
    """

    backend: str
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The devices and the build, in the engine's own words."""

    devices: tuple[str, ...]
    build: str


@dataclass(frozen=True, slots=True)
class Loading:
    """How far a load of minutes is, in the engine's own words; or, lasting, what the user has to know of it."""

    line: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is in memory."""

    info: LoadedInfo


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is tokenized and fits; comes with what is said first."""

    prompt_tokens: int | None


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, or of the thinking before it."""

    text: str
    reasoning: bool
    weighed: tuple[Weighed, ...] = ()
    """The tokens of an answer's piece, where that was asked for. There may be tokens without a text."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool, whole; nobody has looked at whether there is such a tool."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer. Seconds are the engine's own: reading the prompt, and generating after the first token."""

    finish_reason: FinishReason
    usage: Usage
    prefill_s: float | None
    decode_s: float | None
    stopped_by: str | None = None
    """The stop string that ended it; `None`: something else did."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The tokens of a prompt, as many as an answer to it counts."""

    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token ids of a text."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors, in the order of the texts."""

    embeddings: tuple[Embedding, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely the tokens are."""

    scores: Scores


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed, by the fields of an `LfError`."""

    code: str
    message: str
    detail: str | None
    hint: str | None


Request = Load | Look | Chat | Complete | Count | Tokenize | Embed | Score | Cancel
Event = Loading | Loaded | Seen | Started | Text | Called | Finished | Counted | Tokens | Embedded | Scored | Failed
ENDS = (Loaded, Seen, Finished, Counted, Tokens, Embedded, Scored, Failed)
"""Events after which nothing of their request comes."""

_NESTED: dict[str, Callable[[Any], object]] = {
    "chat": lambda item: Chat(**_read_fields(item)),
    "messages": lambda items: tuple(_read_message(item) for item in items),
    "choice": lambda item: ToolChoice(**item),
    "call": lambda item: ToolCall(**item),
    "sampling": lambda item: Sampling(**item | {"logit_bias": tuple(map(tuple, item["logit_bias"]))}),
    "usage": lambda item: Usage(**item),
    "info": lambda item: LoadedInfo(**item | {name: tuple(item[name]) for name in ("constraints", "lacks")}),
    "constraint": lambda item: None if item is None else Constraint(**item),
    "tools": tuple,
    "prompt": lambda given: given if isinstance(given, str) else tuple(given),
    "ids": tuple,
    "parallel": lambda items: Parallel(*items),
    "stop": tuple,
    "devices": tuple,
    "texts": tuple,
    "embeddings": lambda items: tuple(Embedding(tuple(item["vector"]), item["tokens"]) for item in items),
    "tokens": tuple,
    "weighed": lambda items: tuple(_read_weighed(**item) for item in items),
    "scores": lambda item: _read_scores(**item),
}
"""Fields that are values of their own, and how each is built from its JSON."""

REQUESTS: Mapping[str, type[Request]] = {
    "load": Load,
    "look": Look,
    "chat": Chat,
    "complete": Complete,
    "count": Count,
    "tokenize": Tokenize,
    "embed": Embed,
    "score": Score,
    "cancel": Cancel,
}
EVENTS: Mapping[str, type[Event]] = {
    "loading": Loading,
    "loaded": Loaded,
    "seen": Seen,
    "started": Started,
    "text": Text,
    "called": Called,
    "finished": Finished,
    "counted": Counted,
    "tokens": Tokens,
    "embedded": Embedded,
    "scored": Scored,
    "failed": Failed,
}
_Frame = TypeVar("_Frame")
_NAMES = {cls: ("op", name) for name, cls in REQUESTS.items()} | {cls: ("event", name) for name, cls in EVENTS.items()}


def encode(message: Request | Event, request_id: int) -> bytes:
    """One frame, with its line end. Lone surrogates, which no UTF-8 can carry, become `?`."""
    key, name = _NAMES[type(message)]
    frame = {key: name, "id": request_id, **_find_items(message)}
    return _ENCODER.encode(frame).encode("utf-8", "replace") + b"\n"


def decode_request(line: bytes) -> tuple[int, Request]:
    """The id and the request of a frame.

    Raises:
        ValueError: the line is not a request frame.
    """
    return _decode(line, "op", REQUESTS)


def decode_event(line: bytes) -> tuple[int, Event]:
    """The id and the event of a frame.

    Raises:
        ValueError: the line is not an event frame.
    """
    return _decode(line, "event", EVENTS)


def _decode(line: bytes, key: str, classes: Mapping[str, type[_Frame]]) -> tuple[int, _Frame]:
    try:
        frame = _DECODER.decode(line.decode())  # which `json.loads` does after a look for other encodings
        cls = classes[frame.pop(key)]
        request_id = int(frame.pop("id"))
        return request_id, cls(**_read_fields(frame))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a frame: {line[:200]!r}") from error


def _find_items(value: Any) -> dict[str, Any]:
    """The fields of a value; those of values within are found when they are encoded, which `asdict` copies first."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_find_items)
_DECODER = json.JSONDecoder()


def _read_fields(items: dict[str, Any]) -> dict[str, Any]:
    return {name: _NESTED.get(name, _as_is)(value) for name, value in items.items()}


def _read_message(item: dict[str, Any]) -> Message:
    return Message(**item | {"tool_calls": tuple(ToolCall(**call) for call in item["tool_calls"])})


def _read_scores(log_probs: list[float], likeliest: list[list[list[Any]]]) -> Scores:
    return Scores(tuple(log_probs), tuple(tuple((token, score) for token, score in place) for place in likeliest))


def _read_weighed(drawn: dict[str, Any], likeliest: list[dict[str, Any]]) -> Weighed:
    return Weighed(_read_likely(**drawn), tuple(_read_likely(**one) for one in likeliest))


def _read_likely(token: int, spelled: list[int] | None, log_prob: float) -> Likely:
    return Likely(token, None if spelled is None else tuple(spelled), log_prob)


def _as_is(value: object) -> object:
    return value

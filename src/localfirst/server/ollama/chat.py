"""`/api/chat` and `/api/generate`: what is asked, and the objects that the answer becomes. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from localfirst.conversation import Answer, Message, TextDelta, ToolCall, find_waiting
from localfirst.server.asked import MOST_MESSAGES, Chat, Generating, blaming, offer_tools
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.likely import describe_all
from localfirst.server.ollama.asked import NEUTRAL, Common, parse_common, take_format
from localfirst.services.structure import check_together
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from localfirst.conversation import Weighed
    from localfirst.types import Plan

ROLES = ("system", "user", "assistant", "tool")
ENDS = {"length": "length", "context": "length"}
NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer that is wanted, in one of two forms."""

    common: Common
    work: Generating | None
    """`None`: the model is only to be loaded, or to go."""
    wrap: Callable[[str, str | None, tuple[ToolCall, ...]], dict[str, Any]]
    """Text, thinking and calls as the route has them."""


def parse_chat(body: Mapping[str, Any]) -> Asked:
    """A request for the next turn of a conversation.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    common = parse_common(fields)
    messages = _parse_messages(fields.take("messages"))
    constraint = take_format(fields)
    tools, choice = offer_tools(fields.take("tools"), None, parallel=True)
    with blaming("format"):
        check_together(constraint, tools)
    fields.end((), NEUTRAL)
    chat = Chat(common.manner, messages, constraint, tools, choice, common.options)
    return Asked(common, chat.make_work() if messages else None, wrap_message)


def parse_generate(body: Mapping[str, Any]) -> Asked:
    """A request for the answer to one prompt, through the model's template or, if it is `raw`, without.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    common = parse_common(fields)
    prompt, system, raw = _take_text(fields, "prompt"), _take_text(fields, "system"), fields.flag("raw")
    constraint = take_format(fields)
    fields.end((), NEUTRAL)
    if raw and system:
        raise ParameterError("`raw` prompts are read as they stand, without a `system`", "system")
    if not prompt:
        return Asked(common, None, wrap_response)
    if not raw:
        said = (*((Message("system", system),) if system else ()), Message("user", prompt))
        _, choice = offer_tools(None, None, parallel=True)
        chat = Chat(common.manner, said, constraint, (), choice, common.options)
        return Asked(common, chat.make_work(), wrap_response)

    def make_requests(plan: Plan) -> Iterator[protocol.Complete]:
        manner = common.manner
        for sampling in manner.make_samplings(plan):
            yield protocol.Complete(
                prompt, sampling, manner.max_tokens, manner.stop, constraint, likeliest=manner.likeliest
            )

    return Asked(common, Generating(common.manner, make_requests), wrap_response)


def wrap_message(text: str, thinking: str | None, calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    """As a chat has it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [_make_call(call) for call in calls]
    return {"message": message}


def wrap_response(text: str, thinking: str | None, _calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    """As an answer to one prompt has it."""
    return {"response": text, "thinking": thinking} if thinking else {"response": text}


def make_piece(asked: Asked, piece: TextDelta | ToolCall) -> dict[str, Any] | None:
    """A piece of an answer; `None`: it is not shown."""
    if isinstance(piece, ToolCall):
        said = asked.wrap("", None, (piece,))
    elif not piece.reasoning:
        said = asked.wrap(piece.text, None, ())
    elif asked.common.shows_thinking:
        said = asked.wrap("", piece.text, ())
    else:
        return None
    weighed = () if isinstance(piece, ToolCall) else piece.weighed
    return {**_begin(asked), **said, "done": False, **_make_logprobs(weighed)}


def make_end(asked: Asked, answer: Answer, began_s: float, loaded_s: float, ended_s: float) -> dict[str, Any]:
    """The end of a streamed answer: why, and how much in which time. The last three are readings of one clock."""
    return {
        **_begin(asked),
        **asked.wrap("", None, ()),
        "done": True,
        "done_reason": ENDS.get(answer.finish_reason, "stop"),
        **_measure(answer, ended_s - began_s, loaded_s - began_s),
    }


def make_whole(asked: Asked, answer: Answer, end: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that is not streamed: its end, with all that was said."""
    thinking = answer.reasoning if asked.common.shows_thinking else None
    return {**end, **asked.wrap(answer.text, thinking, answer.tool_calls), **_make_logprobs(answer.weighed)}


def make_nothing(asked: Asked, reason: str) -> dict[str, Any]:
    """What is said where nothing was asked, because a model was to be loaded or to go."""
    return {**_begin(asked), **asked.wrap("", None, ()), "done": True, "done_reason": reason}


def _make_logprobs(weighed: tuple[Weighed, ...]) -> dict[str, Any]:
    return {"logprobs": describe_all(weighed)} if weighed else {}


def _begin(asked: Asked) -> dict[str, Any]:
    return {"model": asked.common.name, "created_at": write_time(datetime.now(UTC))}


def write_time(moment: datetime) -> str:
    """As RFC 3339 has it."""
    return moment.isoformat().replace("+00:00", "Z")


def _measure(answer: Answer, total_s: float, load_s: float) -> dict[str, int]:
    usage, timings = answer.usage, answer.timings
    seconds = {
        "total_duration": total_s,
        "load_duration": load_s,
        "prompt_eval_duration": _divide(usage.prompt_tokens - usage.cached_tokens, timings.prefill_tps),
        "eval_duration": _divide(usage.completion_tokens - 1, timings.decode_tps),
    }
    durations = {name: round(value * NANOSECONDS) for name, value in seconds.items() if value is not None}
    return {**durations, "prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}


def _divide(tokens: int, tps: float | None) -> float | None:
    return tokens / tps if tps else None


def _make_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": {"name": call.name, "arguments": json.loads(call.arguments_json)}}


def _take_text(fields: Fields, name: str) -> str:
    value = fields.take(name)
    if value is not None and not isinstance(value, str):
        raise refuse_type(name, "a text")
    return value or ""


def _parse_messages(given: Any) -> tuple[Message, ...]:
    if given is not None and (not isinstance(given, list) or len(given) > MOST_MESSAGES):
        raise refuse_type("messages", f"a list of at most {MOST_MESSAGES:,} messages")
    messages: list[Message] = []
    for number, item in enumerate(given or [], 1):
        if not isinstance(item, dict):
            raise _refuse(number, "is no object")
        messages.append(_parse_message(item, number, messages))
    return tuple(messages)


def _parse_message(item: Mapping[str, Any], number: int, before: Sequence[Message]) -> Message:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in ROLES or not isinstance(content, (str, type(None))):
        raise _refuse(number, f"needs a `role` ({', '.join(ROLES)}) and a text as `content`")
    if item.get("images"):
        raise _refuse(number, "has images, and no model here reads images")
    given = item.get("tool_calls") or []
    if not isinstance(given, list) or (given and role != "assistant"):
        raise _refuse(number, "has `tool_calls` that are no list, or not an assistant's")
    text = content or ""
    if role == "system":
        return Message("system", text)
    if role == "user":
        return Message("user", text)
    if role == "tool":
        call = _find_call(item, number, before)
        return Message("tool", text, tool_call_id=call.id, name=call.name)
    return Message("assistant", text, tuple(_parse_call(one, number, place) for place, one in enumerate(given)))


def _parse_call(given: Any, number: int, place: int) -> ToolCall:
    function = given.get("function") if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise _refuse(number, "has a call without a `function` with a `name`")
    arguments = function.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise _refuse(number, f"has a call of `{name[:60]}` whose `arguments` are no object")
    identity = given.get("id")
    own = isinstance(identity, str) and identity != ""
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False), identity if own else f"call{number:03}{place:02}")


def _find_call(item: Mapping[str, Any], number: int, before: Sequence[Message]) -> ToolCall:
    """The call that a result is of: by its id, else by the tool's name, else the first that waits for one."""
    identity, name = item.get("tool_call_id"), item.get("tool_name") or item.get("name")
    for call in find_waiting(before):
        if (call.id == identity) if identity else (not name or name == call.name):
            return call
    raise _refuse(number, "is the result of no call before it that waits for one")


def _refuse(number: int, what: str) -> ParameterError:
    return ParameterError(f"Message {number} {what}", "messages")

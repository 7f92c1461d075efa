"""`/v1/chat/completions`: a conversation to its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import Answer, Constraint, TextDelta, ToolCall
from localfirst.server.asked import MOST_MESSAGES, Chat, blaming, hold_to, offer_tools
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.likely import describe_all, take_likeliest
from localfirst.server.openai.asked import IGNORED, NEUTRAL, count, name_build, name_end, parse_manner, tell_timings
from localfirst.services.messages import parse_messages
from localfirst.services.structure import check_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localfirst.conversation import Weighed
    from localfirst.server.asked import Manner
    from localfirst.types import Plan

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
NO_PART: dict[str, tuple[Any, ...]] = {"modalities": (["text"],), "verbosity": ("medium",)}


def parse_chat(body: Mapping[str, Any]) -> Chat:
    """A request in OpenAI's form.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    manner = parse_manner(fields, take_likeliest(fields))
    given = fields.require("messages")
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_MESSAGES:
        raise refuse_type("messages", f"a list of 1 to {MOST_MESSAGES:,} messages")
    with blaming("messages"):
        messages = parse_messages(given)
    constraint = parse_format(fields.take("response_format"), "response_format")
    parallel = fields.flag("parallel_tool_calls", default=True)
    tools, choice = offer_tools(fields.take("tools"), fields.take("tool_choice"), parallel=parallel)
    with blaming("response_format"):
        check_together(constraint, tools if choice.use != "none" else ())
    options = fields.take("chat_template_kwargs")
    if options is not None and not isinstance(options, dict):
        raise refuse_type("chat_template_kwargs", "an object")
    effort = parse_effort(fields.take("reasoning_effort"), "reasoning_effort")
    fields.end(IGNORED, NEUTRAL | NO_PART)
    return Chat(manner, messages, constraint, tools, choice, effort | (options or {}))


def parse_effort(value: Any, param: str) -> dict[str, Any]:
    """How much a model is to think, by the names that templates know it by; `param` is what it came by.

    Raises:
        ParameterError: it is none of `EFFORTS`.
    """
    if value is None:
        return {}
    if value not in EFFORTS:
        raise ParameterError(f"The effort in `{param}` has to be one of {', '.join(EFFORTS)}", param)
    return {"reasoning_effort": value, "enable_thinking": value != "none"}


def parse_format(value: Any, param: str) -> Constraint | None:
    """What an answer is held to; `param` is what it came by.

    Raises:
        ParameterError: it is none of OpenAI's forms, or a schema that cannot be kept to.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return Constraint("json_object")
    if kind != "json_schema":
        raise refuse_type(param, "an object of type text, json_object or json_schema")
    described = value.get("json_schema")
    return hold_to(described.get("schema") if isinstance(described, dict) else None, param)


def make_completion(name: str, created: int, plan: Plan, model: str, answers: list[Answer]) -> dict[str, Any]:
    """The whole response."""
    return {
        **_begin("chat.completion", name, created, plan, model),
        "choices": [
            {
                "index": index,
                "message": _make_message(answer),
                "logprobs": _make_logprobs(answer.weighed),
                "finish_reason": name_end(answer),
            }
            for index, answer in enumerate(answers)
        ],
        "usage": count(answers),
        "timings": tell_timings(answers),
    }


class Chunks:
    """The chunks of a streamed response."""

    def __init__(self, name: str, created: int, plan: Plan, manner: Manner) -> None:
        self._head = _begin("chat.completion.chunk", name, created, plan, manner.model)
        self._usage = {"usage": None} if manner.usage else {}
        self._calls: dict[int, int] = {}
        self._answers: list[Answer] = []

    def make(self, index: int, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]:
        """What a piece of the answer number `index` becomes; the first one of it says first who speaks."""
        if index not in self._calls:
            self._calls[index] = 0
            yield self._chunk(index, {"role": "assistant", "content": ""})
        match piece:
            case TextDelta():
                delta = {"reasoning_content" if piece.reasoning else "content": piece.text}
                yield self._chunk(index, delta, weighed=piece.weighed)
            case ToolCall():
                number = self._calls[index]
                self._calls[index] += 1
                yield self._chunk(index, {"tool_calls": [{"index": number, **_make_call(piece)}]})
            case Answer():
                self._answers.append(piece)
                yield self._chunk(index, {}, name_end(piece))

    def end(self) -> Iterator[dict[str, Any]]:
        """What comes last: the counts, where they were asked for."""
        if self._usage:
            yield {**self._head, "choices": [], "usage": count(self._answers), "timings": tell_timings(self._answers)}

    def _chunk(
        self, index: int, delta: dict[str, Any], reason: str | None = None, weighed: tuple[Weighed, ...] = ()
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": _make_logprobs(weighed), "finish_reason": reason}
        return {**self._head, "choices": [choice], **self._usage}


def _begin(kind: str, name: str, created: int, plan: Plan, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{name}",
        "object": kind,
        "created": created,
        "model": model,
        "system_fingerprint": name_build(plan),
    }


def _make_logprobs(weighed: tuple[Weighed, ...]) -> dict[str, Any] | None:
    return {"content": describe_all(weighed), "refusal": None} if weighed else None


def _make_message(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["content"] = answer.text or None
        message["tool_calls"] = [_make_call(call) for call in answer.tool_calls]
    return message


def _make_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}

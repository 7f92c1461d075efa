"""Conversations in OpenAI's form to values: what programs send, looked at before a model sees it.

Source of the form: openai/openai-openapi, `ChatCompletionRequestMessage`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from localfirst.conversation import Message, Role, ToolCall
from localfirst.errors import UsageError

MAX_EXCERPT = 200
"""Characters of a wrong message that an error shows."""


def parse_messages(prompt: str | Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """A question, or messages with `role` and `content`, calls (`tool_calls`) and results (role `tool`) among them.

    Content is text, or parts of it; `developer` is the newer word for `system`.

    Raises:
        UsageError: a message is none, or a result's call was not asked for before it; its number is in the message.
    """
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    messages: list[Message] = []
    called: dict[str, ToolCall] = {}
    for number, item in enumerate(prompt, 1):
        try:
            message = _parse(item, called)
        except ValueError as error:
            raise UsageError(f"Message {number} {error}", detail=f"found: {item!r}"[:MAX_EXCERPT]) from error
        called |= {call.id: call for call in message.tool_calls}
        messages.append(message)
    return tuple(messages)


def _parse(item: object, called: Mapping[str, ToolCall]) -> Message:
    if not isinstance(item, Mapping):
        raise ValueError("is no JSON object")  # noqa: TRY004 - of the message, like the others
    role, content, asked = item.get("role"), item.get("content"), item.get("tool_calls") or ()
    if not isinstance(asked, (list, tuple)):
        raise ValueError("has `tool_calls` that are no list")  # noqa: TRY004 - as above
    calls = tuple(map(_parse_call, asked))
    if calls and role != "assistant":
        raise ValueError("has `tool_calls`, which are an assistant's")
    if calls and content is None:
        content = ""
    if isinstance(content, (list, tuple)):
        content = "".join(map(_parse_part, content))
    if role == "developer":
        role = "system"
    if not isinstance(role, str) or role not in get_args(Role) or not isinstance(content, str):
        raise ValueError(f"needs `role` (one of {', '.join(get_args(Role))}) and `content` (text)")
    if role != "tool":
        return Message(cast("Role", role), content, calls)
    answered = str(item.get("tool_call_id"))
    if answered not in called:
        raise ValueError("needs a `tool_call_id` that a call before it has")
    return Message("tool", content, tool_call_id=answered, name=called[answered].name)


def _parse_part(item: object) -> str:
    kind = item.get("type") if isinstance(item, Mapping) else None
    if kind != "text" or not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
        raise ValueError(f"has a part that is no text: {kind!r:.40}")
    return str(item["text"])


def _parse_call(item: Any) -> ToolCall:
    function = item.get("function") if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise ValueError("has a call without a `function` with a `name`")
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise ValueError(f"has a call of `{function['name']}` without an `id`, which its result needs")
    given = function.get("arguments", {})
    try:
        arguments = (json.loads(given) if given.strip() else {}) if isinstance(given, str) else given
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, Mapping):
        raise ValueError(  # noqa: TRY004 - as above
            f"has a call of `{function['name']}` whose `arguments` are no JSON object"
        )
    return ToolCall(function["name"], text, item["id"])

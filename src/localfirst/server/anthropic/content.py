"""Conversations in Anthropic's form, a message of blocks, to values. Pure.

Source of the form: https://docs.anthropic.com/en/api/messages, `MessageParam` in anthropics/anthropic-sdk-python.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.conversation import Message, ToolCall
from localfirst.server.asked import MOST_MESSAGES
from localfirst.server.failures import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

BETWEEN = "\n"
"""What stands between two blocks of text, and two turns of one role: a template has one text for them."""
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Blocks that a model is not told again: templates leave the thinking of earlier turns out."""
ALLOWED = {
    "user": frozenset({"text", "tool_result"}),
    "assistant": frozenset({"text", "tool_use"}) | THOUGHTS,
    "system": frozenset({"text"}),
}
"""What the messages of each role are made of."""


def parse_conversation(system: Any, given: Any) -> tuple[Message, ...]:
    """All that a model is told: the system text first, then the turns, each result of a tool as a message of its own.

    Raises:
        ParameterError: of `system` or `messages`, with the place of what is wrong.
    """
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_MESSAGES:
        raise ParameterError(f"`messages` has to be a list of 1 to {MOST_MESSAGES:,} messages", "messages")
    told = [] if system is None else [Message("system", read_text(system, "system"))]
    said: list[Message] = []
    called: dict[str, ToolCall] = {}
    for number, item in enumerate(given):
        for message in _parse_turn(item, f"messages.{number}", called):
            _add(said, message)
            called |= {call.id: call for call in message.tool_calls}
    if said and said[-1].role == "assistant":
        raise ParameterError(
            "`messages` ends with an assistant's: an answer cannot be begun for the model here", "messages"
        )
    return (*told, *said)


def read_text(value: Any, place: str) -> str:
    """A text, or the texts of blocks; `place` is where it stands, for errors.

    Raises:
        ParameterError: it is neither.
    """
    if isinstance(value, str):
        return value
    blocks = _list_blocks(value, place, ALLOWED["system"])
    return BETWEEN.join(_take_text(block, "text", where) for where, block in blocks)


def _parse_turn(item: Any, place: str, called: Mapping[str, ToolCall]) -> list[Message]:
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(role, str) or role not in ALLOWED:
        raise _refuse(f"{place} needs a `role` ({', '.join(ALLOWED)}) and `content`", place)
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    blocks = _list_blocks(content, f"{place}.content", ALLOWED[role])
    texts = [_take_text(block, "text", where) for where, block in blocks if block["type"] == "text"]
    text = BETWEEN.join(texts)
    if role == "system":
        return [Message("system", text)]
    if role == "assistant":
        calls = tuple(_parse_call(block, where) for where, block in blocks if block["type"] == "tool_use")
        return [Message("assistant", text, calls)]
    results = [_parse_result(block, where, called) for where, block in blocks if block["type"] == "tool_result"]
    return [*results, Message("user", text)] if texts or not results else results


def _list_blocks(value: Any, place: str, allowed: frozenset[str]) -> list[tuple[str, dict[str, Any]]]:
    """The blocks of a content, each with its place."""
    if not isinstance(value, list):
        raise _refuse(f"{place} has to be a text or a list of blocks", place)
    blocks = [(f"{place}.{number}", block) for number, block in enumerate(value)]
    for where, block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "image":
            raise _refuse(f"{where} is an image, and no model here reads images", where)
        if not isinstance(kind, str) or kind not in allowed:
            raise _refuse(f"{where} is of type {str(kind)[:40]!r}; known here: {', '.join(sorted(allowed))}", where)
    return blocks


def _parse_call(block: Mapping[str, Any], place: str) -> ToolCall:
    given = block.get("input")
    if not isinstance(given, dict):
        raise _refuse(f"{place}.input has to be an object", place)
    name, identity = _take_text(block, "name", place), _take_text(block, "id", place)
    if not name or not identity:
        raise _refuse(f"{place} needs a `name` and an `id`", place)
    return ToolCall(name, json.dumps(given, ensure_ascii=False), identity)


def _parse_result(block: Mapping[str, Any], place: str, called: Mapping[str, ToolCall]) -> Message:
    answered = block.get("tool_use_id")
    if not isinstance(answered, str) or answered not in called:
        raise _refuse(f"{place} needs a `tool_use_id` that a tool_use before it has", place)
    content = read_text(block.get("content") or "", f"{place}.content")
    return Message("tool", content, tool_call_id=answered, name=called[answered].name)


def _take_text(block: Mapping[str, Any], name: str, place: str) -> str:
    text = block.get(name)
    if not isinstance(text, str):
        raise _refuse(f"{place}.{name} has to be a text", place)
    return text


def _add(said: list[Message], message: Message) -> None:
    """Add a message; two of the same role after each other are one turn."""
    before = said[-1] if said else None
    if before is None or before.role != message.role or message.role == "tool":
        said.append(message)
        return
    text = BETWEEN.join(filter(None, (before.content, message.content)))
    said[-1] = Message(message.role, text, before.tool_calls + message.tool_calls)


def _refuse(message: str, place: str) -> ParameterError:
    return ParameterError(message, place.partition(".")[0])

"""The items of a conversation as this dialect has them, and the messages that they stand for. Pure.

Source of the form: openai/openai-openapi, `InputItem` and `OutputItem`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from localfirst.server.asked import MOST_MESSAGES
from localfirst.server.failures import ParameterError
from localfirst.server.fields import refuse_type

TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
"""Of the ids, by the kind of item."""


def make_id(kind: str) -> str:
    """A new id for an item."""
    return f"{PREFIXES[kind]}_{uuid.uuid4().hex}"


def parse_input(given: Any) -> tuple[dict[str, Any], ...]:
    """What was said, as items that each have a type and an id.

    Raises:
        ParameterError: it is neither a text nor a list of items of known types.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise refuse_type("input", "a text or a list of at least one item")
    if len(given) > MOST_MESSAGES:
        raise ParameterError(f"`input` has {len(given):,} items; the most are {MOST_MESSAGES:,}", "input")
    return tuple(_parse_item(item, number) for number, item in enumerate(given, 1))


def _parse_item(item: Any, number: int) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise ParameterError(f"Item {number} of `input` is no object", "input", "invalid_type")
    kind = item.get("type") or "message"
    if not isinstance(kind, str) or kind not in PREFIXES:
        raise ParameterError(
            f"Item {number} of `input` is of type {str(kind)[:40]!r}; known are: {', '.join(PREFIXES)}",
            "input",
            "unsupported_value",
        )
    name = item.get("id")
    found = {**item, "type": kind, "id": name if isinstance(name, str) and name else make_id(kind)}
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        found["content"] = [{"type": part, "text": item["content"]}]
    return found


def make_messages(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a chat. What an assistant said and the calls beside it are one; its thinking is left out."""
    messages: list[dict[str, Any]] = []
    for item in items:
        match item["type"]:
            case "message":
                messages.append({"role": item.get("role"), "content": _find_content(item.get("content"))})
            case "function_call":
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": ""})
                function = {"name": item.get("name"), "arguments": item.get("arguments", "")}
                call = {"id": item.get("call_id"), "function": function}
                messages[-1].setdefault("tool_calls", []).append(call)
            case "function_call_output":
                content = _find_content(item.get("output"))
                messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
            case _:
                pass
    return messages


def _find_content(content: Any) -> Any:
    """Parts as a chat has them; what is no text stays as it is, to be refused where it stands."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part.get("text")}
        if isinstance(part, Mapping) and part.get("type") in TEXTS
        else {"type": "text", "text": part.get("refusal")}
        if isinstance(part, Mapping) and part.get("type") == "refusal"
        else part
        for part in content
    ]

"""Messages as a chat template sees them: above all, how it wants calls of tools and their results.

Templates agree on OpenAI's names (huggingface/transformers, `docs/source/en/chat_extras.md`) and on little else. Which
way of writing a call is a template's is found by trying each on a conversation made up for it, in `render`; which ids
it takes, it gives away in its text. Nothing here knows a model's name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from localfirst.conversation import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.chat.call_writing import Writing

_NINE = re.compile(r"[A-Za-z0-9]{9}")
PROBE_ID = "a1b2c3d4e"
PROBE_WORDS = ("xk7qtool", "xk7qkey", "xk7qvalue", "xk7qresult")
"""A name, a parameter, its value and a result that no template has of itself."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to hand calls to a template."""

    arguments: Callable[[str], object]
    """What it is given for the text of the arguments."""
    unsaid: str | None
    """What it is given as the content of an answer that is nothing but calls."""


SHAPES = (Shape(json.loads, None), Shape(json.loads, ""), Shape(str, None), Shape(str, ""))
"""In the order in which they are tried: as transformers documents it, and as DeepSeek wants it.

Without content first: a template that knows nothing else than a text says so by failing, or by writing `None`, while
one that looks for its absence (deepseek-ai/DeepSeek-R1) would write an empty answer beside the calls.
"""


def make_probe(calls: int = 1) -> tuple[Message, ...]:
    """A conversation with calls and their results, to see what a template makes of them."""
    name, key, value, result = PROBE_WORDS
    ids = [f"{PROBE_ID[:-1]}{number}" for number in range(calls)]
    asked = tuple(ToolCall(name, json.dumps({key: value}), one) for one in ids)
    results = (Message("tool", result, tool_call_id=one, name=name) for one in ids)
    return (Message("user", "x"), Message("assistant", "", asked), *results)


PROBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "other", "description": "", "parameters": {"type": "object", "properties": {}}},
}
"""What is offered beside it: some templates write calls only where there are tools."""


def is_shown(prompt: str, plain: str, calls: int) -> bool:
    """Whether a probe's calls and results are all in a prompt as they should; `plain` is the prompt without them.

    Arguments that came out as Python writes them, and a `None`, are what no model has seen.
    """
    wrong = f"'{PROBE_WORDS[1]}'" in prompt or prompt.count("None") > plain.count("None")
    return not wrong and all(prompt.count(word) >= calls for word in PROBE_WORDS)


def has_tool_turns(messages: Sequence[Message]) -> bool:
    """Whether there are calls or results in a conversation."""
    return any(message.role == "tool" or message.tool_calls for message in messages)


def describe(messages: Sequence[Message], shape: Shape) -> list[dict[str, Any]]:
    """The messages as a template sees them; what a message has not, it does not see either."""
    return [_describe(message, shape) for message in messages]


def _describe(message: Message, shape: Shape) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told["content"] = message.content or shape.unsaid
        told["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": shape.arguments(call.arguments_json)},
            }
            for call in message.tool_calls
        ]
    said = {"tool_call_id": message.tool_call_id, "name": message.name}
    return told | {key: value for key, value in said.items() if value is not None}


def write_out(messages: Sequence[Message], writing: Writing) -> tuple[Message, ...]:
    """The same conversation with calls as the text in which the model wrote them, for templates without a place."""
    written, number = [], 0
    for message in messages:
        text = message.content
        for call in message.tool_calls:
            text += writing.write(call, number)
            number += 1
        written.append(replace(message, content=text, tool_calls=()))
    return tuple(written)


def split_calls(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation with one call in a message, each before its result.

    For templates that refuse several at once, as meta-llama/Llama-3.1's does.
    """
    split: list[Message] = []
    waiting: list[ToolCall] = []
    for message in messages:
        if len(message.tool_calls) > 1:
            waiting = list(message.tool_calls)
            split += [Message("assistant", message.content)] if message.content else []
            continue
        asked = next((call for call in waiting if message.role == "tool" and call.id == message.tool_call_id), None)
        split += [Message("assistant", "", (asked,))] if asked else []
        split.append(message)
    return tuple(split)


def _nine(call: ToolCall, _number: int) -> str:
    """The id itself where it is one, and else always the same one for it."""
    return call.id if _NINE.fullmatch(call.id) else sha256(call.id.encode()).hexdigest()[:9]


def _numbered(call: ToolCall, number: int) -> str:
    return f"functions.{call.name}:{number}"


IDS: tuple[tuple[str, Callable[[ToolCall, int], str]], ...] = (
    ("alphanumeric strings with length 9", _nine),
    ("<|im_middle|>", _numbered),
)
"""What a template contains that takes ids of one form only, and that form.

Sources: the chat templates of mistralai's models, which raise at others; MoonshotAI/Kimi-K2,
`docs/tool_call_guidance.md`: there the id is all that says the name.
"""


def fit_ids(messages: Sequence[Message], template: str) -> tuple[Message, ...]:
    """The same conversation with ids of the form that its template takes."""
    make = next((make for sign, make in IDS if sign in template), None)
    if make is None:
        return tuple(messages)
    fitted, known, number = [], {}, 0
    for message in messages:
        calls = []
        for call in message.tool_calls:
            known[call.id] = make(call, number)
            calls.append(replace(call, id=known[call.id]))
            number += 1
        answered = known.get(message.tool_call_id or "", message.tool_call_id)
        fitted.append(replace(message, tool_calls=tuple(calls), tool_call_id=answered))
    return tuple(fitted)

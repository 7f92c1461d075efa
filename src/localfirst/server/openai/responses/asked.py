"""A request for a response: its parameters, and the conversation that it goes on with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.conversation import MOST_LIKELIEST
from localfirst.server.asked import MOST_MESSAGES, MOST_TOKENS, Chat, Manner, blaming, offer_tools
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.openai.asked import IGNORED
from localfirst.server.openai.chat import parse_effort, parse_format
from localfirst.server.openai.responses.items import make_messages, parse_input
from localfirst.services.messages import parse_messages
from localfirst.services.structure import check_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "service_tier": ("auto", "default"),
    "stream_options": ({}, {"include_obfuscation": False}),
    "truncation": ("disabled",),
}
"""Values that ask for nothing, of parameters that are not honoured otherwise."""
MOST_METADATA = 16
LOGPROBS = "message.output_text.logprobs"
INCLUDED = frozenset({LOGPROBS, "reasoning.encrypted_content"})
"""What a response may have besides; of the second there is none."""


class Asked(NamedTuple):
    """A response that is to be made."""

    chat: Chat
    input: tuple[dict[str, Any], ...]
    """What is said with this request."""
    items: tuple[dict[str, Any], ...]
    """That, after all that was said before."""
    is_kept: bool
    """Whether it can be asked for, and gone on from, later."""
    echo: dict[str, Any]
    """The fields of the response that repeat the request's."""


def parse_response(body: Mapping[str, Any], find_said: Callable[[str], tuple[dict[str, Any], ...]]) -> Asked:
    """A request in OpenAI's form.

    Args:
        body: the request.
        find_said: all items up to the end of an earlier response, by its id.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    stream = fields.flag("stream")
    drawn = {"temperature": fields.number("temperature", 0, 2), "top_p": fields.number("top_p", 0, 1)}
    most = fields.integer("max_output_tokens", 1, MOST_TOKENS)
    likeliest = _take_likeliest(fields)
    manner = Manner(
        fields.text("model"),
        dict(drawn),
        likeliest=likeliest,
        told_by=("include", "top_logprobs"),
        max_tokens=most,
        stream=stream,
    )
    instructions, previous = _take_text(fields, "instructions"), _take_text(fields, "previous_response_id")
    said = parse_input(fields.require("input"))
    items = (*(find_said(previous) if previous else ()), *said)
    if len(items) > MOST_MESSAGES:
        raise ParameterError(f"The conversation has {len(items):,} items; the most are {MOST_MESSAGES:,}", "input")
    begun = [{"role": "system", "content": instructions}] if instructions else []
    with blaming("input"):
        messages = parse_messages([*begun, *make_messages(items)])
    if not messages:
        raise ParameterError("`input` has nothing to answer", "input")
    text = Fields(_take_object(fields, "text"), within="text")
    reasoning = Fields(_take_object(fields, "reasoning"), within="reasoning")
    form, effort = text.take("format"), reasoning.take("effort")
    text.end((), {"verbosity": ("medium",)})
    reasoning.end(("summary", "generate_summary"), {})  # the thinking itself is told
    constraint = parse_format(_wrap_format(form), "text")
    described, asked = fields.take("tools"), fields.take("tool_choice")
    parallel = fields.flag("parallel_tool_calls", default=True)
    tools, choice = offer_tools(_wrap_tools(described), _wrap_choice(asked), parallel=parallel)
    with blaming("text"):
        check_together(constraint, tools if choice.use != "none" else ())
    metadata = _take_object(fields, "metadata")
    if len(metadata) > MOST_METADATA or not all(isinstance(value, str) for value in metadata.values()):
        raise refuse_type("metadata", f"an object of at most {MOST_METADATA} texts")
    is_kept = fields.flag("store", default=True)
    fields.end(IGNORED, NEUTRAL)
    echo = {
        **drawn,
        "instructions": instructions,
        "max_output_tokens": most,
        "metadata": metadata,
        "parallel_tool_calls": parallel,
        "previous_response_id": previous,
        "reasoning": {"effort": effort, "summary": None},
        "store": is_kept,
        "text": {"format": form or {"type": "text"}},
        "tool_choice": asked or "auto",
        "tools": described or [],
        "top_logprobs": likeliest or 0,
        "truncation": "disabled",
    }
    chat = Chat(manner, messages, constraint, tools, choice, parse_effort(effort, "reasoning"))
    return Asked(chat, said, items, is_kept, echo)


def _take_likeliest(fields: Fields) -> int | None:
    """How many of the likeliest tokens to tell in each place; `None`: nothing is to be told of tokens."""
    included, most = fields.take("include"), fields.integer("top_logprobs", 0, MOST_LIKELIEST)
    if included is not None and not isinstance(included, list):
        raise refuse_type("include", "a list of texts")
    for one in included or ():
        if not isinstance(one, str) or one not in INCLUDED:
            raise ParameterError(
                f"`include` has {str(one)[:60]!r}, which is not supported", "include", "unsupported_value"
            )
    return (most or 0) if most or LOGPROBS in (included or ()) else None


def _take_text(fields: Fields, name: str) -> str | None:
    value = fields.take(name)
    if value is not None and not isinstance(value, str):
        raise refuse_type(name, "a text")
    return value


def _take_object(fields: Fields, name: str) -> dict[str, Any]:
    value = fields.take(name)
    if value is not None and not isinstance(value, dict):
        raise refuse_type(name, "an object")
    return value or {}


def _wrap_format(value: Any) -> Any:
    """As a chat has it: what describes a schema, in an object of its own."""
    return {"type": "json_schema", "json_schema": value} if _find_type(value) == "json_schema" else value


def _wrap_tools(value: Any) -> Any:
    """As a chat has them: what describes a function, in an object of its own."""
    if not isinstance(value, list):
        return value
    return [
        {"type": "function", "function": {name: part for name, part in item.items() if name != "type"}}
        if _find_type(item) == "function"
        else item
        for item in value
    ]


def _wrap_choice(value: Any) -> Any:
    return {"function": {"name": value.get("name")}} if _find_type(value) == "function" else value


def _find_type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None

"""A request for a message: its parameters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.server.anthropic.content import parse_conversation
from localfirst.server.asked import MOST_STOPS, MOST_TOKENS, Chat, Manner, blaming, hold_to, offer_tools
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.services.structure import check_together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localfirst.conversation import Constraint, ToolChoice

IGNORED = frozenset({"metadata", "cache_control", "user_profile_id", "workspace_id", "inference_geo", "betas"})
"""What has no part in an answer: who asks, for whose books, where, and what to keep in a cache."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "mcp_servers": ([],),
}
"""Values that ask for nothing, of parameters that are not honoured otherwise."""
LEAST_BUDGET = 1024
DISPLAYS = ("summarized", "omitted")
EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""How hard to think, as templates know it."""
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
TOOL_KEYS = frozenset({"name", "description", "input_schema", "type", "cache_control", "eager_input_streaming"})
TOOL_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "strict": (False,),
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
    "input_examples": ([],),
}


class Asked(NamedTuple):
    """A message that is to be made, or only counted."""

    chat: Chat
    shows_thinking: bool
    """Whether the model's thinking is shown; else it is left out."""


def parse_message(body: Mapping[str, Any]) -> Asked:
    """A request in Anthropic's form.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    manner = Manner(
        model=fields.text("model"),
        max_tokens=_require_tokens(fields),
        stream=fields.flag("stream"),
        drawn={
            "temperature": fields.number("temperature", 0, 2),
            "top_p": fields.number("top_p", 0, 1),
            "top_k": fields.integer("top_k", 1, MOST_TOKENS),
        },
        stop=fields.texts("stop_sequences", MOST_STOPS),
    )
    return _parse(fields, manner)


def parse_count(body: Mapping[str, Any]) -> Asked:
    """A request to count: the same, without what only an answer has.

    Raises:
        ParameterError: as `parse_message`.
    """
    fields = Fields(body)
    return _parse(fields, Manner(model=fields.text("model"), drawn={}))


def _parse(fields: Fields, manner: Manner) -> Asked:
    system = fields.take("system")
    messages = parse_conversation(system, fields.require("messages"))
    tools, choice = _take_tools(fields)
    constraint, effort = _take_output(fields)
    with blaming("output_config"):
        check_together(constraint, tools if choice.use != "none" else ())
    thinks, shows = _take_thinking(fields)
    fields.end(IGNORED, NEUTRAL)
    chat = Chat(manner, messages, constraint, tools, choice, {"enable_thinking": thinks, **effort})
    return Asked(chat, shows)


def _require_tokens(fields: Fields) -> int:
    most = fields.integer("max_tokens", 1, MOST_TOKENS)
    if most is None:
        raise ParameterError("`max_tokens` is missing", "max_tokens", "missing_required_parameter")
    return most


def _take_tools(fields: Fields) -> tuple[tuple[dict[str, Any], ...], ToolChoice]:
    given, choice = fields.take("tools"), fields.take("tool_choice")
    if given is not None and not isinstance(given, list):
        raise refuse_type("tools", "a list")
    if choice is not None and not isinstance(choice, dict):
        raise refuse_type("tool_choice", "an object")
    wanted = Fields(choice or {}, "tool_choice")
    kind, name, alone = wanted.take("type") or "auto", wanted.take("name"), wanted.take("disable_parallel_tool_use")
    wanted.end((), {})
    if alone is not None and not isinstance(alone, bool):
        raise refuse_type("tool_choice", "an object, whose `disable_parallel_tool_use` is true or false")
    if not isinstance(kind, str) or kind not in {*CHOICES, "tool"}:
        raise ParameterError("The type of `tool_choice` has to be auto, any, tool or none", "tool_choice")
    if (kind == "tool") != isinstance(name, str):
        raise ParameterError("`tool_choice` names a tool if its type is tool, and only then", "tool_choice")
    named: Any = {"type": "function", "function": {"name": name}}
    tools = [_wrap_tool(tool, f"tools.{number}") for number, tool in enumerate(given or [])]
    return offer_tools(tools, named if kind == "tool" else CHOICES[kind], parallel=not alone)


def _wrap_tool(tool: Any, place: str) -> dict[str, Any]:
    """A tool as OpenAI's API has it, which is the form that templates know."""
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not tool["name"]:
        raise ParameterError(f"{place} needs a `name` and an `input_schema`", "tools")
    if tool.get("type") not in (None, "custom"):
        kind = str(tool["type"])[:40]
        raise ParameterError(
            f"{place} is of type {kind!r}, but only tools with an `input_schema` of their own can be offered",
            "tools",
            "unsupported_value",
        )
    described = tool.get("description") or ""
    if not isinstance(tool.get("input_schema"), dict) or not isinstance(described, str):
        raise ParameterError(f"{place} needs an object `input_schema`; its `description` is a text", "tools")
    for name, value in tool.items():
        if name not in TOOL_KEYS and value is not None and value not in TOOL_NEUTRAL.get(name, ()):
            raise ParameterError(f"{place}.{name[:40]} is not supported", "tools", "unsupported_parameter")
    function = {"name": tool["name"], "description": described, "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


def _take_output(fields: Fields) -> tuple[Constraint | None, dict[str, Any]]:
    """What the answer is held to, and how hard the model is to think where its template asks."""
    config = fields.take("output_config")
    if config is not None and not isinstance(config, dict):
        raise refuse_type("output_config", "an object")
    within = Fields(config or {}, "output_config")
    form, effort = within.take("format"), within.take("effort")
    within.end((), {})
    if effort is not None and (not isinstance(effort, str) or effort not in EFFORTS):
        raise ParameterError(f"The effort in `output_config` has to be one of {', '.join(EFFORTS)}", "output_config")
    told = {} if effort is None else {"reasoning_effort": EFFORTS[effort]}
    if form is None:
        return None, told
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise ParameterError("The format in `output_config` has to be of type json_schema", "output_config")
    return hold_to(form.get("schema"), "output_config"), told


def _take_thinking(fields: Fields) -> tuple[bool, bool]:
    """Whether the model is to think, and whether that is shown. How long it thinks is for itself to say."""
    config = fields.take("thinking")
    if config is None:
        return False, False
    if not isinstance(config, dict):
        raise refuse_type("thinking", "an object")
    within = Fields(config, "thinking")
    kind, display = within.take("type"), within.take("display")
    with_budget = kind == "enabled"
    if not isinstance(kind, str) or kind not in {"enabled", "adaptive", "disabled"}:
        raise ParameterError("The type of `thinking` has to be enabled, adaptive or disabled", "thinking")
    if display is not None and display not in DISPLAYS:
        raise ParameterError(f"The display of `thinking` has to be one of {', '.join(DISPLAYS)}", "thinking")
    budget = within.take("budget_tokens")
    if budget is not None and (not with_budget or type(budget) is not int or budget < LEAST_BUDGET):
        raise ParameterError(
            f"`thinking` has `budget_tokens` only if it is enabled, and then {LEAST_BUDGET} at least", "thinking"
        )
    within.end((), {})
    return kind != "disabled", kind != "disabled" and display != "omitted"

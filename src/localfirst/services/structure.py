"""What an answer is held to, and the tools that a model may call, from the files and texts that a user gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, get_args

from localfirst import constraint
from localfirst.conversation import ToolChoice, ToolUse
from localfirst.errors import ConstraintError, UsageError
from localfirst.services.prompt import read_text_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from localfirst.conversation import Answer, Constraint, FinishReason

CUT_OFF: dict[FinishReason, str] = {
    "length": "Allow more with `--max-tokens`",
    "context": "Give it a longer context with `--ctx`, or ask for less",
}
"""Ends of an answer that are not its own, and what to type next."""
EXAMPLE = '[{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}]'

EXAMPLE_CHOICE = '{"type": "function", "function": {"name": "get_time"}}'


def read_constraint(*, schema: Path | None, regex: str | None, grammar: Path | None) -> Constraint | None:
    """The one constraint that is asked for, or none.

    Raises:
        UsageError: more than one is asked for, or a file cannot be read.
        BadConstraintError: it is malformed or out of bounds.
    """
    given = [
        (f"--{name}", make, value)
        for name, make, value in (
            ("schema", constraint.make_schema, None if schema is None else read_text_file(schema)),
            ("regex", constraint.make_regex, regex),
            ("grammar", constraint.make_grammar, None if grammar is None else read_text_file(grammar)),
        )
        if value is not None
    ]
    if len(given) > 1:
        names = " and ".join(name for name, *_ in given)
        raise UsageError(f"{names} cannot be used together", hint="An answer is held to one of them")
    return next((make(value) for _, make, value in given), None)


def read_tools(path: Path) -> tuple[dict[str, Any], ...]:
    """The tools in a file: a list as OpenAI's API takes it, or of the functions alone.

    Raises:
        UsageError: the file cannot be read, or holds no such list.
    """
    try:
        value = json.loads(read_text_file(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path.name} is no JSON", detail=str(error), hint=f"Tools look like {EXAMPLE}") from error
    if not isinstance(value, list) or not value:
        raise UsageError(f"{path.name} holds no list of tools", hint=f"Tools look like {EXAMPLE}")
    return parse_tools(value, path.name)


def parse_tools(items: Iterable[object], source: str) -> tuple[dict[str, Any], ...]:
    """Tools as templates take them; `source` is where they come from, for messages.

    Raises:
        UsageError: one has no name, or parameters that are no schema.
    """
    return tuple(_parse_tool(item, f"Tool {number} in {source}") for number, item in enumerate(items, 1))


def parse_choice(
    asked: str | Mapping[str, Any] | None, tools: Sequence[Mapping[str, Any]], *, parallel: bool = True
) -> ToolChoice:
    """Whether a tool is called: `auto`, `none`, `required`, or a tool's name, also as OpenAI's API writes that.

    Args:
        asked: the choice; `None` is `auto`.
        tools: what `parse_tools` gave.
        parallel: whether one answer may have several calls.

    Raises:
        UsageError: it is no choice, or asks for a tool that is not offered.
    """
    if isinstance(asked, Mapping):
        function = asked.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str):
            raise UsageError("The tool choice names no function", hint=f"It looks like {EXAMPLE_CHOICE}")
    elif asked is None or asked in get_args(ToolUse):
        use = cast("ToolUse", asked or "auto")
        if use == "required" and not tools:
            raise UsageError("A tool call is required, and no tools are offered", hint="Offer some: `--tools FILE`")
        return ToolChoice(use, parallel=parallel)
    else:
        name = asked
    names = [tool["function"]["name"] for tool in tools]
    if name not in names:
        raise UsageError(
            f"There is no tool `{name}` to call",
            detail=f"there are: {', '.join(names)}" if names else "no tools are offered",
            hint="Choose one of them, or `auto`, `none` or `required`",
        )
    return ToolChoice("required", name, parallel)


def check_together(asked: Constraint | None, tools: Sequence[object]) -> None:
    """Refuse tools under a constraint.

    Raises:
        UsageError: both are asked for: a call is not written as the constraint wants it.
    """
    if asked is not None and tools:
        raise UsageError(
            "Tools cannot be called under a constraint",
            hint="Leave out `--tools`, or `--schema`, `--regex`, `--grammar`",
        )


def check_whole(asked: Constraint | None, answer: Answer) -> None:
    """See that an answer under a constraint came to its end.

    Raises:
        ConstraintError: it was cut off; what there is of it fits no schema.
    """
    if asked is None or answer.finish_reason not in CUT_OFF:
        return
    tokens = answer.usage.completion_tokens
    raise ConstraintError(
        f"The answer is not whole: it was cut off after {tokens:,} token{'' if tokens == 1 else 's'}",
        detail=f"finish reason: {answer.finish_reason}",
        hint=CUT_OFF[answer.finish_reason],
    )


def _parse_tool(item: object, place: str) -> dict[str, Any]:
    function = item.get("function", item) if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UsageError(f"{place} has no name", hint=f"Tools look like {EXAMPLE}")
    if not isinstance(function.get("parameters", {}), Mapping):
        raise UsageError(f"{place}, `{function['name']}`, has parameters that are no JSON schema")
    described = {"description": "", "parameters": {"type": "object", "properties": {}}} | dict(function)
    return {"type": "function", "function": described}

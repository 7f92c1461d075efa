"""A tool choice as a program writes it, however wrong."""

from __future__ import annotations

from typing import Any

import pytest

from localfirst.errors import UsageError
from localfirst.services.structure import parse_choice, parse_tools

TOOLS = parse_tools([{"name": "get_time", "parameters": {"type": "object", "properties": {}}}], "a list")


@pytest.mark.parametrize("function", [None, "get_time", ["get_time"], {}, {"name": 7}, 7])
def test_a_choice_without_the_name_of_a_function_is_a_usage_error(function: Any) -> None:
    with pytest.raises(UsageError, match="names no function"):
        parse_choice({"type": "function", "function": function}, TOOLS)


def test_a_choice_names_a_function() -> None:
    assert parse_choice({"type": "function", "function": {"name": "get_time"}}, TOOLS).name == "get_time"

"""Requests in Anthropic's and Ollama's forms: whatever they are, they are understood or refused by a name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.test_requests import VALUES, find_places, put

from localfirst.conversation import Message, ToolCall
from localfirst.errors import BusyError, CrowdedError, NoFitError
from localfirst.server import failures
from localfirst.server.anthropic.asked import parse_count, parse_message
from localfirst.server.anthropic.models import list_page
from localfirst.server.failures import ParameterError, RefusedError
from localfirst.server.ollama.asked import LONGEST_S, parse_duration
from localfirst.server.ollama.chat import parse_chat, parse_generate
from localfirst.server.ollama.models import parse_embed, parse_show
from localfirst.services.serving.shelf import Offer

MESSAGE: dict[str, Any] = {
    "model": "m",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": ""},
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]},
                {"type": "text", "text": "go on"},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "please"}]},
    ],
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 3,
    "stop_sequences": ["x"],
    "stream": False,
    "tools": [{"type": "custom", "name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": False}],
    "tool_choice": {"type": "none"},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
}
COUNT = {name: MESSAGE[name] for name in ("model", "system", "messages", "tools", "thinking")}
CHAT: dict[str, Any] = {
    "model": "m:latest",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "hi", "images": []},
        {"role": "assistant", "thinking": "t", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "tool_name": "f", "content": "r"},
    ],
    "stream": False,
    "logprobs": True,
    "top_logprobs": 2,
    "format": "",
    "think": True,
    "keep_alive": "5m",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "options": {
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "presence_penalty": 2,
        "frequency_penalty": -0.5,
        "seed": 1,
        "num_predict": 5,
        "num_ctx": 512,
        "stop": ["x"],
        "mirostat": 0,
    },
}
GENERATE: dict[str, Any] = {
    **{name: CHAT[name] for name in ("model", "stream", "think", "keep_alive", "options")},
    "prompt": "hi",
    "system": "s",
    "raw": False,
    "format": {"type": "object"},
    "template": "",
}
EMBED = {"model": "m", "input": ["a", "b"], "truncate": True, "keep_alive": 5, "options": {"num_ctx": 5}}


def parse_input(body: dict[str, Any]) -> Any:
    return parse_embed(body, "input")


def parse_prompt(body: dict[str, Any]) -> Any:
    return parse_embed(body, "prompt")


ARRANGED = {
    "message": (parse_message, MESSAGE),
    "count": (parse_count, COUNT),
    "chat": (parse_chat, CHAT),
    "generate": (parse_generate, GENERATE),
    "embed": (parse_input, EMBED),
    "embeddings": (parse_prompt, {"model": "m", "prompt": "a", "keep_alive": -1}),
    "show": (parse_show, {"model": "m", "verbose": True}),
}
KNOWN = {name for _, body in ARRANGED.values() for name in body} | {"name"}


@pytest.mark.parametrize(("parse", "body"), ARRANGED.values(), ids=ARRANGED)
def test_the_arranged_requests_are_understood(parse: Any, body: dict[str, Any]) -> None:
    parse(body)


@given(st.data())
@pytest.mark.parametrize(("parse", "body"), ARRANGED.values(), ids=ARRANGED)
def test_any_value_in_any_place_is_understood_or_refused_by_name(parse: Any, body: dict, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(find_places(body)[1:]))
    try:
        parse(put(body, place, data.draw(VALUES)))
    except ParameterError as error:
        check_refusal(error)


def check_refusal(error: ParameterError) -> None:
    assert error.param
    assert failures.tell_anthropic(error).body["error"]["type"] == "invalid_request_error"
    assert failures.tell_ollama(error).status == 400
    json.dumps(failures.tell_ollama(error).body)


@given(st.text(min_size=1, max_size=8), VALUES.filter(lambda value: value is not None))
def test_what_nobody_knows_is_refused_by_its_name(name: str, value: Any) -> None:
    for parse, body in ARRANGED.values():
        if name not in KNOWN:
            with pytest.raises(ParameterError) as raised:
                parse(body | {name: value})
            assert raised.value.param == name


def test_blocks_become_messages_and_turns_of_one_role_are_one() -> None:
    assert parse_message(MESSAGE).chat.messages == (
        Message("system", "s"),
        Message("user", "hi"),
        Message("assistant", "a", (ToolCall("f", '{"x": 1}', "1"),)),
        Message("tool", "r", tool_call_id="1", name="f"),
        Message("user", "go on\nplease"),
    )


def test_a_result_goes_to_its_call_by_id_by_name_or_in_turn() -> None:
    calls = [{"id": "one", "function": {"name": "f"}}, {"id": "two", "function": {"name": "g"}}]
    for result, found in (({"tool_call_id": "two"}, "two"), ({"tool_name": "g"}, "two"), ({}, "one")):
        said = [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "content": "r", **result}]
        work = parse_chat({"model": "m", "messages": said}).work
        assert work is not None
        chat = work.make.__self__
        assert chat.messages[-1].tool_call_id == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("300ms", 0.3), ("-1m", -60), ("0", 0), ("+2s", 2)],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1d", "--1s", "1e3s", "٣s", "9" * 50 + "s"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


def test_below_zero_a_model_stays_for_ever() -> None:
    for value in (-1, -0.5, "-1s", -(10**400), -1e999):
        assert parse_chat(CHAT | {"keep_alive": value}).common.keep_alive_s == math.inf


@pytest.mark.parametrize("value", [10**400, 1e999, "999999999h999999999h", 1e9])
def test_a_time_without_end_is_one_that_a_calendar_has(value: Any) -> None:
    assert parse_chat(CHAT | {"keep_alive": value}).common.keep_alive_s == LONGEST_S


def test_each_error_has_the_status_and_type_that_its_clients_know() -> None:
    for error, status, kind in (
        (BusyError("b"), 429, "rate_limit_error"),
        (CrowdedError("c"), 529, "overloaded_error"),
        (NoFitError("n"), 503, "api_error"),
        (RefusedError(401, "k", "m"), 401, "authentication_error"),
        (RefusedError(403, "k", "m"), 403, "permission_error"),
        (RefusedError(413, "k", "m"), 413, "request_too_large"),
        (RefusedError(415, "k", "m"), 415, "invalid_request_error"),
    ):
        told = failures.tell_anthropic(error)
        assert (told.status, told.body["error"]["type"]) == (status, kind)
        assert ("retry-after" in told.headers) == (told.headers["x-should-retry"] == "true")
    assert failures.tell_ollama(ParameterError("is wrong", "x")).body["error"] == "x: is wrong"


def test_pages_of_models_follow_each_other() -> None:
    offers = [Offer(name, "v", "chat", 0, "mit", None, ()) for name in "abcde"]

    def page(**asked: str) -> tuple[str, bool]:
        found = list_page(offers, asked)
        return "".join(one["id"] for one in found["data"]), found["has_more"]

    assert page() == ("abcde", False)
    assert page(limit="2") == ("ab", True)
    assert page(limit="2", after_id="b") == ("cd", True)
    assert page(limit="2", after_id="d") == ("e", False)
    assert page(limit="2", before_id="d") == ("bc", True)
    assert page(after_id="e") == ("", False)
    for wrong in ({"limit": "0"}, {"limit": "x"}, {"limit": "٣"}, {"limit": "00001" + "0" * 5000}, {"after_id": "z"}):
        with pytest.raises(ParameterError):
            page(**wrong)

"""Requests in OpenAI's form: whatever they are, they are understood or refused by a parameter's name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localfirst.server.body import MAX_DEPTH, parse_object
from localfirst.server.failures import Failure, ParameterError, RefusedError, tell
from localfirst.server.openai.chat import parse_chat
from localfirst.server.openai.completions import parse_completion
from localfirst.server.openai.embeddings import parse_embed
from localfirst.server.openai.responses import asked
from localfirst.server.openai.responses.asked import Asked

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "r"},
    ],
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "seed": 1,
    "n": 2,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "tools": [TOOL],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "chat_template_kwargs": {"enable_thinking": False},
    "logprobs": True,
    "top_logprobs": 20,
    "presence_penalty": -1.5,
    "frequency_penalty": 0,
    "logit_bias": {"1": 5, "262": -100},
    "reasoning_effort": "low",
    "user": "u",
}
RESPONSE: dict[str, Any] = {
    "model": "m",
    "instructions": "be brief",
    "previous_response_id": "resp_1",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "r"}]},
    ],
    "temperature": 1,
    "top_p": 0.5,
    "max_output_tokens": 5,
    "stream": True,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "medium"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "metadata": {"a": "b"},
    "store": True,
    "truncation": "disabled",
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "top_logprobs": 2,
}
SAID = ({"type": "message", "id": "msg_0", "role": "user", "content": "before"},)


def parse_response(body: dict[str, Any]) -> Asked:
    return asked.parse_response(body, lambda _: SAID)


ARRANGED = [
    (parse_chat, CHAT),
    (
        parse_completion,
        {"model": "m", "prompt": ["a", "b"], "echo": False, "best_of": 1, "n": 2, "stop": "x", "logprobs": 5},
    ),
    (parse_embed, {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "user": "u"}),
    (parse_response, RESPONSE),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("function"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "role", "content", "text", "json_schema", "schema"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def find_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, one in inner for found in find_places(one, (*place, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copied = value.copy()
    copied[place[0]] = put(value[place[0]], place[1:], new)
    return copied


@pytest.mark.parametrize(("parse", "body"), ARRANGED, ids=["chat", "completions", "embeddings", "responses"])
def test_the_arranged_requests_are_understood(parse: Any, body: dict[str, Any]) -> None:
    parse(body)


@given(st.data())
@pytest.mark.parametrize(("parse", "body"), ARRANGED, ids=["chat", "completions", "embeddings", "responses"])
def test_any_value_in_any_place_is_understood_or_refused_by_name(parse: Any, body: dict, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(find_places(body)[1:]))
    spoiled = put(body, place, data.draw(VALUES))
    try:
        parse(spoiled)
    except ParameterError as error:
        check_refusal(tell(error))


def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    assert parse_chat({**CHAT, "max_tokens": 16.0, "max_completion_tokens": 16.0}).manner.max_tokens == 16
    for value in (16.5, 1e400, True):
        with pytest.raises(ParameterError):
            parse_chat({**CHAT, "seed": value})


def check_refusal(failure: Failure) -> None:
    assert failure.status == 400
    assert failure.body["error"]["param"]
    json.dumps(failure.body)


@given(st.text(min_size=1, max_size=8), VALUES.filter(lambda value: value is not None))
@example("web_search_options", {})
@example("dimensions", 3)
def test_what_nobody_knows_is_refused_by_its_name(name: str, value: Any) -> None:
    for parse, body in ARRANGED:
        if name not in CHAT and name not in body and name not in {"user", "metadata", "store"}:
            with pytest.raises(ParameterError) as raised:
                parse(body | {name: value})
            assert raised.value.param == name


@given(st.binary(max_size=60))
@example(b"")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"a": NaN}')
@example(b'{"a": -Infinity}')
@example(b'{"a": ' + b"9" * 10_000 + b"}")
@example(b'\xff\xfe{"a": 1}')
@example(b'{"a": 1, "b": 2, "a": 1}')
@example(b'{"a": [{"b": 1, "b": 2}]}')
@example(json.dumps({"a": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}).encode())
def test_a_body_is_an_object_or_refused(data: bytes) -> None:
    try:
        assert isinstance(parse_object(data), dict)
    except RefusedError as refused:
        told = tell(refused)
        assert (told.status, told.body["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(("name", "again"), [("a", "a"), ("a", "\\u0061"), ("b" * 100, "b" * 100)])
def test_a_name_that_is_there_twice_is_told(name: str, again: str) -> None:
    with pytest.raises(RefusedError, match="is there twice") as raised:
        parse_object(f'{{"{name}": 1, "c": {{}}, "{again}": 1}}'.encode())
    assert len(raised.value.message) < 150
    assert parse_object(b'{"a": {"a": 1}, "b": {"a": 1}}') == {"a": {"a": 1}, "b": {"a": 1}}


def test_a_body_may_be_nested_as_deep_as_is_said() -> None:
    parse_object(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")
    with pytest.raises(RefusedError):
        parse_object(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")

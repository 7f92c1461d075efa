"""Anthropic's own Python client against a real `lf serve` with real engines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Literal

import anthropic
import pytest
from pydantic import BaseModel
from tests.conftest import Lf
from tests.fixtures.serving import REPLY, Server, serving

HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather now",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Köln", "Rom"]}}, "required": ["city"]},
}
THINKING = {"type": "enabled", "budget_tokens": 1024}
KEY = "0123456789abcdef-key"


def connect(server: Server, key: str = "unused") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.root, api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with connect(server) as client:
        yield client


def ask(client: anthropic.Anthropic, model: str = "greeter", **more: object) -> anthropic.types.Message:
    return client.messages.create(**{"model": model, "max_tokens": 400, "messages": HI} | more)


def test_a_message_is_answered_with_its_counts(client: anthropic.Anthropic) -> None:
    message = ask(client)
    (block,) = message.content
    assert (block.type, block.text) == ("text", REPLY)
    assert (message.type, message.role, message.model) == ("message", "assistant", "greeter")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message._request_id
    usage = message.usage
    assert (
        usage.input_tokens + usage.cache_read_input_tokens
        == client.messages.count_tokens(model="greeter", messages=HI).input_tokens
    )
    assert usage.output_tokens > 1
    again = ask(client).usage
    assert again.cache_read_input_tokens > 0
    assert again.input_tokens + again.cache_read_input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_what_is_counted_is_all_that_a_model_is_told(client: anthropic.Anthropic) -> None:
    said = [*HI, {"role": "assistant", "content": "yes"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    counted = client.messages.count_tokens(model="caller", messages=said, system=system, tools=[WEATHER]).input_tokens
    usage = ask(client, "caller", messages=said, system=system, tools=[WEATHER]).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens
    alone = client.messages.count_tokens(model="caller", messages=said).input_tokens
    assert (
        alone < client.messages.count_tokens(model="caller", messages=said, system="Be brief.").input_tokens < counted
    )


def test_a_stream_has_every_event_in_its_order(client: anthropic.Anthropic, server: Server) -> None:
    events = list(ask(client, "greeter", stream=True))
    kinds = [event.type for event in events]
    texts = kinds.count("content_block_delta")
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * texts,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(event.delta.text for event in events[2 : 2 + texts]) == REPLY
    assert events[0].message.usage.input_tokens > 0
    assert (events[0].message.content, events[0].message.stop_reason) == ([], None)
    assert (events[-2].delta.stop_reason, events[-2].usage.output_tokens > 1) == ("end_turn", True)
    sent = server.post("/v1/messages", {"model": "greeter", "max_tokens": 99, "messages": HI, "stream": True})
    assert sent.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in sent.text.strip().split("\n\n")]
    assert all(name == f"event: {json.loads(data.removeprefix('data: '))['type']}" for name, data in frames)
    assert [name for name, _ in frames][1:3] == ["event: content_block_start", "event: ping"]


def test_the_client_s_own_stream_puts_the_same_message_together(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="greeter", max_tokens=400, messages=HI) as stream:
        assert "".join(stream.text_stream) == REPLY
        streamed = stream.get_final_message()
    assert streamed.usage.output_tokens == ask(client).usage.output_tokens
    assert streamed.stop_reason == "end_turn"


def test_stop_sequences_and_maxima_end_an_answer_and_are_told(client: anthropic.Anthropic) -> None:
    stopped = ask(client, stop_sequences=["xyz", "dem"])
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == (
        "Grüße aus ",
        "stop_sequence",
        "dem",
    )
    short = ask(client, max_tokens=2)
    assert (short.stop_reason, short.stop_sequence, short.usage.output_tokens) == ("max_tokens", None, 2)
    *_, end, _ = ask(client, stop_sequences=["dem"], stream=True)
    assert (end.delta.stop_reason, end.delta.stop_sequence) == ("stop_sequence", "dem")
    at_once = ask(client, stop_sequences=["Gr"])
    assert (at_once.content, at_once.stop_reason) == ([], "stop_sequence")


def test_a_full_context_is_told_apart_from_a_maximum(client: anthropic.Anthropic) -> None:
    long = [{"role": "user", "content": "a" * 1017}]
    assert ask(client, messages=long, max_tokens=2000).stop_reason == "model_context_window_exceeded"


def test_thinking_is_shown_where_it_is_asked_for(client: anthropic.Anthropic) -> None:
    assert [block.type for block in ask(client, "thinker").content] == ["text"]
    for config in (THINKING, {"type": "adaptive"}):
        thought, said = ask(client, "thinker", max_tokens=2000, thinking=config).content
        assert (thought.type, thought.thinking, said.text) == ("thinking", "Let me see.", "Blue.")
    for config in ({"type": "disabled"}, {"type": "adaptive", "display": "omitted"}):
        assert [block.text for block in ask(client, "thinker", thinking=config).content] == ["Blue."]
    events = list(ask(client, "thinker", max_tokens=2000, thinking=THINKING, stream=True))
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert [kind for kind, before in zip(deltas, [None, *deltas], strict=False) if kind != before] == [
        "thinking_delta",
        "signature_delta",
        "text_delta",
    ]
    quiet = [event.delta.type for event in ask(client, "thinker", stream=True) if event.type == "content_block_delta"]
    assert set(quiet) == {"text_delta"}


def test_what_a_model_thought_can_be_sent_back(client: anthropic.Anthropic) -> None:
    first = ask(client, "thinker", max_tokens=2000, thinking=THINKING)
    said = [*HI, {"role": "assistant", "content": first.content}, *HI]
    assert ask(client, "thinker", messages=said).content[0].text == "Blue."


def test_a_tool_is_called_and_its_result_read(client: anthropic.Anthropic) -> None:
    message = ask(client, "caller", tools=[WEATHER])
    said, call = message.content
    assert (message.stop_reason, said.text) == ("tool_use", "Let me see.")
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Köln"})
    for content in ("11 degrees", [{"type": "text", "text": "11 degrees"}]):
        result = {"type": "tool_result", "tool_use_id": call.id, "content": content, "is_error": False}
        answered = [
            *HI,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
        ]
        assert ask(client, "caller", messages=answered, tools=[WEATHER]).usage.output_tokens > 0
    assert [block.type for block in ask(client, "caller").content] == ["text"]


def test_a_tool_call_is_streamed(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="caller", max_tokens=400, messages=HI, tools=[WEATHER]) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].input == {"city": "Köln"}
    assert message.stop_reason == "tool_use"


def test_the_choice_of_a_tool_is_kept_to(client: anthropic.Anthropic) -> None:
    for choice in (
        {"type": "any"},
        {"type": "tool", "name": "get_weather"},
        {"type": "auto", "disable_parallel_tool_use": True},
    ):
        message = ask(client, "caller", tools=[WEATHER], tool_choice=choice)
        assert message.content[-1].name == "get_weather"
    untold = ask(client, "caller", tools=[WEATHER], tool_choice={"type": "none"})
    assert untold.stop_reason == "end_turn"


def test_an_answer_is_held_to_a_schema(client: anthropic.Anthropic) -> None:
    class Colour(BaseModel):
        name: Literal["red", "blue"]
        warm: bool

    parsed = client.messages.parse(model="greeter", max_tokens=400, messages=HI, output_format=Colour)
    assert isinstance(parsed.parsed_output, Colour)


def test_models_are_listed_page_by_page_and_shown(client: anthropic.Anthropic, server: Server) -> None:
    names = [model.id for model in client.models.list()]
    assert {"starter", "greeter", "embedder"} <= set(names)
    assert [model.id for model in client.models.list(limit=2)] == names
    assert [model.id for model in client.models.list(limit=2, before_id=names[-1]).data] == names[-3:-1]
    assert client.models.retrieve("greeter").id == "greeter"
    assert client.models.retrieve("starter").created_at.year == 1970
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nobody")
    assert server.get("/v1/models").json()["object"] == "list"  # everybody else's


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [*HI, {"role": "assistant", "content": "The"}]}, "cannot be begun"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]}, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}, "tool_use_id"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tools": [WEATHER | {"strict": True}]}, "strict"),
        ({"tool_choice": {"type": "any"}}, "required"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}}, "other"),
        ({"thinking": {"type": "enabled", "budget_tokens": 3}}, "budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config"),
        ({"container": "x"}, "container"),
        ({"speed": "fast"}, "speed"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(client: anthropic.Anthropic, asked: dict, told: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=told) as raised:
        ask(client, extra_body=asked)
    assert raised.value.type == "invalid_request_error"


def test_what_asks_for_nothing_is_taken(client: anthropic.Anthropic) -> None:
    more = {
        "top_k": 3,
        "top_p": 0.9,
        "temperature": 1,
        "metadata": {"user_id": "x"},
        "service_tier": "auto",
        "output_config": {"effort": "max"},
    }
    heads = {"anthropic-beta": "computer-use-2025-01-24,whatever"}
    assert ask(client, extra_body=more, extra_headers=heads).content[0].text == REPLY
    assert [
        block.text
        for block in client.beta.messages.create(
            model="greeter", max_tokens=99, messages=HI, betas=["context-1m-2025-08-07"]
        ).content
    ] == [REPLY]


def test_errors_are_of_anthropic_s_types(client: anthropic.Anthropic, server: Server) -> None:
    with pytest.raises(anthropic.NotFoundError) as raised:
        ask(client, "nobody")
    assert raised.value.type == "not_found_error"
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError, match="1024"):
            ask(client, messages=[{"role": "user", "content": "x" * 20_000}], stream=stream)
    with pytest.raises(anthropic.BadRequestError, match="turns texts into vectors"):
        ask(client, "embedder")
    with pytest.raises(anthropic.BadRequestError, match="1024"):
        client.messages.count_tokens(model="greeter", messages=[{"role": "user", "content": "x" * 20_000}])
    for path in ("/v1/messages/batches", "/v1/messages/nothing"):
        told = server.post(path, {}).json()
        assert (told["type"], told["error"]["type"]) == ("error", "not_found_error")
    assert server.get("/v1/messages").status_code == 405


def test_the_key_is_shown_as_this_client_does(served_home: Lf, tmp_path) -> None:
    (tmp_path / "key").write_text(KEY)
    with serving(served_home, "--api-key-file", str(tmp_path / "key")) as server:
        with connect(server, KEY) as known:
            assert ask(known).content[0].text == REPLY
        with connect(server, "wrong") as unknown, pytest.raises(anthropic.AuthenticationError) as raised:
            ask(unknown)
        assert raised.value.type == "authentication_error"
        with anthropic.Anthropic(base_url=server.root, api_key=None, auth_token=KEY, max_retries=0) as bearer:
            assert ask(bearer).content[0].text == REPLY
        assert KEY not in server.stop()


def test_a_stream_that_is_closed_makes_place_for_the_next(served_home: Lf) -> None:
    with serving(served_home, "--ctx", "65536") as server, connect(server) as client:
        for _ in range(3):
            stream = ask(client, "endless", max_tokens=60_000, stream=True)
            while next(stream).type != "content_block_delta":
                pass
            stream.close()
        begun = time.monotonic()
        assert ask(client, "endless", max_tokens=1).usage.output_tokens == 1
        assert time.monotonic() - begun < 5  # an endless answer takes as long as its tokens
        assert len(server.find_workers()) == 1


def test_the_end_of_a_server_is_an_event_of_its_stream(served_home: Lf) -> None:
    with serving(served_home, "--ctx", "65536") as server, connect(server) as client:
        stream = ask(client, "endless", max_tokens=60_000, stream=True)
        next(stream)
        server.process.terminate()
        with pytest.raises(anthropic.APIStatusError) as raised:
            for _ in stream:
                pass
        assert raised.value.type == "overloaded_error"

"""OpenAI's own Python client speaking its newer dialect to a real `lf serve` with real engines."""

from __future__ import annotations

import json
from typing import Literal

import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel
from tests.fixtures.serving import REPLY, Server

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Köln", "Rom"]}}, "required": ["city"]},
    "strict": True,
}


def test_a_response_has_its_text_and_counts(server: Server) -> None:
    made = server.client.responses.create(model="greeter", input="hi", instructions="be kind", metadata={"a": "b"})
    assert (made.output_text, made.status, made.error, made.incomplete_details) == (REPLY, "completed", None, None)
    assert [item.type for item in made.output] == ["message"]
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    assert made.usage.output_tokens_details.reasoning_tokens == 0
    assert (made.instructions, made.metadata, made.model) == ("be kind", {"a": "b"}, "greeter")


def test_a_stream_tells_of_the_response_that_it_ends_with(server: Server) -> None:
    with server.client.responses.stream(model="thinker", input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-1] == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Blue."
    assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == "Let me see."
    assert final.output_text == "Blue."
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output[0].content[0].text == "Let me see."
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [(item.id, item.content[0].text) for item in done] == [
        (item.id, item.content[0].text) for item in final.output
    ]


def test_a_conversation_goes_on_from_what_was_said(server: Server) -> None:
    create = server.client.responses.create
    first = create(model="greeter", input="hi", instructions="only now")
    second = create(model="greeter", input="and then?", previous_response_id=first.id)
    alone = create(model="greeter", input="and then?")
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > alone.usage.input_tokens + len("hi")
    third = create(model="greeter", input="?", previous_response_id=second.id)
    assert third.usage.input_tokens > second.usage.input_tokens
    same = create(
        model="greeter",
        input=[
            {"role": "user", "content": "hi"},
            *(item.to_dict() for item in first.output),
            {"role": "user", "content": "and then?"},
        ],
    )
    assert same.usage.input_tokens == second.usage.input_tokens


def test_what_is_kept_can_be_asked_for_and_forgotten(server: Server) -> None:
    responses = server.client.responses
    made = responses.create(model="greeter", input=[{"role": "user", "content": str(number)} for number in range(3)])
    assert responses.retrieve(made.id).to_dict() == made.to_dict()
    page = responses.input_items.list(made.id, limit=2, order="asc")
    assert [item.content[0].text for item in page] == ["0", "1", "2"]  # page by page
    assert [item.content[0].text for item in responses.input_items.list(made.id).data] == ["2", "1", "0"]
    responses.delete(made.id)
    for ask in (responses.retrieve, responses.delete, responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    with pytest.raises(openai.BadRequestError) as raised:
        responses.create(model="greeter", input="?", previous_response_id=made.id)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
    unkept = responses.create(model="greeter", input="hi", store=False)
    with pytest.raises(openai.NotFoundError):
        responses.retrieve(unkept.id)


def test_a_tool_is_called_and_its_result_read(server: Server) -> None:
    create = server.client.responses.create
    made = create(model="caller", input="hi", tools=[WEATHER])
    text, call = made.output
    assert (text.type, text.content[0].text.strip()) == ("message", "Let me see.")
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Köln"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "11 degrees"}
    later = create(model="caller", input=[result], tools=[WEATHER], previous_response_id=made.id)
    assert later.usage.input_tokens > made.usage.input_tokens
    with pytest.raises(openai.BadRequestError, match="tool_call_id"):
        create(model="caller", input=[result], tools=[WEATHER])


def test_a_call_is_streamed_and_can_be_required(server: Server) -> None:
    named = {"type": "function", "name": "get_weather"}
    with server.client.responses.stream(model="caller", input="hi", tools=[WEATHER], tool_choice=named) as stream:
        events = list(stream)
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    assert json.loads(done.arguments)["city"] in {"Köln", "Rom"}
    final: Response = events[-1].response
    assert [item.type for item in final.output] == ["function_call"]
    assert final.output[0].arguments == done.arguments


def test_an_answer_is_held_to_a_schema(server: Server) -> None:
    class Colour(BaseModel):
        name: Literal["red", "blue"]
        warm: bool

    made = server.client.responses.parse(model="greeter", input="hi", text_format=Colour)
    assert isinstance(made.output_parsed, Colour)


def test_an_answer_that_is_cut_off_is_incomplete(server: Server) -> None:
    made = server.client.responses.create(model="greeter", input="hi", max_output_tokens=2)
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert made.usage.output_tokens == 2
    *_, last = server.client.responses.create(model="greeter", input="hi", max_output_tokens=2, stream=True)
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "utmost"}}, "reasoning"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(server: Server, asked: dict, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        server.client.responses.create(model="greeter", input="hi", extra_body=asked)
    assert raised.value.param == param


def test_a_prompt_that_is_too_long_has_a_status_also_where_a_stream_was_asked_for(server: Server) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            server.client.responses.create(model="greeter", input="x" * 20_000, stream=stream)
        assert raised.value.code == "context_length_exceeded"

"""OpenAI's own Python client against a real `lf serve` with real engines."""

from __future__ import annotations

import json

import openai
import pytest
from pydantic import BaseModel
from tests.fixtures.serving import REPLY, Server

HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Köln", "Rom"]}}, "required": ["city"]},
    },
}


def test_models_are_listed_and_shown(server: Server) -> None:
    client = server.client
    listed = {model.id: model for model in client.models.list()}
    assert {"starter", "greeter", "embedder"} <= listed.keys()
    assert client.models.retrieve("greeter") == listed["greeter"]
    assert listed["embedder"].task == "embedding"
    assert client.models.retrieve("starter@q4_0").id == "starter"
    starter = listed["starter"]
    assert (starter.quantization, starter.runtime, starter.placement) == ("Q4_0", "llama-cpu", "cpu")
    assert (starter.verdict, starter.size_bytes < starter.need_bytes) == ("cpu", True)
    assert starter.decode_tps["measured"] or 0 < starter.decode_tps["low"] <= starter.decode_tps["high"]
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("nobody")
    assert raised.value.code == "model_not_found"


def test_a_chat_is_answered_with_its_counts(server: Server) -> None:
    answer = server.client.chat.completions.create(model="greeter", messages=HI)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, choice.message.tool_calls) == (REPLY, "stop", None)
    assert answer.usage.completion_tokens > 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.timings["load_s"] > 0
    assert answer.timings["first_token_s"] > 0
    assert answer.model == "greeter"
    assert answer.system_fingerprint.endswith("llama-cpu")
    assert answer._request_id


def test_the_starter_answers_what_it_knows(server: Server) -> None:
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "QAT?"}]}]
    answer = server.client.chat.completions.create(model="starter", messages=asked, temperature=0)
    assert answer.choices[0].message.content.startswith("QAT is quantization-aware training")


def test_a_stream_has_the_same_text_and_ends_with_the_counts(server: Server) -> None:
    stream = server.client.chat.completions.create(
        model="greeter", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    *_, finished, counts = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == REPLY
    assert (chunks[0].choices[0].delta.role, finished.choices[0].finish_reason) == ("assistant", "stop")
    assert (counts.choices, counts.usage.completion_tokens > 1) == ([], True)
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_without_asking_for_counts_a_stream_has_none(server: Server) -> None:
    chunks = list(server.client.chat.completions.create(model="greeter", messages=HI, stream=True))
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


def test_stop_strings_and_maxima_end_an_answer(server: Server) -> None:
    create = server.client.chat.completions.create
    assert create(model="greeter", messages=HI, stop="dem").choices[0].message.content == "Grüße aus "
    assert create(model="greeter", messages=HI, stop=["xyz", "aus"]).choices[0].message.content == "Grüße "
    for name in ("max_tokens", "max_completion_tokens"):
        short = create(model="greeter", messages=HI, **{name: 2})
        assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)


def test_several_answers_differ_and_a_seed_gives_the_same_ones_again(server: Server) -> None:
    def draw(**options: object) -> list[str]:
        answer = server.client.chat.completions.create(
            model="slow", messages=HI, n=3, max_tokens=6, temperature=2, **options
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert 3 <= answer.usage.completion_tokens <= 18
        return [choice.message.content for choice in answer.choices]

    first = draw(seed=-7)
    assert len(set(first)) == 3
    assert draw(seed=-7) == first
    assert draw(seed=8) != first


def test_streamed_answers_of_several_tell_whose_piece_is_whose(server: Server) -> None:
    texts = {0: "", 1: ""}
    for chunk in server.client.chat.completions.create(model="greeter", messages=HI, n=2, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
    assert texts == {0: REPLY, 1: REPLY}


def test_thinking_is_told_apart(server: Server) -> None:
    create = server.client.chat.completions.create
    message = create(model="thinker", messages=HI).choices[0].message
    assert (message.content, message.reasoning_content) == ("Blue.", "Let me see.")
    chunks = [chunk.choices[0].delta for chunk in create(model="thinker", messages=HI, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in chunks) == "Let me see."
    assert "".join(delta.content or "" for delta in chunks) == "Blue."


def test_an_answer_is_held_to_a_schema(server: Server) -> None:
    class Colour(BaseModel):
        name: str
        warm: bool

    parsed = server.client.chat.completions.parse(
        model="greeter", messages=HI, response_format=Colour, temperature=2, seed=1
    )
    assert isinstance(parsed.choices[0].message.parsed, Colour)
    free = server.client.chat.completions.create(
        model="greeter", messages=HI, response_format={"type": "json_object"}, max_tokens=400
    )
    assert free.choices[0].message.content.lstrip().startswith("{")


def test_a_tool_is_called_and_its_result_read(server: Server) -> None:
    create = server.client.chat.completions.create
    choice = create(model="caller", messages=HI, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Köln"})
    said = [
        *HI,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "11 degrees"},
    ]
    assert create(model="caller", messages=said, tools=[WEATHER]).usage.prompt_tokens > 0
    assert create(model="caller", messages=HI).choices[0].message.tool_calls is None


def test_a_tool_call_is_streamed_and_can_be_required(server: Server) -> None:
    stream = server.client.chat.completions.create(model="caller", messages=HI, tools=[WEATHER], stream=True)
    chunks = [chunk.choices[0] for chunk in stream]
    call = next(chunk.delta.tool_calls[0] for chunk in chunks if chunk.delta.tool_calls)
    assert (call.index, call.type, call.function.name) == (0, "function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Köln"}
    assert chunks[-1].finish_reason == "tool_calls"
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("required", named):
        answer = server.client.chat.completions.create(model="caller", messages=HI, tools=[WEATHER], tool_choice=choice)
        assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_texts_are_continued(server: Server) -> None:
    create = server.client.completions.create
    answer = create(model="greeter", prompt=["abc", "defg"], n=2)
    assert [(one.index, one.text, one.finish_reason) for one in answer.choices] == [
        (index, REPLY, "stop") for index in range(4)
    ]
    assert answer.usage.prompt_tokens == 7
    chunks = list(create(model="greeter", prompt="abc", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == REPLY
    assert chunks[-1].usage.prompt_tokens == 3


def test_texts_become_vectors(server: Server) -> None:
    create = server.client.embeddings.create
    packed = create(model="embedder", input=["one text", "Grüße"])
    plain = create(model="embedder", input=["one text", "Grüße"], encoding_format="float")
    assert [one.index for one in packed.data] == [0, 1]
    for ours, theirs in zip(packed.data, plain.data, strict=True):
        assert sum(number**2 for number in ours.embedding) == pytest.approx(1, abs=1e-5)
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == len("one text") + len("Grüße".encode())
    many = create(model="embedder", input=[f"text {number}" for number in range(40)])
    assert len(many.data) == 40
    assert many.data[7].embedding == pytest.approx(create(model="embedder", input="text 7").data[0].embedding, abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"logprobs": 2}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": "much"}, "presence_penalty"),
        ({"logit_bias": {"hello": 5}}, "logit_bias"),
        ({"reasoning_effort": "utmost"}, "reasoning_effort"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 0.5}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": []}, "messages"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(server: Server, asked: dict, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        server.client.chat.completions.create(model="greeter", messages=HI, extra_body=asked)
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"


def test_what_asks_for_nothing_is_taken(server: Server) -> None:
    answer = server.client.chat.completions.create(
        model="greeter",
        messages=HI,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        logprobs=False,
        user="somebody",
        metadata={"a": "b"},
        parallel_tool_calls=False,
        extra_body={"top_k": 3, "min_p": 0.1, "tools": None, "modalities": ["text"]},
    )
    assert answer.choices[0].message.content == REPLY


def test_a_prompt_that_is_too_long_is_told_with_both_numbers(server: Server) -> None:
    long = [{"role": "user", "content": "x" * 20_000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            server.client.chat.completions.create(model="greeter", messages=long, stream=stream)
        assert raised.value.code == "context_length_exceeded"
        assert "20,0" in raised.value.message.replace("200", "20,0")
        assert "1024" in raised.value.message


@pytest.mark.parametrize("name", ["nobody", "/etc/passwd", "../greeter", "remote:http://127.0.0.1:1/v1", "hf:a/b", "~"])
def test_only_models_on_this_disk_are_asked_by_their_names(server: Server, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        server.client.chat.completions.create(model=name, messages=HI)
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_model_is_not_asked_for_what_it_is_not_made_for(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="turns texts into vectors") as raised:
        server.client.chat.completions.create(model="embedder", messages=HI)
    assert raised.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="no embedding model") as raised:
        server.client.embeddings.create(model="greeter", input="x")
    assert raised.value.param == "model"

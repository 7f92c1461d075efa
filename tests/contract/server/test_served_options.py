"""Sampling options in every dialect: honoured by engines that can, refused by name for those that cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import TEMPLATE, Vocabulary, make_gguf, make_litert, make_openvino, split_reply
from tests.fixtures.serving import CALL, REPLY, TOOL_TEMPLATE, Server, serving

HI = [{"role": "user", "content": "hi"}]
CHUNKS = split_reply(REPLY)
IDS = Vocabulary(CHUNKS).chunk_ids
THOUGHT = (b"<think>", b"Let me", b" see.", b"</think>", b"\n\n", b"It is", b" blue.")
THINKING = TEMPLATE + "{# <think> </think> #}"
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Models in an engine that has every option, and one in each of two that have not."""
    need_engine("xllamacpp")
    need_engine("litert")
    need_engine("openvino")
    folder: Path = tmp_path_factory.mktemp("options")
    make_gguf(folder / "able.gguf", REPLY)
    make_gguf(folder / "endless.gguf", reply_tokens=(b"on ", b"and "), loop=True)
    make_litert(folder / "lite.litertlm", REPLY)
    make_gguf(folder / "thinker.gguf", reply_tokens=THOUGHT, template=THINKING)
    make_gguf(folder / "caller.gguf", f"Let me see. {CALL}", template=TOOL_TEMPLATE)
    make_openvino(folder / "open", REPLY)
    lf = Lf(folder / "home")
    for file in (*folder.glob("*.gguf"), *folder.glob("*.litertlm"), folder / "open"):
        done = lf("model", "import", str(file), "--name", file.stem)
        assert done.returncode == 0, done.stderr
    with serving(lf) as running:
        yield running


def test_a_token_is_banned_and_another_forced_in_chats_and_completions(server: Server) -> None:
    chat, complete = server.client.chat.completions.create, server.client.completions.create
    said = chat(model="able", messages=HI, logit_bias={str(IDS[1]): 100}, max_tokens=3).choices[0].message.content
    assert said == CHUNKS[1].decode() * 3
    text = complete(model="able", prompt="hi", logit_bias={str(IDS[1]): 100}, max_tokens=3).choices[0].text
    assert text == CHUNKS[1].decode() * 3
    banned = chat(model="able", messages=HI, logit_bias={str(IDS[0]): -100}, max_tokens=3, temperature=0)
    assert not banned.choices[0].message.content.startswith(CHUNKS[0].decode())
    assert chat(model="able", messages=HI, logit_bias={str(IDS[0]): 1}).choices[0].message.content == REPLY


def test_penalties_end_a_circle(server: Server) -> None:
    options = {"model": "endless", "max_tokens": 60, "temperature": 0}
    plain = server.client.chat.completions.create(messages=HI, **options).choices[0].message.content
    assert plain == "on and " * 30
    said = server.client.chat.completions.create(messages=HI, frequency_penalty=2, **options)
    assert said.choices[0].message.content.startswith("on and " * 20)
    assert said.choices[0].message.content != plain
    text = server.client.completions.create(prompt="hi", frequency_penalty=2, **options).choices[0].text
    assert text == said.choices[0].message.content
    asked = {"temperature": 0, "num_predict": 60, "frequency_penalty": 2}
    body = {"model": "endless", "messages": HI, "stream": False, "options": asked}
    assert server.post("/api/chat", body).json()["message"]["content"] == text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "asked",
    [
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.5},
        {"logit_bias": {"1": 1}},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_the_engine_lacks_is_refused_by_its_name(server: Server, asked: dict, stream: bool) -> None:
    (name,) = asked
    for ask in (
        lambda: server.client.chat.completions.create(model="lite", messages=HI, stream=stream, extra_body=asked),
        lambda: server.client.completions.create(model="lite", prompt="hi", stream=stream, extra_body=asked),
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            ask()
        assert (raised.value.param, raised.value.code) == (name, "unsupported_parameter")
        assert "litert-lm" in raised.value.message
    assert server.client.chat.completions.create(model="lite", messages=HI).choices[0].message.content == REPLY


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty", "min_p", "repeat_penalty"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_ollamas_options_are_refused_by_their_names(server: Server, name: str, stream: bool) -> None:
    for route, said in (("/api/chat", {"messages": HI}), ("/api/generate", {"prompt": "hi"})):
        answer = server.post(route, {"model": "lite", "stream": stream, "options": {name: 0.5}, **said})
        assert answer.status_code == 400
        assert f"`options.{name}` is not supported by litert-lm" in answer.json()["error"]
        asks_nothing = {"model": "lite", "stream": False, "options": {"min_p": 0, "repeat_penalty": 1}, **said}
        assert server.post(route, asks_nothing).status_code == 200


def test_a_bias_of_a_token_that_the_model_has_not_is_refused(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="names the token 99999") as raised:
        server.client.chat.completions.create(model="able", messages=HI, logit_bias={"99999": 1})
    assert raised.value.param == "logit_bias"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/chat/completions", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]),
        ("/v1/responses", [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}]),
        (
            "/v1/messages",
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}],
        ),
        ("/api/chat", None),
        ("/api/generate", None),
    ],
)
def test_images_are_refused_by_their_name(server: Server, path: str, content: object) -> None:
    message = {"role": "user", "content": content}
    body: dict = {"model": "able", "max_tokens": 5, "messages": [message]}
    if path == "/v1/responses":
        body = {"model": "able", "input": [message]}
    if path.startswith("/api/"):
        shown = {"role": "user", "content": "what is this", "images": ["aGk="]}
        body = {"model": "able", "messages": [shown]} if path == "/api/chat" else {"model": "able", "prompt": "x"}
        body |= {} if path == "/api/chat" else {"images": ["aGk="]}
    answer = server.post(path, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    told = error if isinstance(error, str) else error["message"]
    assert "image" in told
    if path in {"/v1/chat/completions", "/v1/responses"}:
        assert error["param"] in {"messages", "input"}


def test_anthropics_top_k_is_honoured(server: Server) -> None:
    body = {"model": "able", "max_tokens": 64, "messages": HI, "top_k": 1, "temperature": 1}
    assert server.post("/v1/messages", body).json()["content"][0]["text"] == REPLY
    for wrong in (0, -1, "3", 1.5, True):
        answer = server.post("/v1/messages", body | {"top_k": wrong})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "top_k" in answer.json()["error"]["message"]


def check_tokens(told: list, most: int, text: str = REPLY, chunks: tuple[bytes, ...] = CHUNKS) -> None:
    """The tokens of a scripted answer, each of which is all but certain, with as many others as were asked for."""
    assert [bytes(one["bytes"]) for one in told] == list(chunks)
    assert "".join(one["token"] for one in told) == text
    for one in told:
        assert -1e-3 < one["logprob"] <= 0
        assert len(one["top_logprobs"]) == most
        if most:
            first, *others = one["top_logprobs"]
            assert (first["token"], first["bytes"], first["logprob"]) == (one["token"], one["bytes"], one["logprob"])
            assert all(-41 < other["logprob"] < -39 for other in others)


def test_a_chat_tells_how_likely_its_tokens_were(server: Server) -> None:
    create = server.client.chat.completions.create
    whole = create(model="able", messages=HI, logprobs=True, top_logprobs=3).choices[0]
    assert whole.message.content == REPLY
    check_tokens([one.model_dump() for one in whole.logprobs.content], 3)
    assert [one.id for one in whole.logprobs.content] == IDS
    streamed = list(create(model="able", messages=HI, logprobs=True, stream=True))
    told = [
        one for chunk in streamed for one in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else ())
    ]
    check_tokens([one.model_dump() for one in told], 0)
    assert create(model="able", messages=HI).choices[0].logprobs is None
    assert create(model="able", messages=HI, logprobs=False).choices[0].logprobs is None


def test_a_completion_tells_it_in_its_own_form(server: Server) -> None:
    create = server.client.completions.create
    asked = {"model": "able", "prompt": ["abc", "defg"], "logprobs": 2, "n": 2}
    for index, choice in enumerate(create(**asked).choices):
        told, prompt = choice.logprobs, asked["prompt"][index // 2]
        assert told.tokens == [chunk.decode() for chunk in CHUNKS]
        assert told.token_logprobs == pytest.approx([0] * len(CHUNKS), abs=1e-3)
        for start, token, place in zip(told.text_offset, told.tokens, told.top_logprobs, strict=True):
            assert (prompt + choice.text)[start:].startswith(token)
            assert (len(place), place[token] > -1e-3) == (2, True)
        assert told.text_offset[0] == len(prompt)
    pieces = [chunk.choices[0].logprobs for chunk in create(model="able", prompt="abc", logprobs=0, stream=True)]
    whole = create(model="able", prompt="abc", logprobs=0).choices[0].logprobs
    for name in ("tokens", "text_offset", "top_logprobs"):
        assert [one for piece in pieces if piece for one in getattr(piece, name)] == getattr(whole, name)


def test_a_response_tells_it_where_that_is_included(server: Server) -> None:
    asked = {"model": "able", "input": "hi"}
    create = server.client.responses.create
    whole = create(**asked, include=["message.output_text.logprobs"], top_logprobs=2)
    check_tokens([one.model_dump() for one in whole.output[0].content[0].logprobs], 2)
    assert whole.top_logprobs == 2
    plain = create(**asked, include=["message.output_text.logprobs"])
    check_tokens([one.model_dump() for one in plain.output[0].content[0].logprobs], 0)
    assert create(**asked).output[0].content[0].logprobs == []
    events = list(create(**asked, top_logprobs=1, stream=True))
    deltas = [one for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert [one.token for one in deltas] == [one.token for one in done.logprobs] == [chunk.decode() for chunk in CHUNKS]
    with pytest.raises(openai.BadRequestError) as raised:
        create(**asked, include=["file_search_call.results"])
    assert raised.value.param == "include"


def test_ollamas_answers_tell_it_too(server: Server) -> None:
    for route, said in (("/api/chat", {"messages": HI}), ("/api/generate", {"prompt": "hi"})):
        asked = {"model": "able", "logprobs": True, "top_logprobs": 2, **said}
        check_tokens(server.post(route, asked | {"stream": False}).json()["logprobs"], 2)
        lines = [json.loads(line) for line in server.post(route, asked).text.splitlines()]
        check_tokens([one for line in lines for one in line.get("logprobs", ())], 2)
        assert "logprobs" not in server.post(route, {"model": "able", "stream": False, **said}).json()
    raw = {"model": "able", "prompt": "hi", "raw": True, "stream": False, "logprobs": True}
    check_tokens(server.post("/api/generate", raw).json()["logprobs"], 0)


def test_thinking_calls_and_stop_strings_are_not_among_the_tokens(server: Server) -> None:
    create = server.client.chat.completions.create
    thought = create(model="thinker", messages=HI, logprobs=True).choices[0]
    assert (thought.message.content, thought.message.reasoning_content) == ("It is blue.", "Let me see.")
    assert [one.token for one in thought.logprobs.content] == ["It is", " blue."]
    called = create(model="caller", messages=HI, tools=[WEATHER], logprobs=True, top_logprobs=1).choices[0]
    assert called.message.tool_calls[0].function.name == "get_weather"
    assert "".join(one.token for one in called.logprobs.content) == called.message.content == "Let me see."
    stopped = create(model="able", messages=HI, stop=" dem", logprobs=True).choices[0]
    assert "".join(one.token for one in stopped.logprobs.content) == stopped.message.content == "Grüße aus"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_engine_that_does_not_tell_is_named(server: Server, stream: bool) -> None:
    client = server.client
    for param, ask in {
        "logprobs": lambda: client.chat.completions.create(model="lite", messages=HI, logprobs=True, stream=stream),
        "logprobs ": lambda: client.completions.create(model="lite", prompt="hi", logprobs=0, stream=stream),
        "include": lambda: client.responses.create(
            model="lite", input="hi", include=["message.output_text.logprobs"], stream=stream
        ),
    }.items():
        with pytest.raises(openai.BadRequestError, match="does not tell how likely tokens were") as raised:
            ask()
        assert raised.value.param == param.strip()
    answer = server.post("/api/chat", {"model": "lite", "messages": HI, "logprobs": True, "stream": stream})
    assert (answer.status_code, "`logprobs` is not supported: litert-lm" in answer.json()["error"]) == (400, True)


def test_an_engine_that_tells_of_no_other_token_is_named(server: Server) -> None:
    create = server.client.chat.completions.create
    told = create(model="open", messages=HI, logprobs=True).choices[0]
    check_tokens([one.model_dump() for one in told.logprobs.content], 0)
    with pytest.raises(openai.BadRequestError, match="tells of 0 other tokens") as raised:
        create(model="open", messages=HI, logprobs=True, top_logprobs=1)
    assert raised.value.param == "top_logprobs"
    with pytest.raises(openai.BadRequestError, match="openvino-genai") as raised:
        create(model="open", messages=HI, presence_penalty=1)
    assert raised.value.param == "presence_penalty"

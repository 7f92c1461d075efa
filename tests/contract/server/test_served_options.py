"""Sampling options in every dialect: honoured by engines that can, refused by name for those that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import Vocabulary, make_gguf, make_litert, split_reply
from tests.fixtures.serving import REPLY, Server, serving

HI = [{"role": "user", "content": "hi"}]
CHUNKS = split_reply(REPLY)
IDS = Vocabulary(CHUNKS).chunk_ids


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model in an engine that has every option, one that draws in a circle, and one in an engine that has few."""
    need_engine("xllamacpp")
    need_engine("litert")
    folder: Path = tmp_path_factory.mktemp("options")
    make_gguf(folder / "able.gguf", REPLY)
    make_gguf(folder / "endless.gguf", reply_tokens=(b"on ", b"and "), loop=True)
    make_litert(folder / "lite.litertlm", REPLY)
    lf = Lf(folder / "home")
    for file in (*folder.glob("*.gguf"), *folder.glob("*.litertlm")):
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

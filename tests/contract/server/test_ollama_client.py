"""Ollama's own Python client against a real `lf serve` with real engines."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import ollama
import pytest
from pydantic import BaseModel
from tests.conftest import Lf
from tests.fixtures.serving import CALL, REPLY, Server, serving, wait_until

HI = [{"role": "user", "content": "hi"}]
KEY = "0123456789abcdef-key"


def get_weather(city: Literal["Köln", "Rom"]) -> str:
    """The weather now.

    Args:
        city: where.
    """
    return f"11 degrees in {city}"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.root, timeout=60) as client:
        yield client


def test_a_chat_is_answered_with_its_counts_and_times(client: ollama.Client) -> None:
    for name in ("greeter", "greeter:latest"):
        answer = client.chat(name, HI)
        assert (answer.message.role, answer.message.content, answer.message.tool_calls) == ("assistant", REPLY, None)
        assert (answer.model, answer.done, answer.done_reason) == (name, True, "stop")
        assert (answer.prompt_eval_count, answer.eval_count > 1) == (5, True)
        assert answer.total_duration >= answer.load_duration >= 0
        assert answer.eval_duration > 0
        assert datetime.now(UTC) - datetime.fromisoformat(answer.created_at) < timedelta(minutes=1)


def test_a_stream_has_the_same_text_a_line_for_each_piece(client: ollama.Client, server: Server) -> None:
    *pieces, last = client.chat("greeter", HI, stream=True)
    assert "".join(piece.message.content for piece in pieces) == REPLY
    assert not any(piece.done or piece.done_reason for piece in pieces)
    assert (last.done, last.done_reason, last.message.content, last.prompt_eval_count) == (True, "stop", "", 5)
    sent = server.post("/api/chat", {"model": "greeter", "messages": HI})  # streamed unless it is asked not to be
    assert sent.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["done"] for line in sent.text.splitlines()][-1] is True


def test_a_prompt_is_answered_through_the_template_or_raw(client: ollama.Client) -> None:
    told = client.generate("greeter", "hi", system="Be brief.")
    assert (told.response, told.done_reason) == (REPLY, "stop")
    assert told.prompt_eval_count > client.generate("greeter", "hi").prompt_eval_count == 5
    raw = client.generate("greeter", "abc", raw=True)
    assert (raw.response, raw.prompt_eval_count) == (REPLY, 3)
    assert "".join(piece.response for piece in client.generate("greeter", "hi", stream=True)) == REPLY


def test_options_are_kept_to(client: ollama.Client) -> None:
    assert client.chat("greeter", HI, options={"stop": ["dem"]}).message.content == "Grüße aus "
    short = client.chat("greeter", HI, options={"num_predict": 2})
    assert (short.done_reason, short.eval_count) == ("length", 2)

    def draw(**more: object) -> str:
        options = {"temperature": 2, "num_predict": 8, "top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1} | more
        return client.generate("slow", "hi", options=options).response

    assert draw(seed=3) == draw(seed=3) != draw(seed=4)
    assert client.chat("greeter", HI, options={"num_ctx": 1024, "num_predict": -1}).message.content == REPLY


def test_thinking_is_told_apart_and_can_be_left_out(client: ollama.Client) -> None:
    for think in (None, True, "high"):
        message = client.chat("thinker", HI, think=think).message
        assert (message.thinking, message.content) == ("Let me see.", "Blue.")
    message = client.chat("thinker", HI, think=False).message
    assert (message.thinking, message.content) == (None, "Blue.")
    pieces = list(client.generate("thinker", "hi", think=True, stream=True))
    assert "".join(piece.thinking or "" for piece in pieces) == "Let me see."
    assert "".join(piece.response for piece in pieces) == "Blue."


def test_a_tool_is_called_and_its_result_read(client: ollama.Client) -> None:
    message = client.chat("caller", HI, tools=[get_weather]).message
    assert message.content == "Let me see."
    (call,) = message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Köln"})
    result = {"role": "tool", "tool_name": "get_weather", "content": get_weather(**call.function.arguments)}
    assert client.chat("caller", [*HI, message, result], tools=[get_weather]).eval_count > 0
    assert CALL in client.chat("caller", HI).message.content
    pieces = list(client.chat("caller", HI, tools=[get_weather], stream=True))
    (streamed,) = [call for piece in pieces for call in piece.message.tool_calls or ()]
    assert streamed.function.arguments == {"city": "Köln"}
    assert pieces[-1].done_reason == "stop"


def test_several_results_find_their_calls(client: ollama.Client) -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("a", "b", "a")]
    results = [{"role": "tool", "tool_name": name, "content": "x"} for name in ("b", "a", "a")]
    said = [*HI, {"role": "assistant", "tool_calls": calls}, *results]
    assert client.chat("caller", said, tools=[get_weather]).done
    with pytest.raises(ollama.ResponseError, match="Message 6 is the result of no call"):
        client.chat("caller", [*said, results[0]], tools=[get_weather])


def test_an_answer_is_held_to_a_schema(client: ollama.Client) -> None:
    class Colour(BaseModel):
        name: Literal["red", "blue"]
        warm: bool

    hot = {"temperature": 2, "seed": 1}
    held = client.chat("greeter", HI, format=Colour.model_json_schema(), options=hot)
    assert Colour.model_validate_json(held.message.content)
    raw = client.generate("greeter", "hi", format=Colour.model_json_schema(), raw=True, options=hot)
    assert Colour.model_validate_json(raw.response)
    free = client.generate("greeter", "hi", format="json", options={"num_predict": 400})
    assert free.response.lstrip().startswith("{")


def test_texts_become_vectors(client: ollama.Client) -> None:
    many = client.embed("embedder", ["one text", "Grüße"], truncate=True)
    assert many.prompt_eval_count == len("one text") + len("Grüße".encode())
    assert [sum(number**2 for number in vector) for vector in many.embeddings] == pytest.approx([1, 1], abs=1e-5)
    assert client.embed("embedder", "one text").embeddings[0] == pytest.approx(many.embeddings[0], abs=1e-4)
    assert client.embeddings("embedder", "one text").embedding == pytest.approx(many.embeddings[0], abs=1e-4)
    assert client.embed("embedder", []).embeddings == []


def test_models_are_listed_and_shown(client: ollama.Client, server: Server) -> None:
    listed = {model.model: model for model in client.list().models}
    assert {"starter:latest", "greeter:latest", "embedder:latest"} <= listed.keys()
    greeter = listed["greeter:latest"]
    assert (greeter.details.format, greeter.details.quantization_level) == ("gguf", "F32")
    assert greeter.size > 0
    assert len(greeter.digest) == 64
    assert client.show("caller:latest").capabilities == ["completion", "tools"]
    assert client.show("thinker").capabilities == ["completion", "thinking"]
    assert client.show("embedder").capabilities == ["embedding"]
    shown = client.show("caller")
    assert "tools" in shown.template
    assert shown.modelinfo["caller.context_length"] == 1024
    assert client.show("starter").license == "apache-2.0"
    assert server.get("/api/version").json() == {"version": "0.11.0"}
    with pytest.raises(ollama.ResponseError) as raised:
        client.show("nobody")
    assert raised.value.status_code == 404


def test_models_are_loaded_and_let_go_as_it_is_asked(served_home: Lf) -> None:
    with serving(served_home) as server, ollama.Client(host=server.root) as client:
        assert client.generate("greeter", keep_alive=0).done_reason == "unload"
        assert client.ps().models == []
        loaded = client.generate("greeter", keep_alive="1h")
        assert (loaded.response, loaded.done_reason) == ("", "load")
        (running,) = client.ps().models
        assert (running.model, running.context_length, running.size_vram) == ("greeter:latest", 1024, 0)
        assert timedelta(minutes=59) < running.expires_at - datetime.now(UTC) <= timedelta(hours=1)
        client.chat("greeter", HI)  # which says nothing of it
        assert client.ps().models[0].expires_at > datetime.now(UTC) + timedelta(minutes=59)
        client.chat("greeter", [], keep_alive=-1)
        assert client.ps().models[0].expires_at.year == 9999
        assert client.embed("embedder", "a", keep_alive="1ms").embeddings
        wait_until(lambda: len(server.find_workers()) == 1)
        assert client.chat("greeter:latest", [], keep_alive=0).done_reason == "unload"
        wait_until(lambda: not server.find_workers())
        assert client.chat("greeter", HI, keep_alive=0).message.content == REPLY
        wait_until(lambda: not server.find_workers())


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"options": {"temperature": 3}}, "temperature"),
        ({"options": {"mirostat": 2}}, "mirostat"),
        ({"options": {"num_gpu": 1}}, "num_gpu"),
        ({"options": {"repeat_last_n": 7, "repeat_penalty": 1.2}}, "repeat_last_n"),
        ({"options": {"nonsense": 1}}, "nonsense"),
        ({"options": {"num_ctx": 10**6}}, "lf serve --ctx 1000000"),
        ({"options": []}, "options"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"format": "xml"}, "format"),
        ({"format": {"type": "nothing"}}, "format"),
        ({"think": "a little"}, "think"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"dimensions": 3}, "dimensions"),
        ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "images"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "result of no call"),
        ({"messages": "hi"}, "messages"),
        ({"format": "json", "tools": [{"type": "function", "function": {"name": "f"}}]}, "Tools"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_cannot_be_honoured_is_refused_by_its_name(server: Server, asked: dict, named: str, stream: bool) -> None:
    answer = server.post("/api/chat", {"model": "greeter", "messages": HI, "stream": stream} | asked)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_prompts_are_refused_by_what_is_wrong_with_them(client: ollama.Client) -> None:
    for named, more in {
        "suffix": {"suffix": "x"},
        "template": {"template": "x"},
        "context": {"context": [1, 2]},
        "system": {"raw": True, "system": "x"},
        "images": {"images": [b"x"]},
    }.items():
        with pytest.raises(ollama.ResponseError, match=named) as raised:
            client.generate("greeter", "hi", **more)
        assert raised.value.status_code == 400


def test_nothing_on_the_disk_is_changed(client: ollama.Client, server: Server) -> None:
    for ask, status, word in (
        (lambda: client.pull("phi-4-mini"), 403, "lf pull"),
        (lambda: list(client.pull("phi-4-mini", stream=True)), 403, "lf pull"),
        (lambda: client.delete("greeter"), 403, "lf rm"),
        (lambda: client.create("mine", from_="greeter"), 501, "lf model import"),
        (lambda: client.copy("greeter", "other"), 501, "disk"),
        (lambda: client.push("greeter"), 501, "published"),
    ):
        with pytest.raises(ollama.ResponseError, match=word) as raised:
            ask()
        assert raised.value.status_code == status
    assert server.post("/api/blobs/sha256:0", {}).status_code == 501
    assert client.chat("greeter", HI).message.content == REPLY


def test_errors_are_texts_with_a_status(client: ollama.Client, server: Server) -> None:
    long = [{"role": "user", "content": "x" * 20_000}]
    for ask, status, word in (
        (lambda: client.chat("nobody", HI), 404, "nobody"),
        (lambda: client.chat("embedder", HI), 400, "vectors"),
        (lambda: client.embed("greeter", "a"), 400, "embedding"),
        (lambda: client.chat("greeter", long), 400, "1024"),
        (lambda: list(client.chat("greeter", long, stream=True)), 400, "1024"),
        (lambda: client.embed("embedder", "x" * 20_000), 400, "1024"),
    ):
        with pytest.raises(ollama.ResponseError, match=word) as raised:
            ask()
        assert raised.value.status_code == status
    assert server.get("/api/nothing").json() == {"error": "There is no GET /api/nothing here", "code": "not_found"}


def test_a_key_is_shown_by_a_header(served_home: Lf, tmp_path) -> None:
    (tmp_path / "key").write_text(KEY)
    with serving(served_home, "--api-key-file", str(tmp_path / "key")) as server:
        with ollama.Client(host=server.root) as unknown, pytest.raises(ollama.ResponseError, match="no valid key"):
            unknown.list()
        with ollama.Client(host=server.root, headers={"authorization": f"Bearer {KEY}"}) as known:
            assert known.list().models


def test_a_stream_that_is_closed_makes_place_and_an_end_is_told(served_home: Lf) -> None:
    with serving(served_home, "--ctx", "65536") as server, ollama.Client(host=server.root) as client:
        for _ in range(3):
            stream = client.chat("endless", HI, stream=True)
            assert next(stream).message.content
            stream.close()
        begun = time.monotonic()
        assert client.chat("endless", HI, options={"num_predict": 1}).eval_count == 1
        assert time.monotonic() - begun < 5  # an endless answer takes as long as its tokens
        assert len(server.find_workers()) == 1
        stream = client.generate("endless", "hi", stream=True)
        next(stream)
        server.process.terminate()
        with pytest.raises(ollama.ResponseError, match="stopping"):
            for _ in stream:
                pass

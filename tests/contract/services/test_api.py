"""The Python API with real engines on scripted models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import Shape, make_gguf, make_litert, make_onnx, make_openvino, make_random_gguf

import localfirst
from localfirst.conversation import Sampling, ToolCall
from localfirst.errors import ModelFileError, UnknownNameError, UsageError
from localfirst.types import Machine

REPLY = "Hello there, I am a very small model — 漢字 and all."
FORMATS = {
    "xllamacpp": ("model.gguf", make_gguf),
    "onnx": ("model", make_onnx),
    "openvino": ("model", make_openvino),
    "litert": ("model.litertlm", make_litert),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "lf-home"))


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    need_engine(request.param)
    name, make = FORMATS[request.param]
    make(tmp_path / name, REPLY)
    return str(tmp_path / name)


def test_an_answer_streams_and_comes_whole(path: str) -> None:
    with localfirst.load(path, offline=True) as model:
        assert "".join(model.stream("hi")) == REPLY
        answer = model.chat([{"role": "user", "content": "hi"}], max_tokens=200)
        short = model.chat("hi", sampling=Sampling(temperature=0, seed=1), max_tokens=1)
    assert (answer.text, answer.finish_reason) == (REPLY, "stop")
    assert (short.finish_reason, short.usage.completion_tokens) == ("length", 1)
    assert model.plan.model.name == Path(path).stem


def test_calls_remember_nothing_of_each_other(path: str) -> None:
    with localfirst.load(path, offline=True) as model:
        first, second = model.chat("hi"), model.chat("hi")
    assert first.usage.prompt_tokens == second.usage.prompt_tokens


@pytest.mark.parametrize(
    "messages",
    [[{"role": "robot", "content": "hi"}], [{"content": "hi"}], [{"role": "user"}], [{"role": "user", "content": 7}]],
    ids=["unknown role", "no role", "no content", "content is no text"],
)
def test_a_bad_message_is_named_by_its_number(messages: list, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", REPLY)
    with (
        localfirst.load(str(tmp_path / "model.gguf"), offline=True) as model,
        pytest.raises(UsageError, match="Message 1"),
    ):
        model.chat(messages)


def test_several_threads_are_answered_at_the_same_time(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", REPLY)
    with (
        localfirst.load(str(tmp_path / "model.gguf"), offline=True, parallel=3) as model,
        ThreadPoolExecutor(6) as pool,
    ):
        assert model.plan.requests == 3
        found = list(pool.map(lambda count: model.chat("hi", max_tokens=count), range(1, 7)))
    assert [answer.usage.completion_tokens for answer in found] == list(range(1, 7))
    assert all(REPLY.startswith(answer.text) for answer in found)
    with pytest.raises(UsageError, match="at least 1"):
        localfirst.load(str(tmp_path / "model.gguf"), parallel=0)


def test_texts_become_vectors(tmp_path: Path) -> None:
    make_random_gguf(tmp_path / "model.gguf", Shape(), pooling="mean")
    make_gguf(tmp_path / "chat.gguf", REPLY)
    texts = [f"text {number}" for number in range(20)]
    with localfirst.load(str(tmp_path / "model.gguf"), offline=True) as model:
        vectors = model.embed(texts)
        assert model.embed("text 19")[0] == pytest.approx(vectors[19], abs=1e-5)
        assert model.plan.context_tokens == 1024
        with pytest.raises(UsageError, match="answers nothing"):
            model.chat("hi")
    assert {len(vector) for vector in vectors} == {64}
    assert len(set(vectors)) == len(texts)
    with (
        localfirst.load(str(tmp_path / "chat.gguf"), offline=True) as model,
        pytest.raises(UsageError, match="pooling"),
    ):
        model.embed("hi")
    with localfirst.load(str(tmp_path / "chat.gguf"), offline=True, pooling="last") as model:
        assert len(model.embed(["hi"])[0]) == 64


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        localfirst.load(str(tmp_path / "model.gguf"))
    with pytest.raises(UnknownNameError):
        localfirst.load("phi-5-huge")


def test_a_plan_and_a_probe_start_nothing() -> None:
    assert isinstance(localfirst.probe(), Machine)
    resolution = localfirst.plan("smollm2-360m")
    assert resolution.chosen.model.name == "smollm2-360m"
    assert resolution.chosen.verdict in {"cpu", "tight", "gpu"}


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = localfirst.laod


def test_a_schema_holds_one_answer_and_tools_come_back_as_calls(tmp_path: Path) -> None:
    need_engine("onnx")
    template = "{% if tools %}{{ tools | tojson }}{% endif %}{{ messages[-1].content }}{# <tool_call> #}"
    make_onnx(
        tmp_path / "model", 'Blue. <tool_call>{"name": "f", "arguments": {"n": 1}}</tool_call>', template=template
    )
    with localfirst.load(str(tmp_path / "model"), offline=True) as model:
        held = model.chat("hi", schema={"enum": ["red", "green"]})
        streamed = "".join(model.stream("hi", schema={"enum": ["red", "green"]}))
        asked = model.chat("hi", tools=[{"type": "function", "function": {"name": "f"}}])
        free = model.chat("hi")
        with pytest.raises(UsageError):
            model.chat("hi", schema={}, tools=[{"name": "f"}])
        with pytest.raises(UsageError, match="Tool 1 in `tools` has no name"):
            model.chat("hi", tools=[{"function": "f"}])
    assert {held.text, streamed} <= {'"red"', '"green"'}
    (call,) = asked.tool_calls
    assert (asked.text, call) == ("Blue.", ToolCall("f", '{"n": 1}', call.id))
    assert free.tool_calls == ()
    assert free.text.endswith("</tool_call>")


def test_a_result_goes_back_in_openai_s_form(tmp_path: Path) -> None:
    need_engine("onnx")
    template = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
        "{% for call in m.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endfor %}"
    )
    make_onnx(tmp_path / "model", 'Ok. <tool_call>{"name": "f"}</tool_call>', template=template)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    asked = {"role": "user", "content": "hi"}
    with localfirst.load(str(tmp_path / "model"), offline=True) as model:
        first = model.chat([asked], tools=tools, parallel_tool_calls=False)
        (call,) = first.tool_calls
        function = {"name": call.name, "arguments": call.arguments_json}
        said = {"role": "assistant", "content": None, "tool_calls": [{"id": call.id, "function": function}]}
        result = {"role": "tool", "tool_call_id": call.id, "content": "21°C"}
        second = model.chat([asked, said, result], tools=tools)
        none = model.chat([asked], tools=tools, tool_choice="none")
        for choice in ("required", "f", {"type": "function", "function": {"name": "f"}}):
            forced = model.chat([asked], tools=tools, tool_choice=choice)
            assert [(one.name, one.arguments_json) for one in forced.tool_calls] == [("f", "{}")]
        with pytest.raises(UsageError, match="no tool `g`"):
            model.chat([asked], tools=tools, tool_choice="g")
        with pytest.raises(UsageError, match="no tools are offered"):
            model.chat([asked], tool_choice="required")
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    assert none.tool_calls == ()

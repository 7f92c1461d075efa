"""A whole conversation with tools, and answers that have to be a call: the real engines on scripted models."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from tests.contract.worker.test_worker import BACKENDS, GREEDY, HI, make_load, read_all
from tests.fixtures.scripted import TEMPLATE

from localfirst.conversation import Answer, Message, TextDelta, ToolCall, ToolChoice
from localfirst.errors import ConstraintError, TemplateError, UsageError
from localfirst.worker import protocol
from localfirst.worker.client import Worker

COLOURS = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}
NUMBERS = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
ALLOWED = {"paint": [{"colour": "red"}, {"colour": "green"}], "count": [{"n": 1}, {"n": 2}]}


def offer(paint: dict, count: dict) -> tuple[dict, ...]:
    named = {"paint": paint, "count": count}
    return tuple({"type": "function", "function": {"name": name, "parameters": one}} for name, one in named.items())


TOOLS = offer(COLOURS, NUMBERS)
LISTED = offer(*({"type": "object", "enum": values} for values in ALLOWED.values()))
"""The same for xgrammar, which lets a scripted model write spaces between keys without end."""
TOOL_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}{{ '<|' + ('user' if m.role == 'tool' else m.role) + '|>' + m.content }}"
    "{% for call in m.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CALLS = '<tool_call>{"name": "paint", "arguments": {}}</tool_call> <tool_call>{"name": "count"}</tool_call> and more'
SAYS = "Blue, I think."
REQUIRED, FORCED = ToolChoice("required"), ToolChoice("required", "paint")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def ask(
    load: protocol.Load, *messages: Message, choice: ToolChoice, holds: bool = False, **options
) -> tuple[list[TextDelta | ToolCall], Answer]:
    with Worker(sys.executable) as worker:
        info = worker.load(load)
        if holds and "json_schema" not in info.constraints:
            pytest.skip(f"{info.engine} has nothing for it here")
        tools = LISTED if load.backend == "openvino" else TOOLS
        return read_all(worker.answer(protocol.Chat(messages or HI, GREEDY, tools=tools, choice=choice, **options)))


def test_a_result_goes_back_to_the_model_and_it_goes_on(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        worker.load(make_load(backend, tmp_path, text=f"Ok. {CALLS}", template=TOOL_TEMPLATE))
        _, asked = read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS)))
        results = [Message("tool", "done", tool_call_id=call.id, name=call.name) for call in asked.tool_calls]
        talk = (*HI, Message("assistant", asked.text, asked.tool_calls), *results)
        _, answer = read_all(worker.answer(protocol.Chat(talk, GREEDY, tools=TOOLS)))
    assert [call.name for call in asked.tool_calls] == ["paint", "count"]
    ids = [call.id for call in asked.tool_calls]
    assert len(set(ids)) == 2
    assert all(re.fullmatch("[A-Za-z0-9]{9}", one) for one in ids)
    assert answer.usage.prompt_tokens > asked.usage.prompt_tokens
    assert answer.text.startswith("Ok.")


def test_a_template_without_a_place_for_results_says_so_and_names_the_model(backend: str, tmp_path: Path) -> None:
    call = ToolCall("paint", "{}", "abcdefgh1")
    talk = (*HI, Message("assistant", "", (call,)), Message("tool", "done", tool_call_id=call.id))
    with Worker(sys.executable) as worker:
        load = make_load(backend, tmp_path, text=SAYS)
        worker.load(protocol.Load(load.backend, load.main, None, 1, "cpu", title="Tiny 1B"))
        with pytest.raises(TemplateError, match="Tiny 1B knows no calls and results"):
            read_all(worker.answer(protocol.Chat(talk, GREEDY)))
        with pytest.raises(TemplateError, match="Tiny 1B knows no tools"):
            read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS)))


@pytest.mark.parametrize(
    "sign",
    [
        "<tool_call>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS][ARGS]",
        "<|START_ACTION|>",
        "<|tool_calls_section_begin|>",
        "<|channel|>",
        "<tool_calls>",
    ],
)
def test_a_call_that_has_to_be_is_one_of_the_tools_and_fits_its_schema(tmp_path: Path, sign: str) -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE + f"{{# {sign} #}}"
    check_one_of_both(ask(make_load("onnx", tmp_path, text=SAYS, template=template), choice=REQUIRED)[1])


def test_every_engine_that_holds_answers_holds_calls(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=SAYS, template=TOOL_TEMPLATE)
    check_one_of_both(ask(load, choice=REQUIRED, holds=True)[1])


def check_one_of_both(answer: Answer) -> None:
    assert answer.text == answer.reasoning == ""
    (call,) = answer.tool_calls
    assert json.loads(call.arguments_json) in ALLOWED[call.name]
    assert answer.finish_reason == "stop"
    assert answer.usage.completion_tokens > 3


def test_a_named_tool_is_called_whatever_the_model_would_say(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=SAYS, template=TOOL_TEMPLATE)
    _, answer = ask(load, choice=FORCED, holds=True)
    (call,) = answer.tool_calls
    assert call.name == "paint"
    assert json.loads(call.arguments_json)["colour"] in {"red", "green"}


def test_the_thinking_before_a_call_is_free(backend: str, tmp_path: Path) -> None:
    template = TOOL_TEMPLATE + "{# <think> </think> #}"
    load = make_load(backend, tmp_path, text="<think>two plus two</think>It is four.", template=template)
    _, answer = ask(load, choice=FORCED, holds=True)
    assert answer.reasoning == "two plus two"
    assert (answer.text, [call.name for call in answer.tool_calls]) == ("", ["paint"])


def test_harmony_s_thinking_ends_where_its_channel_does(tmp_path: Path) -> None:
    text = "<|channel|>analysis<|message|>two plus two"
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE + "{# <|channel|> #}"
    load = make_load("onnx", tmp_path, text=text, template=template)
    _, answer = ask(load, choice=FORCED, holds=True)
    assert (answer.reasoning, answer.text) == ("two plus two", "")
    assert [call.name for call in answer.tool_calls] == ["paint"]


def test_an_engine_or_a_model_that_cannot_be_made_to_call_says_so(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=SAYS, template=TOOL_TEMPLATE + "{# <function= #}")
    with pytest.raises(ConstraintError, match="cannot be made to call"):
        ask(load, choice=REQUIRED)
    with pytest.raises(UsageError, match="no tool `sing`"):
        ask(load, choice=ToolChoice("required", "sing"))
    if backend == "litert":
        (tmp_path / "json").mkdir()
        load = make_load(backend, tmp_path / "json", text=SAYS, template=TOOL_TEMPLATE)
        with pytest.raises(ConstraintError, match="cannot hold an answer"):
            ask(load, choice=REQUIRED)


def test_a_call_that_is_cut_off_is_none(tmp_path: Path) -> None:
    load = make_load("onnx", tmp_path, text=SAYS, template=TOOL_TEMPLATE)
    for choice, text in (
        (FORCED, '<tool_call>\n{"name": "paint", "arguments": {'),
        (REQUIRED, '<tool_call>\n{"name": "'),
    ):
        _, answer = ask(load, choice=choice, max_tokens=1)
        assert (answer.finish_reason, answer.tool_calls) == ("length", ())
        assert answer.text.startswith(text)
        assert "arguments" not in answer.text or choice == FORCED


def test_a_call_has_no_more_tokens_than_were_asked_for(tmp_path: Path) -> None:
    load = make_load("onnx", tmp_path, text=SAYS, template=TOOL_TEMPLATE)
    with Worker(sys.executable) as worker:
        worker.load(load)
        whole = read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS, choice=REQUIRED)))[1]
        assert (whole.finish_reason, len(whole.tool_calls)) == ("stop", 1)
        for most in range(1, whole.usage.completion_tokens):
            cut = protocol.Chat(HI, GREEDY, tools=TOOLS, choice=REQUIRED, max_tokens=most)
            _, answer = read_all(worker.answer(cut))
            assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", most)
            assert answer.tool_calls == ()


def test_a_choice_of_none_offers_nothing(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        worker.load(make_load(backend, tmp_path, text=CALLS, template=TOOL_TEMPLATE))
        _, none = read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS, choice=ToolChoice("none"))))
        _, plain = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    assert (none.text, none.tool_calls) == (CALLS, ())
    assert none.usage.prompt_tokens == plain.usage.prompt_tokens


def test_one_call_at_a_time_ends_the_answer_after_the_first(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=f"Ok. {CALLS}", template=TOOL_TEMPLATE)
    _, answer = ask(load, choice=ToolChoice(parallel=False))
    assert [call.name for call in answer.tool_calls] == ["paint"]
    assert (answer.text, answer.finish_reason) == ("Ok.", "stop")

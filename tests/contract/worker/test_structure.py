"""Schemas and tools through the worker, with the real engines on scripted models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.contract.worker.test_worker import BACKENDS, GREEDY, HI, make_load, read_all
from tests.fixtures.scripted import TEMPLATE

from localfirst.conversation import Constraint, ToolCall
from localfirst.errors import ConstraintError, TemplateError
from localfirst.worker import protocol
from localfirst.worker.client import Worker

COLOUR = Constraint("json_schema", '{"enum": ["red", "green"]}')
TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}},)
TOOL_TEMPLATE = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE
THINKS = TEMPLATE + "{# <think> </think> #}"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def start(worker: Worker, load: protocol.Load, constraint: Constraint) -> None:
    info = worker.load(load)
    if constraint.kind not in info.constraints:
        pytest.skip(f"{info.engine} has nothing for it here")


def test_an_answer_is_held_to_a_schema_and_the_next_one_is_free(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        start(worker, make_load(backend, tmp_path, text="Blue, I think."), COLOUR)
        _, held = read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=COLOUR)))
        _, free = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
        _, text = read_all(worker.answer(protocol.Complete("abc", GREEDY, constraint=COLOUR)))
    assert json.loads(held.text) in {"red", "green"}
    assert json.loads(text.text) in {"red", "green"}
    assert free.text == "Blue, I think."


def test_the_thinking_before_a_held_answer_is_free(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="<think>two plus two</think>It is four.", template=THINKS)
    with Worker(sys.executable) as worker:
        start(worker, load, COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=COLOUR)))
    assert answer.reasoning == "two plus two"
    assert json.loads(answer.text) in {"red", "green"}
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens > 5


def test_thinking_that_the_prompt_opens_is_free_too(tmp_path: Path) -> None:
    template = THINKS.replace("'<|assistant|>'", "'<|assistant|><think>'")
    with Worker(sys.executable) as worker:
        start(worker, make_load("onnx", tmp_path, text="two plus two</think>It is four.", template=template), COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=COLOUR)))
    assert answer.reasoning == "two plus two"
    assert json.loads(answer.text) in {"red", "green"}


def test_a_model_that_could_think_and_does_not_is_held_from_its_first_word(tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        start(worker, make_load("onnx", tmp_path, text="It is four.", template=THINKS), COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=COLOUR)))
    assert answer.reasoning == ""
    assert json.loads(answer.text) in {"red", "green"}


def test_thinking_that_takes_all_tokens_is_cut_off(tmp_path: Path) -> None:
    load = make_load("onnx", tmp_path, text="<think>on and ", template=THINKS)
    with Worker(sys.executable) as worker:
        start(worker, load, COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, max_tokens=1, constraint=COLOUR)))
    assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("", "length", 1)


@pytest.mark.parametrize("most", [3, 4])
def test_an_answer_after_thinking_has_no_more_tokens_than_were_asked_for(
    backend: str, tmp_path: Path, most: int
) -> None:
    load = make_load(backend, tmp_path, text="<think>two plus two</think>It is four.", template=THINKS)
    with Worker(sys.executable) as worker:
        start(worker, load, COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, max_tokens=most, constraint=COLOUR)))
    assert answer.reasoning == "two plus two"
    assert len(answer.text) == most - 3  # the thinking has three tokens, and a letter or a quotation mark one
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", most)


def test_thinking_without_an_end_is_ended_for_the_model(tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        start(worker, make_load("onnx", tmp_path, text="<think>hm hmm", template=THINKS), COLOUR)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=COLOUR)))
    assert answer.reasoning == "hm hmm"
    assert json.loads(answer.text) in {"red", "green"}


def test_a_schema_that_is_refused_is_so_before_the_model_thinks(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="<think>two plus two</think>It is four.", template=THINKS)
    refused = Constraint("json_schema", '{"type": "nonsense"}')
    pieces = []
    with Worker(sys.executable) as worker:
        start(worker, load, refused)
        with pytest.raises(ConstraintError, match="does not take"):
            pieces.extend(worker.answer(protocol.Chat(HI, GREEDY, constraint=refused)))
    assert pieces == []


def test_what_the_engine_cannot_or_will_not_do_is_an_error_and_the_worker_goes_on(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        info = worker.load(make_load(backend, tmp_path, text="Fine, thanks."))
        for kind, text in (("json_schema", '{"type": "nonsense"}'), ("lark", "start: x"), ("gbnf", "root ::= x")):
            with pytest.raises(ConstraintError) as raised:
                read_all(worker.answer(protocol.Chat(HI, GREEDY, constraint=Constraint(kind, text))))
            cannot = kind not in info.constraints
            assert ("cannot hold" if cannot else "does not take") in raised.value.message
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    assert answer.text == "Fine, thanks."


def test_an_engine_that_lets_go_of_a_schema_is_found_out(backend: str, tmp_path: Path) -> None:
    endless = Constraint("json_schema", '{"$ref": "#"}')
    with Worker(sys.executable) as worker:
        start(worker, make_load(backend, tmp_path, text="No JSON at all."), endless)
        try:
            _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, max_tokens=50, constraint=endless)))
        except ConstraintError:
            return
    assert answer.finish_reason == "length"


def test_a_call_is_an_event_of_its_own(backend: str, tmp_path: Path) -> None:
    text = 'Let me see. <tool_call>{"name": "f", "arguments": {"q": "é"}}</tool_call>'
    load = make_load(backend, tmp_path, text=text, template=TOOL_TEMPLATE + "{# <tool_call> #}")
    with Worker(sys.executable) as worker:
        worker.load(load)
        pieces, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS)))
        _, plain = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    (call,) = answer.tool_calls
    assert (answer.text, call) == ("Let me see.", ToolCall("f", '{"q": "é"}', call.id))
    assert pieces[-1] == answer.tool_calls[0]
    assert (plain.text, plain.tool_calls) == (text, ())


def test_a_template_without_a_place_for_tools_says_so(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker:
        worker.load(make_load(backend, tmp_path, text="Fine, thanks."))
        with pytest.raises(TemplateError, match="knows no tools"):
            read_all(worker.answer(protocol.Chat(HI, GREEDY, tools=TOOLS)))

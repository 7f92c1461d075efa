"""Frames survive the wire, whatever is in them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.base import LoadedInfo
from localfirst.conversation import (
    Constraint,
    Embedding,
    Likely,
    Message,
    Sampling,
    Scores,
    ToolCall,
    ToolChoice,
    Usage,
    Weighed,
)
from localfirst.worker import protocol

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate is no text that UTF-8 carries
INFO = LoadedInfo(
    "onnx",
    "ONNX Runtime GenAI",
    "0.18.0",
    1024,
    "CPU",
    "cpu",
    1,
    None,
    "<s>",
    "</s>",
    constraints=("regex", "lark"),
    lacks=("min_p",),
)

REQUESTS = [
    protocol.Load("onnx", "/models/x", None, 2, "cpu"),
    protocol.Chat(
        (
            Message("user", "hi"),
            Message("assistant", "", (ToolCall("f", '{"a": "é"}', "abcdefgh1"), ToolCall("g", "{}", "abcdefgh2"))),
            Message("tool", "21°C", tool_call_id="abcdefgh1", name="f"),
        ),
        Sampling(temperature=0, seed=3),
        12,
        ("\n",),
        {"enable_thinking": False},
        tools=({"type": "function", "function": {"name": "f"}},),
        choice=ToolChoice("required", "f", parallel=False),
    ),
    protocol.Complete(
        "once", Sampling(min_p=0.1, logit_bias=((3, -1e4), (0, 0.5))), constraint=Constraint("regex", "é+")
    ),
    pytest.param(
        protocol.Complete((1, 5, 7), Sampling(0), max_tokens=3, ignore_end=True, likeliest=5), id="Complete of ids"
    ),
    protocol.Count(protocol.Chat((Message("user", "hi"),), Sampling(0), choice=ToolChoice("none"))),
    protocol.Tokenize("hi"),
    protocol.Embed(("hi", "", "漢\u2028")),
    protocol.Score((3, 1, 2), 64),
    protocol.Cancel(7),
]
EVENTS = [
    protocol.Loaded(INFO),
    protocol.Started(11),
    protocol.Text("é漢😀\u2028", reasoning=True),
    pytest.param(
        protocol.Text(
            "é", False, (Weighed(Likely(7, (195, 169), -0.5), (Likely(3, None, -0.25), Likely(4, (), -9.0))),)
        ),
        id="Text of tokens",
    ),
    protocol.Called(ToolCall("get_weather", '{"city": "Köln"}', "abcdefgh1")),
    protocol.Finished("length", Usage(11, 12, 3), 0.5, None),
    pytest.param(protocol.Finished("stop", Usage(11, 12, 3), 0.5, None, "END"), id="Finished by a stop string"),
    protocol.Counted(11),
    protocol.Tokens((3, 1, 2)),
    protocol.Embedded((Embedding((0.6, -0.8), 3), Embedding((1.0, 0.0), None))),
    protocol.Scored(Scores((-0.5, -12.25), (((7, -0.5), (3, -1.0)), ((7, -0.25),)))),
    protocol.Failed("context", "too long", None, "shorter"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda value: type(value).__name__)
def test_a_request_comes_back_as_it_was(request_: protocol.Request) -> None:
    assert protocol.decode_request(protocol.encode(request_, 5)) == (5, request_)


@pytest.mark.parametrize("event", EVENTS, ids=lambda value: type(value).__name__)
def test_an_event_comes_back_as_it_was(event: protocol.Event) -> None:
    assert protocol.decode_event(protocol.encode(event, 5)) == (5, event)


@given(TEXTS)
def test_any_text_is_one_line_and_comes_back(text: str) -> None:
    frame = protocol.encode(protocol.Text(text, reasoning=False), 1)
    assert frame.count(b"\n") == 1
    assert protocol.decode_event(frame) == (1, protocol.Text(text, reasoning=False))


def test_a_lone_surrogate_does_not_break_the_wire() -> None:
    frame = protocol.encode(protocol.Text("a\ud800b", reasoning=False), 1)
    assert protocol.decode_event(frame) == (1, protocol.Text("a?b", reasoning=False))


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'"text"', b'{"id": 1}', b'{"event": "text"}', b'{"event": "dance", "id": 1}', b"\xff\n"],
)
def test_what_is_no_frame_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own errors are ValueErrors too
        protocol.decode_event(line)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda child: st.lists(child) | st.dictionaries(st.text(), child)
    )
)
def test_foreign_json_is_never_another_error(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        protocol.decode_event(json.dumps(value).encode())

"""Which tokens are told with an answer's text, whatever its reader holds back or takes out."""

from __future__ import annotations

import pytest

from localfirst.backends.base import Piece
from localfirst.backends.text import Pieces
from localfirst.chat.calls import AnswerReader
from localfirst.conversation import Likely, TextDelta, Weighed
from localfirst.worker.telling import Telling

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


def weigh(text: str) -> Weighed:
    return Weighed(Likely(0, tuple(text.encode()), -0.5))


def tell(template: str, tokens: list[str], *, tools: bool = False) -> list[tuple[str, list[str]]]:
    """Each piece of the answer with the texts of its tokens."""
    reader, telling = AnswerReader(template, "", (TOOL,) if tools else ()), Telling()
    deltas = [one for token in tokens for one in telling.feed(Piece(token, weighed=(weigh(token),)), reader)]
    deltas += telling.flush(reader)
    assert not any(one.weighed for one in deltas if isinstance(one, TextDelta) and one.reasoning)
    return [
        (one.text, [bytes(each.drawn.spelled or ()).decode() for each in one.weighed])
        for one in deltas
        if isinstance(one, TextDelta) and not one.reasoning
    ]


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (["a", "b", " c"], ["a", "b", " c"]),
        (["<think>", "hm", "</think>", "\n\n", "a", "b"], ["a", "b"]),
        (["<", "think", ">", "hm", "</", "think", ">", "a", "b"], ["a", "b"]),
        (["<", "thin", " air"], ["<", "thin", " air"]),
        (["<think>", "hm", "</think>\na", "b"], ["</think>\na", "b"]),
        (["<think>", "hm", "</think>\n<", "b"], ["</think>\n<", "b"]),
    ],
    ids=["plain", "markers", "markers of several tokens", "no marker", "a token with both", "both, one held back"],
)
def test_thinking_and_its_markers_are_not_told(tokens: list[str], told: list[str]) -> None:
    pieces = tell("<think> </think>", tokens)
    assert [one for _, texts in pieces for one in texts] == told


def test_a_call_is_not_told_and_text_that_only_looked_like_one_is() -> None:
    cut = [CALL[:4], CALL[4:20], CALL[20:]]
    pieces = tell("<tool_call>", ["a", " b", " ", *cut], tools=True)
    assert "".join(text for text, _ in pieces) == "a b"
    assert [one for _, texts in pieces for one in texts] == ["a", " b"]
    pieces = tell("<tool_call>", ["a", " <tool", " kit>"], tools=True)
    assert [one for _, texts in pieces for one in texts] == ["a", " <tool", " kit>"]
    assert "".join(text for text, _ in pieces) == "a <tool kit>"


def test_a_token_comes_with_the_text_that_it_begins_with() -> None:
    assert tell("<think> </think>", ["one", " two"]) == [("one", ["one"]), (" two", [" two"])]


def test_tokens_up_to_a_stop_string_are_told() -> None:
    pieces = Pieces(("END",))
    fed = [pieces.feed(text, weigh(text)) for text in ("a", "bE", "N", "x", "E", "ND", "later")]
    told = [(one.text, [bytes(each.drawn.spelled or ()) for each in one.weighed]) for one in fed if one is not None]
    assert told == [("a", [b"a"]), ("b", [b"bE"]), ("ENx", [b"N", b"x"])]
    assert (pieces.flush(), pieces.matched, pieces.word) == (None, True, "END")


def test_tokens_without_a_text_are_told_in_the_end() -> None:
    pieces = Pieces(())
    assert pieces.feed("", weigh("x")) is None
    rest = pieces.flush()
    assert rest is not None
    assert (rest.text, len(rest.weighed)) == ("", 1)

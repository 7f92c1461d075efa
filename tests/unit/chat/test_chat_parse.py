import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.chat.parse import FORMATS, ReasoningSplitter, find_format
from localfirst.conversation import TextDelta

BY_NAME = {row.name: row for row in FORMATS}


def read_template(name):
    return (Path(__file__).parent / "templates" / f"{name}.jinja").read_text("utf-8")


def split(form, pieces, prompt=""):
    """What comes out for these pieces, neighbours of one kind joined: [(reasoning, text), ...]."""
    splitter = ReasoningSplitter(BY_NAME.get(form), prompt)
    deltas = [delta for piece in pieces for delta in splitter.feed(piece)] + splitter.flush()
    assert all(delta.text for delta in deltas)
    groups = itertools.groupby(deltas, key=lambda delta: delta.reasoning)
    return [(reasoning, "".join(delta.text for delta in group)) for reasoning, group in groups]


ANSWERS = [
    pytest.param(None, "", "a <think> b", [(False, "a <think> b")], id="no-format"),
    pytest.param(None, "", " \n", [(False, " \n")], id="no-format-only-whitespace"),
    pytest.param("think", "", "<think>\nhm\n</think>\n\nYes", [(True, "hm"), (False, "Yes")], id="think"),
    pytest.param("think", "", "\n<think>hm</think>Yes", [(True, "hm"), (False, "Yes")], id="whitespace-first"),
    pytest.param("think", "", "<think>\n\n</think>\n\nYes", [(False, "Yes")], id="empty-thinking"),
    pytest.param("think", "", "</think>Yes", [(False, "Yes")], id="closing-only"),
    pytest.param("think", "", "Yes", [(False, "Yes")], id="no-thinking"),
    pytest.param("think", "", "  Yes \n", [(False, "  Yes \n")], id="whitespace-of-an-answer-is-kept"),
    pytest.param("think", "", " \n ", [(False, " \n ")], id="only-whitespace"),
    pytest.param("think", "", "Write <think> first", [(False, "Write <think> first")], id="quoted-in-the-answer"),
    pytest.param(
        "think", "", "<think>a <think> b</think>c</think>", [(True, "a <think> b"), (False, "c</think>")], id="quoted"
    ),
    pytest.param("think", "", "<think>cut off \n", [(True, "cut off")], id="never-closed"),
    pytest.param("think", "", "<think>a</thi", [(True, "a</thi")], id="half-a-tag-at-the-end"),
    pytest.param("think", "", "<thi", [(False, "<thi")], id="half-an-opening-at-the-end"),
    pytest.param("think", "", "<think>", [], id="nothing-but-a-tag"),
    pytest.param(
        "think",
        "<|im_start|>assistant\n<think>\n",
        "hm\n</think>\n\nYes",
        [(True, "hm"), (False, "Yes")],
        id="opened-by-the-prompt",
    ),
    pytest.param(
        "think", "assistant\n<think>", "<think>hm</think>Yes", [(True, "hm"), (False, "Yes")], id="opened-twice"
    ),
    pytest.param("think", "<think>\n\n</think>\n\n", "Yes", [(False, "Yes")], id="closed-by-the-prompt"),
    pytest.param("mistral", "", "[THINK]hm[/THINK]Yes", [(True, "hm"), (False, "Yes")], id="mistral"),
    pytest.param("seed", "", "<seed:think>hm</seed:think>Yes", [(True, "hm"), (False, "Yes")], id="seed"),
    pytest.param("minimax", "", "</mm:think>Yes", [(False, "Yes")], id="minimax"),
    pytest.param(
        "inner", "", "a<|inner_prefix|>b<|inner_suffix|>c", [(False, "a"), (True, "b"), (False, "c")], id="inner"
    ),
    pytest.param(
        "gemma-channel", "", "<|channel>thought\nhm\n<channel|>Yes", [(True, "hm"), (False, "Yes")], id="gemma"
    ),
    pytest.param("gemma-channel", "<|channel>thought\n<channel|>", "Yes", [(False, "Yes")], id="gemma-closed"),
    pytest.param(
        "harmony",
        "<|start|>assistant",
        "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis<|message|>two<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Yes.\n<|return|>",
        [(True, "one\n\ntwo"), (False, "Yes.\n")],
        id="harmony",
    ),
    pytest.param("harmony", "", "<|channel|>final<|message|>Yes", [(False, "Yes")], id="harmony-final-only"),
    pytest.param("harmony", "", "plain", [(False, "plain")], id="harmony-plain"),
]


@pytest.mark.parametrize(("form", "prompt", "text", "parts"), ANSWERS)
def test_thinking_and_answer_come_apart(form, prompt, text, parts):
    assert split(form, [text], prompt) == parts


@pytest.mark.parametrize(("form", "prompt", "text", "parts"), ANSWERS)
def test_character_by_character_gives_the_same(form, prompt, text, parts):
    assert split(form, list(text), prompt) == parts


PIECES = st.sampled_from(
    ["<think>", "</think>", "<thi", "nk>", "</", " ", "\n\n", "word", "<", "[THINK]", "[/THINK]", "<|end|>", "é"]
    + [marker for row in FORMATS for marker, _ in row.markers]
)


@given(
    form=st.sampled_from([None, *BY_NAME]),
    opened=st.booleans(),
    text=st.lists(PIECES, max_size=12).map("".join),
    data=st.data(),
)
def test_any_cut_of_the_text_gives_the_same(form, opened, text, data):
    prompt = BY_NAME[form].markers[0][0] if form and opened else ""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    assert split(form, pieces, prompt) == split(form, [text], prompt)


@given(st.text())
def test_without_a_format_every_character_comes_through_at_once(text):
    splitter = ReasoningSplitter(None)
    assert splitter.feed(text) == ([TextDelta(text)] if text else [])
    assert splitter.flush() == []


def test_text_that_cannot_be_a_marker_is_not_held_back():
    splitter = ReasoningSplitter(BY_NAME["think"])
    assert splitter.feed("<think>") == []
    assert splitter.feed("so <b") == [TextDelta("so <b", reasoning=True)]
    assert splitter.feed(" x</th") == [TextDelta(" x", reasoning=True)]
    assert splitter.feed("e") == [TextDelta("</the", reasoning=True)]
    assert splitter.feed("</think>1 < 2 <") == [TextDelta("1 < 2 <")]
    assert splitter.feed("think>") == [TextDelta("think>")]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(read_template("llama-3"), None, id="llama-3"),
        pytest.param(read_template("chatml"), "think", id="qwen-3-style"),
        pytest.param("{{ '<|start|>assistant<|channel|>final<|message|>' }}", "harmony", id="harmony"),
        pytest.param("{% for part in text.split('<channel|>') %}", "gemma-channel", id="gemma-4-style"),
        pytest.param("{{ '[THINK]' + m.reasoning + '[/THINK]' }}", "mistral", id="mistral"),
    ],
)
def test_the_template_gives_the_format_away(template, name):
    form = find_format(template)
    assert (form and form.name) == name

"""Foreign text cannot drive a terminal, however it is cut into pieces, and honest text is not touched."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.terminal import InertStream, make_inert

BIDI_CONTROLS = set(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))

fragments = st.sampled_from(
    [
        "\x1b",
        "[",
        "]",
        "52;c;",
        "P",
        "\\",
        "\x07",
        "\x9b",
        "\x9c",
        "\x9d",
        "31m",
        ";",
        "(",
        "\r",
        "\n",
        "\t",
        "\x18",
        "a",
    ]
)
wild_text = st.lists(fragments | st.text(alphabet=st.characters(), max_size=4), max_size=30).map("".join)
plain_text = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=BIDI_CONTROLS) | st.sampled_from("\n\t")
)


@st.composite
def pieces(draw: st.DrawFn) -> list[str]:
    text = draw(wild_text)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def feed(texts: list[str]) -> str:
    stream = InertStream()
    return "".join(map(stream.feed, texts))


@given(pieces())
def test_nothing_that_a_terminal_acts_on_gets_through(texts: list[str]) -> None:
    shown = feed(texts)
    assert [one for one in shown if unicodedata.category(one) in {"Cc", "Cs"} and one not in "\n\t"] == []
    assert BIDI_CONTROLS.isdisjoint(shown)


@given(pieces())
def test_pieces_show_what_the_whole_shows(texts: list[str]) -> None:
    assert feed(texts) == make_inert("".join(texts))


@given(plain_text)
def test_plain_text_is_unchanged(text: str) -> None:
    assert make_inert(text) == text


@given(wild_text)
def test_inert_text_stays_as_it_is(text: str) -> None:
    assert make_inert(make_inert(text)) == make_inert(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\x1b[31mred\x1b[0m", "ared", id="colours"),
        pytest.param("a\x1b[2J\x1b[Hb", "ab", id="clear screen"),
        pytest.param("a\x1b]52;c;cm0gLXJm\x07b", "ab", id="clipboard ended by BEL"),
        pytest.param("a\x1b]52;c;cm0gLXJm\x1b\\b", "ab", id="clipboard ended by ST"),
        pytest.param("a\x9d0;title\x9cb", "ab", id="title in C1"),
        pytest.param("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb", id="hyperlink"),
        pytest.param("a\x1bPq#0;2;0;0\x1b\\b", "ab", id="device control string"),
        pytest.param("a\x1b_G f=100;AAAA\x1b\\b", "ab", id="application program command"),
        pytest.param("a\x9b6nb", "ab", id="C1 status report"),
        pytest.param("a\x1b(0b", "ab", id="character set"),
        pytest.param("a\x1bcb", "ab", id="reset"),
        pytest.param("a\x1b]0;never closed\nnext line", "a\nnext line", id="a string ends with its line"),
        pytest.param("a\x1b[31\nb", "a\nb", id="a line's end aborts a sequence"),
        pytest.param("a\x1b\x1b[31mb", "ab", id="escape twice"),
        pytest.param("safe\rFAKE\b\b\x00\x7f", "safeFAKE", id="carriage return, backspace, null, delete"),
        pytest.param("one\r\ntwo\tthree", "one\ntwo\tthree", id="line ends and tabs"),
        pytest.param("if (\u202e\u2066admin\u2069\u202c)", "if (admin)", id="bidirectional override and isolate"),
        pytest.param("half \ud83d emoji", "half \ufffd emoji", id="lone surrogate"),
        pytest.param("a\x1b", "a", id="ends in escape"),
    ],
)
def test_sequences_vanish_whole(text: str, shown: str) -> None:
    assert make_inert(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u05e9\u05dc\u05d5\u05dd \u200f\u05e2\u05d5\u05dc\u05dd\u200e", id="Hebrew with direction marks"),
        pytest.param("\u0645\u0631\u062d\u0628\u0627", id="Arabic"),
        pytest.param("\U0001f469\u200d\U0001f469\u200d\U0001f467", id="family emoji with joiners"),
        pytest.param("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", id="flag made of tags"),
        pytest.param("\u2764\ufe0f na\u00efve \u65e5\u672c\u8a9e", id="variation selector, accents, wide"),
        pytest.param("a\u00a0b\u2028c", id="spaces"),
    ],
)
def test_every_script_is_kept(text: str) -> None:
    assert make_inert(text) == text


def test_a_flushed_stream_forgets_the_sequence_it_was_in() -> None:
    stream = InertStream()
    shown = stream.feed("a\x1b]0;tit")
    stream.flush()
    assert shown + stream.feed("next") == "anext"

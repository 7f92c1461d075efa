import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.cli.screen import measure
from localfirst.cli.wordwrap import WordWrap


def look(text):
    """What a terminal shows of the text, line by line: it obeys "back by N" and "erase to the line's end"."""
    lines = [""]
    for plain, back in re.findall(r"([^\x1b]+)|\x1b\[(\d+)D\x1b\[K", text):
        if back:
            lines[-1] = erase(lines[-1], int(back))
        first, *more = plain.split("\n")
        lines[-1] += first
        lines += more
    return [line.rstrip() for line in lines]


def erase(line, columns):
    """The line without its last columns; an accent goes with the letter that it stands on."""
    assert measure(line) >= columns > 0
    while columns:
        columns -= measure(line[-1])
        line = line[:-1]
    return line


def wrap(text, width, pieces=()):
    """What is seen of the text when it comes in pieces of the given lengths, and then the rest."""
    stream, written, at = WordWrap(width), [], 0
    for length in pieces:
        written.append(stream.feed(text[at : at + length]))
        at += length
    return look("".join([*written, stream.feed(text[at:])]))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("one two three", ["one two", "three"], id="between words"),
        pytest.param("one two\nthree four", ["one two", "three four"], id="lines that fit stay"),
        pytest.param("- a  b", ["- a  b"], id="gaps inside a line stay"),
        pytest.param("a bcdefghijklm op", ["a", "bcdefghijklm", "op"], id="a word too wide is left to the terminal"),
        pytest.param("ab 一二三四五", ["ab 一二三", "四五"], id="wide characters break anywhere"),
        pytest.param(
            "```\na long line of code\n```\none two three four",
            ["```", "a long line of code", "```", "one two", "three four"],
            id="code stays as it is",
        ),
        pytest.param("a ``` b\nlong line x", ["a ``` b", "long line", "x"], id="a fence begins a line"),
        pytest.param(
            "one two ```\nlong line x", ["one two", "```", "long line", "x"], id="not one that was broken off"
        ),
        pytest.param("one two            three", ["one two", "three"], id="a gap at the edge is the break"),
        pytest.param("", [""], id="nothing"),
    ],
)
@pytest.mark.parametrize("pieces", [(), (1,) * 40], ids=["whole", "letter by letter"])
def test_prose_is_broken_between_words(text, seen, pieces):
    assert wrap(text, 11, pieces) == seen


def test_nothing_is_held_back():
    stream = WordWrap(80)
    assert [stream.feed(piece) for piece in ("begun", " ", ".", ".")] == ["begun", " ", ".", "."]


def test_a_word_that_does_not_fit_is_taken_back():
    stream = WordWrap(11)
    assert [stream.feed(piece) for piece in ("one two th", "ree")] == ["one two th", "\x1b[2D\x1b[K\nthree"]


def test_a_text_after_another_begins_a_line_outside_of_code():
    stream = WordWrap(11)
    stream.feed("```\ncode that")
    stream.finish()
    assert look(stream.feed("one two three")) == ["one two", "three"]


words = st.text(st.sampled_from("ab ÿ一\u0301`~\n-"), max_size=60)


@given(words, st.integers(4, 20), st.lists(st.integers(0, 5), max_size=20))
def test_how_the_text_is_cut_into_pieces_changes_nothing(text, width, pieces):
    assert wrap(text, width, pieces) == wrap(text, width)


@given(words, st.integers(4, 20))
def test_only_gaps_become_line_ends(text, width):
    seen = wrap(text, width)
    assert "".join("".join(seen).split()) == "".join(text.split())
    assert len(seen) > text.count("\n")


@given(st.text(st.sampled_from("ab c一"), max_size=60), st.integers(4, 20))
def test_no_line_of_words_that_fit_reaches_the_last_column(text, width):
    if max((measure(word) for word in text.split()), default=0) < width:
        assert max(measure(line) for line in wrap(text, width)) < width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.cli.screen import measure
from localfirst.cli.wordwrap import WordWrap


def wrap(text, width, pieces=None):
    """The text as it is shown when it comes in pieces of the given lengths (one piece by default)."""
    stream, shown, at = WordWrap(width), [], 0
    for length in pieces or ():
        shown.append(stream.feed(text[at : at + length]))
        at += length
    return "".join([*shown, stream.feed(text[at:]), stream.flush()])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("one two three", "one two\nthree", id="between words"),
        pytest.param("one two\nthree four", "one two\nthree four", id="lines that fit stay"),
        pytest.param("- a  b", "- a  b", id="gaps inside a line stay"),
        pytest.param("abcdefghijklmn op", "abcdefghijklmn\nop", id="a word too wide is left to the terminal"),
        pytest.param("abcdefghijklmnopqrstuvwxyz a", "abcdefghijklmnopqrstuvwxyz\na", id="however wide"),
        pytest.param("ab 一二三四五", "ab 一二三\n四五", id="wide characters break anywhere"),
        pytest.param("```\na long line of code\n```\none two three", "```\na long line of code\n```\none two\nthree",
                     id="code stays as it is"),
        pytest.param("a ``` b long line", "a ``` b\nlong line", id="a fence begins a line"),
        pytest.param("end  ", "end  ", id="nothing is lost at the end"),
        pytest.param("", "", id="nothing"),
    ],
)  # fmt: skip
def test_prose_is_broken_between_words(text, shown):
    assert wrap(text, 10) == shown


words = st.text(st.sampled_from("ab ÿ一\u0301`~\n\t-"), max_size=60)


@given(words, st.integers(4, 20), st.lists(st.integers(0, 5), max_size=20))
def test_how_the_text_is_cut_into_pieces_changes_nothing(text, width, pieces):
    assert wrap(text, width, pieces) == wrap(text, width)


@given(words, st.integers(4, 20))
def test_only_gaps_become_line_ends(text, width):
    def squeeze(text):
        return "".join(text.split())

    shown = wrap(text, width)
    assert squeeze(shown) == squeeze(text)
    assert shown.count("\n") >= text.count("\n")


@given(st.text(st.sampled_from("ab c一"), max_size=60), st.integers(4, 20))
def test_no_line_of_words_that_fit_is_wider_than_the_screen(text, width):
    if max((measure(word) for word in text.replace("一", " ").split()), default=0) < width:
        assert max(measure(line) for line in wrap(text.strip(), width).split("\n")) <= width

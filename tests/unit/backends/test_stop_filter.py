from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.text import StopFilter


def run(stop: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    stop_filter = StopFilter(stop)
    shown = "".join(stop_filter.feed(piece) for piece in pieces)
    return shown + stop_filter.flush(), stop_filter.matched


@pytest.mark.parametrize(
    ("stop", "pieces", "expected"),
    [
        ((), ["all ", "of it"], ("all of it", False)),
        (("",), ["all"], ("all", False)),
        (("END",), ["text EN", "D more"], ("text ", True)),
        (("END",), ["text E", "N", "D"], ("text ", True)),
        (("END",), ["EENEND"], ("EEN", True)),
        (("END",), ["text EN"], ("text EN", False)),
        (("b", "abc"), ["abc"], ("a", True)),
        (("abc", "bc"), ["xabc"], ("x", True)),
        (("aab",), ["aaab"], ("a", True)),
        (("\n\n",), ["one\n", "two\n", "\nthree"], ("one\ntwo", True)),
    ],
    ids=[
        "none",
        "empty word",
        "across two",
        "across three",
        "after false starts",
        "only begun",
        "complete first wins",
        "longer of two ends",
        "overlapping start",
        "newlines",
    ],
)
def test_text_passes_up_to_the_first_complete_match(
    stop: tuple[str, ...], pieces: list[str], expected: tuple[str, bool]
) -> None:
    assert run(stop, pieces) == expected


def test_the_word_that_was_met_is_told() -> None:
    stop_filter = StopFilter(("END", "STOP"))
    assert stop_filter.word is None
    stop_filter.feed("x STOP END")
    assert stop_filter.word == "STOP"


def test_only_what_may_become_a_match_is_held_back() -> None:
    stop_filter = StopFilter(("STOP",))
    assert [stop_filter.feed(piece) for piece in ("hello S", "T", "ART", " ST", "OP", "more")] == [
        "hello ",
        "",
        "START",
        " ",
        "",
        "",
    ]


letters = st.text(alphabet="ab", min_size=1, max_size=4)


@given(st.lists(letters, max_size=3), st.lists(letters, max_size=12))
def test_where_pieces_are_cut_does_not_matter(stop: list[str], pieces: list[str]) -> None:
    assert run(tuple(stop), pieces) == run(tuple(stop), list("".join(pieces)))


@given(st.lists(letters, max_size=3), st.lists(letters, max_size=12))
def test_what_is_shown_starts_the_text_and_has_no_stop_string(stop: list[str], pieces: list[str]) -> None:
    shown, matched = run(tuple(stop), pieces)
    text = "".join(pieces)
    assert text.startswith(shown)
    assert matched == any(word in text for word in stop)
    assert not any(word in shown for word in stop)
    assert matched or shown == text

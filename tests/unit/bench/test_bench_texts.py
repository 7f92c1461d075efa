from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.bench import texts
from localfirst.errors import UsageError


@given(st.integers(0, 500), st.text(max_size=9))
def test_words_are_so_many_and_the_same_for_a_seed(count: int, seed: str) -> None:
    words = texts.draw_words(count, seed).split()
    assert len(words) == count
    assert set(words) <= set(texts.WORDS)
    assert texts.draw_words(count, seed).split() == words


def test_two_seeds_differ_from_the_first_words_on() -> None:
    begins = {texts.draw_words(100, str(seed))[:16] for seed in range(200)}
    assert len(begins) > 190


@pytest.mark.parametrize("name", texts.SCENARIOS)
def test_a_scenario_has_about_its_length_and_another_text_each_time(name: str) -> None:
    one, other = (texts.make_scenario(name, seed) for seed in "12")
    assert one != other
    assert one == texts.make_scenario(name, "1")
    assert abs(len(one) - len(other)) < 0.1 * len(one)
    assert len(one.split()) >= texts.SCENARIOS[name][0]


def test_the_code_is_code() -> None:
    code = texts.make_scenario("code", "3").split("```")[1].removeprefix("python\n")
    assert len(ast.parse(code).body) == 50


def test_an_empty_text_is_none() -> None:
    with pytest.raises(UsageError, match="no text"):
        texts.check_text("x.txt", " \n")

"""The order in which revisions were current: pure decisions on what is there and what was chosen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.errors import UnknownNameError
from localfirst.store.revisions import Choice, History, advance, arrange, find_target, parse_choices
from localfirst.types import InstalledModel

FILE = {"schema": "lf.revisions/1", "models": {"tiny": {"q4_0": {"order": ["r@a"], "current": "r@a", "pinned": True}}}}


def make(letter: str, created: int = 0) -> InstalledModel:
    return InstalledModel(
        "tiny", "q4_0", "gguf", None, "huggingface", "org/model", letter * 40, "/", (), f"2026-11-{created + 10}"
    )


A, B, C, D = (make(letter, day) for day, letter in enumerate("abcd"))


def choose(*models: InstalledModel, current: InstalledModel, pinned: bool = False) -> Choice:
    return Choice(tuple(f"org/model@{one.revision}" for one in models), f"org/model@{current.revision}", pinned)


ARRANGED = {
    "nothing chosen": (Choice(), (B, A), History((A, B), B)),
    "an older one chosen": (choose(A, B, current=A), (A, B), History((A, B), A)),
    "an order that is not that of age": (choose(B, A, current=A, pinned=True), (A, B), History((B, A), A, True)),
    "the chosen one is gone": (choose(A, B, C, current=C, pinned=True), (A, B), History((A, B), B)),
    "the chosen one is gone, and the newest is not the last": (
        choose(B, A, C, current=C),
        (A, B),
        History((A, B), B),
    ),
    "one that nobody chose": (choose(B, C, current=C), (A, B, C), History((A, B, C), C)),
    "another repository's": (
        Choice(("other/model@" + "b" * 40,), "other/model@" + "b" * 40),
        (A, B),
        History((A, B), B),
    ),
}


@pytest.mark.parametrize("case", ARRANGED)
def test_a_history_is_what_is_there_in_the_order_that_was_chosen(case: str) -> None:
    choice, models, expected = ARRANGED[case]
    assert arrange(models, choice) == expected


def test_models_of_the_same_second_have_one_order() -> None:
    twins = (make("e"), make("f"))
    assert arrange(twins, Choice()) == arrange(twins[::-1], Choice())


def test_what_becomes_current_stands_behind_what_was() -> None:
    history = arrange((A, B, C), choose(A, B, C, current=C))
    back = history._replace(current=A)
    assert advance(back, C) == History((B, A, C), C)
    assert advance(back, C).previous == A
    assert advance(history._replace(models=(A, B, C, D)), D) == History((A, B, C, D), D)
    assert advance(history, C) is history


def test_a_pin_is_not_moved_by_what_arrives() -> None:
    history = History((A, B, C), B, pinned=True)
    assert advance(history, C) == History((A, C, B), B, pinned=True)


@pytest.mark.parametrize(("history", "steps"), [(History((A, B, C), C), [B, A]), (History((A, B, C), B), [A])])
def test_going_back_goes_further_back_and_ends(history: History, steps: list[InstalledModel]) -> None:
    for step in steps:
        history = history._replace(current=find_target(history))
        assert history.current == step
    with pytest.raises(UnknownNameError, match="no earlier revision"):
        find_target(history)


def test_a_revision_is_named_by_how_it_begins() -> None:
    history = History((A, B), B)
    assert find_target(history, "AAA") == A
    for unknown in ("c", ""):
        with pytest.raises(UnknownNameError):
            find_target(history, unknown)
    twins = (A, A._replace(repo="org/other"))
    with pytest.raises(UnknownNameError, match="several"):
        find_target(History(twins, A), "a")


DAMAGED = {
    "empty": "",
    "no object": "[]",
    "deep": "[" * 100_000,
    "another schema": '{"schema": "lf.revisions/9", "models": {}}',
    "no models": '{"schema": "lf.revisions/1", "models": []}',
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_record_chooses_nothing(case: str) -> None:
    choices, damage = parse_choices(DAMAGED[case])
    assert (choices, damage is not None) == ({}, True)


@pytest.mark.parametrize("bad", [None, {}, {"order": "x"}, {"order": [1], "current": "r@a", "pinned": False}])
def test_what_is_damaged_takes_nothing_else_with_it(bad: object) -> None:
    models = {**FILE["models"], "other": {"q8_0": bad}}  # type: ignore[dict-item]
    choices, damage = parse_choices(json.dumps(FILE | {"models": models}))
    assert choices == {("tiny", "q4_0"): Choice(("r@a",), "r@a", True)}
    assert damage is not None


@given(st.text())
def test_any_text_is_read_or_called_damaged(text: str) -> None:
    choices, damage = parse_choices(text)
    assert choices == {}
    assert damage


models = st.permutations([A, B, C, D]).map(lambda found: found[:3])


@given(models, st.lists(st.one_of(st.just("back"), st.sampled_from([A, B, C, D])), max_size=12))
def test_whatever_is_done_every_revision_stays_and_one_of_them_is_current(
    found: list[InstalledModel], steps: list[object]
) -> None:
    history = arrange(found, Choice())
    for step in steps:
        before = history.current
        if step == "back":
            history = history._replace(current=history.previous or before)
        elif step in found:
            history = advance(history, step)  # type: ignore[arg-type]
            assert history.current == step
            assert before in (step, history.previous)
        assert sorted(history.models) == sorted(found)
        assert history.current in found

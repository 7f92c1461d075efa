from __future__ import annotations

import random
from math import isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.benches import BENCHES, READ, WRITE, make_bench, make_series

from localfirst.bench.compare import FIGURES, compare, find_margin, find_t, find_worse
from localfirst.bench.values import Workload

STEADY = (100.0, 101.0, 99.0, 100.5, 99.5)


def change_of(before, after, name: str = "generating"):
    (pair,) = compare(make_bench(before), make_bench(after)).pairs
    return next(one for one in pair.changes if one.figure.name == name)


def scale(rates, factor: float):
    return tuple(rate * factor for rate in rates)


@pytest.mark.parametrize(
    ("factor", "generating", "waiting"),
    [(0.9, "slower", "slower"), (1.0, "within noise", "within noise"), (1.1, "faster", "faster")],
)
def test_a_rate_that_falls_and_a_wait_that_grows_are_slower(factor: float, generating: str, waiting: str) -> None:
    changed = change_of(make_series(WRITE, STEADY), make_series(WRITE, scale(STEADY, factor)))
    assert (changed.verdict, round(changed.ratio, 6)) == (generating, factor)
    wait = change_of(make_series(READ, STEADY), make_series(READ, scale(STEADY, factor)), "first token")
    assert wait.verdict == waiting
    assert (wait.ratio > 1) == (factor < 1) or factor == 1.0


def test_what_varies_widely_is_noise_and_a_single_repetition_says_nothing() -> None:
    wide = (60.0, 140.0, 100.0, 80.0, 120.0)
    assert change_of(make_series(WRITE, wide), make_series(WRITE, scale(wide, 0.9))).verdict == "within noise"
    single = change_of(make_series(WRITE, (100.0,)), make_series(WRITE, STEADY))
    assert (single.verdict, single.low, single.high) == ("unknown", None, None)


def test_a_change_too_small_to_matter_is_none_however_steady() -> None:
    assert change_of(make_series(WRITE, (100.0,) * 5), make_series(WRITE, (100.5,) * 5)).verdict == "within noise"
    assert change_of(make_series(WRITE, (100.0,) * 5), make_series(WRITE, (102.0,) * 5)).verdict == "faster"


def test_welchs_interval() -> None:
    # variances 2 and 8, of two figures each: 1 / (0.2**2 + 0.8**2) = 1.47 degrees of freedom, so t of 1 is taken
    assert find_margin([0.0, 2.0], [10.0, 14.0]) == pytest.approx(12.706 * sqrt(5))
    assert find_margin([1.0], [1.0, 2.0]) is None
    assert find_margin([1.0, 1.0], [2.0, 2.0]) == 0.0
    assert [find_t(freedom) for freedom in (0.5, 1.0, 9.99, 10.0, 30.0, 500.0)] == [
        *(12.706, 12.706, 2.262, 2.228),
        *(2.042, 2.042),
    ]


def test_the_interval_misses_a_change_that_is_there_or_not_about_once_in_twenty() -> None:
    chance = random.Random(1)  # noqa: S311 - the same each time
    for truth in (1.0, 0.93):
        missed = 0
        for _ in range(1000):
            before = tuple(chance.gauss(100, 3) for _ in range(5))
            after = tuple(chance.gauss(100 * truth, 3) for _ in range(5))
            changed = change_of(make_series(WRITE, before), make_series(WRITE, after))
            missed += not changed.low <= truth <= changed.high
        assert 20 <= missed <= 65


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=6), st.lists(st.floats(1, 1e6), min_size=2, max_size=6))
def test_the_other_way_round_says_the_opposite(one: list[float], other: list[float]) -> None:
    there = change_of(make_series(WRITE, tuple(one)), make_series(WRITE, tuple(other)))
    back = change_of(make_series(WRITE, tuple(other)), make_series(WRITE, tuple(one)))
    assert isclose(there.ratio * back.ratio, 1, rel_tol=1e-9)
    if abs(there.ratio - 1) > 0.02 and not any(isclose(end, 1, rel_tol=1e-9) for end in (there.low, there.high)):
        opposite = {"faster": "slower", "slower": "faster", "within noise": "within noise"}
        assert back.verdict == opposite[there.verdict]


@given(BENCHES)
def test_a_bench_is_like_itself(bench) -> None:
    found = compare(bench, bench)
    assert (len(found.pairs), found.unlike, found.gone, found.around) == (len(bench.series), (), (), ())
    assert {change.verdict for pair in found.pairs for change in pair.changes} <= {"within noise", "unknown"}
    assert find_worse(found, 0.0) == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"digest": "cd" * 32}, ["files"]),
        ({"digest": None}, ["files"]),
        ({"digest": "cd" * 32, "quantization": "Q8_0", "variant": "q8_0"}, ["files", "variant", "quantization"]),
        ({"threads": 4}, ["threads"]),
        ({"context_tokens": 2048}, ["context"]),
        ({"cache": "q8_0"}, ["cache type"]),
        ({"batch_tokens": 64}, ["batch"]),
        ({"workload": Workload(0, 64)}, ["workload"]),
        ({"workload": WRITE._replace(depth_tokens=512)}, ["workload"]),
    ],
)
def test_what_is_unlike_is_not_compared_and_what_differs_is_named(given: dict, said: list[str]) -> None:
    before = make_bench(make_series(WRITE))
    found = compare(before, make_bench(make_series(given.pop("workload", WRITE), **given)))
    ((unlike,), pairs, gone) = found.unlike, found.pairs, found.gone
    assert ([one.name for one in unlike.differences], pairs, gone) == (said, (), before.series)


@pytest.mark.parametrize(("tokens", "alike"), [(100, True), (104, True), (96, True), (106, False), (94, False)])
def test_texts_of_a_scenario_are_alike_where_they_are_about_as_long(tokens: int, alike: bool) -> None:
    before, after = (make_bench(make_series(Workload(count, 8, scenario="chat"))) for count in (100, tokens))
    assert (len(compare(before, after).pairs) == 1) == alike
    before, after = (make_bench(make_series(Workload(count, 8))) for count in (100, 101))
    assert not compare(before, after).pairs


def test_servers_are_alike_only_at_one_address() -> None:
    server = {"format": "remote", "digest": None, "runtime": "http://a/v1"}
    here, there = make_bench(make_series(**server)), make_bench(make_series(**server | {"runtime": "http://b/v1"}))
    assert len(compare(here, here).pairs) == 1
    assert [one.name for one in compare(here, there).unlike[0].differences] == ["runtime"]


def test_another_machine_is_not_compared() -> None:
    found = compare(make_bench(), make_bench(machine="f" * 16, machine_name="another"))
    assert (found.machines.name, found.machines.after, found.pairs) == ("machine", "another", ())


def test_the_same_files_by_another_name_in_another_engine_are_compared_and_that_is_said() -> None:
    after = make_series(WRITE, model="./file.gguf", variant=None, runtime="llama-native", engine_version="2026.11")
    (pair,) = compare(make_bench(make_series(WRITE)), make_bench(after)).pairs
    assert [one.name for one in pair.around] == ["runtime", "engine version"]


def test_each_is_compared_with_the_most_like_whatever_their_order() -> None:
    first, second = make_series(WRITE), make_series(WRITE, runtime="llama-native")
    found = compare(make_bench(first, second), make_bench(second, first))
    assert all(pair.around == () for pair in found.pairs)
    alone = compare(make_bench(first), make_bench(second, first))
    assert ([pair.after for pair in alone.pairs], [one.series for one in alone.unlike]) == ([first], [second])
    assert alone.unlike[0].differences == ()


def test_only_what_is_worse_than_the_bar_and_outside_noise_is_below_it() -> None:
    wide = (60.0, 140.0, 100.0, 80.0, 120.0)
    before = make_bench(make_series(READ, STEADY), make_series(WRITE, wide))
    after = make_bench(make_series(READ, scale(STEADY, 0.92)), make_series(WRITE, scale(wide, 0.8)))
    found = compare(before, after)
    assert [change.figure.name for _, change in find_worse(found, 0.05)] == ["reading", "first token"]
    assert find_worse(found, 0.10) == ()


def test_figures_have_names_of_their_own() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)

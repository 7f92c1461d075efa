from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.catalog.pace import Line, Reached, fit

ASSUMED = Line(step_s=0.001, s_per_byte=1 / 20e9)
SIZES = (3_000_000, 76_000_000, 700_000_000, 4_000_000_000)


def test_nothing_reached_leaves_what_was_assumed() -> None:
    fitted = fit(ASSUMED, ())
    assert (fitted.step_s, fitted.s_per_byte) == pytest.approx((ASSUMED.step_s, ASSUMED.s_per_byte))


@given(step_s=st.floats(2e-4, 5e-3), gb_per_s=st.floats(4, 60), sizes=st.permutations(SIZES))
def test_a_small_and_a_large_model_tell_of_all_others(step_s: float, gb_per_s: float, sizes: list[int]) -> None:
    """However far the assumption was off, by up to a factor of five."""
    true = Line(step_s, 1 / (gb_per_s * 1e9))
    reached = [Reached(size, true.find_tps(size)) for size in sizes[:2]]
    smallest, largest = min(sizes[:2]), max(sizes[:2])
    fitted = fit(ASSUMED, reached)
    for size in (smallest, largest):
        assert fitted.find_tps(size) == pytest.approx(true.find_tps(size), rel=0.15)


def test_a_deeper_network_takes_more_steps() -> None:
    true = Line(0.003, 1 / 12e9)
    reached = [Reached(size, true.find_tps(size, layers), layers) for size, layers in ((11e6, 24), (305e6, 16))]
    fitted = fit(ASSUMED, reached)
    for size, layers in ((60e6, 8), (60e6, 32), (700e6, 28)):
        assert fitted.find_tps(size, layers) == pytest.approx(true.find_tps(size, layers), rel=0.02)
    assert true.find_tps(60e6, 24) == true.find_tps(60e6)
    assert true.find_tps(60e6, 32) < true.find_tps(60e6, 8)


def test_between_the_sizes_that_were_measured_the_rest_is_corrected_too() -> None:
    """A cache that delivers three times as much: no line passes through all three."""
    reached = [Reached(11e6, 700.0, 24), Reached(76e6, 400.0, 12), Reached(305e6, 40.0, 16)]
    fitted = fit(ASSUMED, reached)
    for one in reached:
        assert fitted.find_tps(one.bytes_per_token, one.layers) == pytest.approx(one.decode_tps)
    assert 40 < fitted.find_tps(150e6, 14) < 400
    assert fitted.find_tps(3e9, 16) == pytest.approx(4.0, rel=0.1)


@given(gb_per_s=st.floats(4, 60))
def test_one_model_tells_of_those_of_its_size(gb_per_s: float) -> None:
    true = Line(0.001, 1 / (gb_per_s * 1e9))
    fitted = fit(ASSUMED, [Reached(76_000_000, true.find_tps(76_000_000))])
    assert fitted.find_tps(80_000_000) == pytest.approx(true.find_tps(80_000_000), rel=0.1)


@given(
    st.lists(
        st.builds(Reached, st.floats(1e5, 1e11), st.floats(0.01, 1e4), st.none() | st.integers(1, 200)), max_size=20
    )
)
def test_whatever_was_reached_no_token_takes_less_than_no_time(reached: list[Reached]) -> None:
    fitted = fit(ASSUMED, reached)
    assert fitted.step_s >= 0
    assert fitted.s_per_byte >= 0
    assert fitted.find_tps(1e9) > 0

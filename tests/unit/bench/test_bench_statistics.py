from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.bench.bench_values import make_sample, make_series

from localfirst.bench.statistics import find_rate, percentile, spread, summarize
from localfirst.bench.values import Workload

FIGURES = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=50)


@given(FIGURES)
def test_a_spread_is_that_of_the_standard_library(figures: list[float]) -> None:
    found = spread(figures)
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(figures))
    assert found.best == max(figures)
    if len(figures) == 1:
        assert found.sd is None
    else:
        assert found.sd == pytest.approx(statistics.stdev(figures), rel=1e-6, abs=1e-6)


@given(FIGURES, st.floats(0, 1), st.floats(0, 1))
def test_percentiles_lie_within_and_rise(figures: list[float], one: float, other: float) -> None:
    low, high = (percentile(figures, share) for share in sorted((one, other)))
    assert low is not None
    assert high is not None
    slack = 1e-6 * max(figures)
    assert min(figures) - slack <= low <= high + slack <= max(figures) + 2 * slack


@given(FIGURES)
def test_the_percentile_of_a_half_is_the_median(figures: list[float]) -> None:
    assert percentile(figures, 0.5) == pytest.approx(statistics.median(figures))


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert spread([None, None]) is None
    assert spread([]) is None
    assert percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("workload", "rate"),
    [
        (Workload(512, 0), 100.0),
        (Workload(0, 128), 20.0),
        (Workload(512, 128), 64.0),
        (Workload(9, 9, scenario="chat"), 20.0),
    ],
)
def test_the_rate_of_a_test_is_what_llama_bench_calls_it(workload: Workload, rate: float) -> None:
    sample = make_sample(wall_s=10.0, prefill_tps=100.0, decode_tps=20.0, prompt_tokens=512, completion_tokens=128)
    assert find_rate(workload, sample) == rate


def test_the_roofline_is_the_share_of_the_bandwidth_and_untold_of_several_requests() -> None:
    series = make_series(Workload(0, 128), [make_sample(decode_tps=10.0)], bytes_per_token=10**9, bandwidth=2 * 10**10)
    assert summarize(series).roofline == 0.5
    assert summarize(series._replace(workload=Workload(0, 128, concurrency=2))).roofline is None
    assert summarize(series._replace(bandwidth_bytes_per_s=None)).roofline is None
    assert summarize(series._replace(bytes_per_token=None)).roofline is None


def test_energy_is_told_of_the_samples_that_have_it() -> None:
    samples = [
        make_sample(wall_s=2.0, prompt_tokens=8, completion_tokens=2, energy_j=20.0),
        make_sample(wall_s=9.0, prompt_tokens=8, completion_tokens=2, energy_j=None),
    ]
    summary = summarize(make_series(Workload(8, 2), samples))
    assert (summary.joules_per_token, summary.watts) == (2.0, 10.0)
    assert summarize(make_series(Workload(8, 2), samples[1:])).joules_per_token is None


def test_a_first_token_is_that_of_a_prompt_and_a_gap_that_of_an_answer() -> None:
    sample = make_sample(first_token_s=(0.5,), gaps_s=(0.1, 0.3))
    reading, writing = (summarize(make_series(one, [sample])) for one in (Workload(512, 0), Workload(0, 128)))
    assert (reading.first_token_p50_s, reading.gap_p95_s, reading.decode) == (0.5, None, None)
    assert (writing.first_token_p50_s, writing.prefill) == (None, None)
    assert writing.gap_p95_s == pytest.approx(0.29)

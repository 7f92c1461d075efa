"""The text of `/metrics`: names with anything in them, no sums yet."""

from localfirst.conversation import Answer, Embedding, Timings, Usage
from localfirst.server.metrics import render_metrics
from localfirst.services.serving.meter import FIRST_TOKEN_S, Meter


def test_names_cannot_break_a_line() -> None:
    meter = Meter()
    meter.count_done('a "b\\\n# c', Embedding((1.0,), 3))
    assert 'lf_prompt_tokens_total{model="a \\"b\\\\\\n# c"} 3' in list(render_metrics(meter.read(), ()))


def test_seconds_follow_from_what_an_answer_says_of_its_rates() -> None:
    meter = Meter()
    meter.count_done("m", Answer("", "", "stop", Usage(110, 21, 10), Timings(prefill_tps=50.0, decode_tps=10.0)))
    meter.count_done("m", Answer("", "", "stop", Usage(1, 1), Timings()))
    lines = list(render_metrics(meter.read(), ()))
    assert 'lf_prefill_seconds_total{model="m"} 2.000000' in lines
    assert 'lf_decode_seconds_total{model="m"} 2.000000' in lines
    assert 'lf_cached_tokens_total{model="m"} 10' in lines


def test_a_first_token_counts_in_every_bucket_that_it_is_not_too_late_for() -> None:
    meter = Meter()
    for seconds in (FIRST_TOKEN_S[0], 0.06, 1000.0):
        meter.count_first("m", seconds)
    name = "lf_time_to_first_token_seconds"
    lines = [line for line in render_metrics(meter.read(), ()) if line.startswith(name)]
    assert f'{name}_bucket{{model="m",le="0.05"}} 1' in lines
    assert f'{name}_bucket{{model="m",le="0.1"}} 2' in lines
    assert f'{name}_bucket{{model="m",le="60.0"}} 2' in lines
    assert f'{name}_bucket{{model="m",le="+Inf"}} 3' in lines
    assert f'{name}_count{{model="m"}} 3' in lines

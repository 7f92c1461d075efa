from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from tests.fixtures.benches import BENCHES, make_bench

from localfirst.bench.serialize import SCHEMA, parse, to_json
from localfirst.errors import BenchFileError


@given(BENCHES)
def test_any_bench_comes_back_from_its_json(bench) -> None:
    text = json.dumps(to_json(bench), allow_nan=False)
    assert repr(parse(text)) == repr(bench)


def test_what_samples_say_together_stands_beside_them() -> None:
    series = to_json(make_bench())["series"][1]
    assert (series["workload"]["name"], series["summary"]["decode"]) == (
        "tg128",
        {"mean": 100.0, "sd": 1.0, "best": 101.0},
    )


def change(path: str, value: Any) -> str:
    """The JSON of a bench with something else in one place; `...` takes it away."""
    whole = json.loads(json.dumps(to_json(make_bench())))
    *way, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    at = whole
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return json.dumps(whole)


def test_keys_of_a_later_lf_are_passed_over_and_those_with_a_default_may_lack() -> None:
    assert parse(change("series/0/contender/colour", "red")) == make_bench()
    assert parse(change("series/0/samples/0/gaps_s", ...)).series[0].samples[0].gaps_s == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1, 2]", "does not say"),
        ('{"models": []}', "does not say"),
        (change("schema", "lf.bench/2"), f"'lf.bench/2', and this lf reads `{SCHEMA}`"),
        (change("schema", 7), "7, and this lf reads"),
        (change("machine", ...), "`machine` is missing"),
        (change("series", {}), "`series` is no list"),
        (change("series/1/samples/2/wall_s", ...), "`series[1].samples[2].wall_s` is missing"),
        (change("series/1/samples/2/wall_s", "fast"), "`series[1].samples[2].wall_s` is no number"),
        (change("series/0/samples/0/wall_s", float("nan")), "no JSON"),
        (change("series/0/samples/0/wall_s", 10**400), "`series[0].samples[0].wall_s` is no number"),
        (change("series/0/samples/0/wall_s", 7).replace("7,", "1e999,"), "`series[0].samples[0].wall_s` is no number"),
        (change("series/0/samples/0/prompt_tokens", 10**19), "prompt_tokens` is no whole number"),
        (change("before/frequency_hz", 10**400), "`before.frequency_hz` is no whole number"),
        (change("series/0/samples/0/prefill_tps", 1e300), "prefill_tps` is no number"),
        (change("series/0/samples/0/prompt_tokens", True), "prompt_tokens` is no whole number"),
        (change("series/0/contender/threads", -1), "`series[0].contender.threads` is no whole number"),
        (change("series/0/contender/cache", "f64"), "`series[0].contender.cache` is no word of f16"),
        (change("series/0/contender/cache", []), "`series[0].contender.cache` is no word of f16"),
        (change("series/0/contender/model", None), "`series[0].contender.model` is no text"),
        (change("before/throttled", "no"), "`before.throttled` is no true or false"),
        (change("before", [1]), "`before` is no object"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(text: str, said: str) -> None:
    with pytest.raises(BenchFileError) as error:
        parse(text)
    assert said in error.value.message
    assert error.value.hint

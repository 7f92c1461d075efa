from __future__ import annotations

import pytest

from localfirst.catalog.gain import LARGE, YARDSTICK, find_expected, find_gain
from localfirst.runtimes.find import find_runtimes
from localfirst.types import Rates, Speed

RUNTIMES = find_runtimes("linux", "x86_64")
NATIVE, CPU, ONNX = (
    next(one for one in RUNTIMES if one.name == name) for name in ("llama-native", "llama-cpu", "onnx-cpu")
)
BUILD = ("gemma-3-1b", "q4_0")
ESTIMATE = Speed(10.0, 20.0, prefill_low_tps=100.0)
BOTH = {(YARDSTICK, LARGE, "llama-cpu"): Rates(12.0), (YARDSTICK, LARGE, "llama-native"): Rates(18.0)}


def test_a_gain_is_known_where_both_were_measured() -> None:
    assert find_gain("llama-native", "llama-cpu", BOTH) == 1.5
    assert find_gain("llama-native", "onnx-cpu", BOTH) is None


@pytest.mark.parametrize(
    ("runtime", "measured", "expected"),
    [
        (NATIVE, {}, (10.0, 20.0)),
        (NATIVE, {(YARDSTICK, LARGE, "llama-native"): Rates(18.0)}, (10.0, 20.0)),
        (NATIVE, BOTH, (15.0, 30.0)),
        (CPU, BOTH, (10.0, 20.0)),
        (ONNX, BOTH, (10.0, 20.0)),
        (NATIVE, BOTH | {(*BUILD, "llama-cpu"): Rates(8.0)}, (12.0, 12.0)),
        (CPU, BOTH | {(*BUILD, "llama-native"): Rates(12.0)}, (8.0, 8.0)),
        (NATIVE, BOTH | {("another", "q4_0", "llama-cpu"): Rates(8.0)}, (15.0, 30.0)),
    ],
    ids=[
        "nothing measured",
        "only itself",
        "a gain",
        "the one that estimates are for",
        "another engine",
        "what a sibling reached",
        "what the faster sibling reached",
        "what a sibling reached with another model",
    ],
)
def test_an_estimate_is_corrected_by_what_siblings_did(runtime, measured, expected) -> None:
    speed = find_expected(ESTIMATE, BUILD, runtime, RUNTIMES, measured)
    assert (speed.low_tps, speed.high_tps) == expected
    assert speed.prefill_low_tps == 100.0


def test_an_unknown_estimate_stays_unknown() -> None:
    assert find_expected(Speed(), BUILD, NATIVE, RUNTIMES, BOTH) == Speed()

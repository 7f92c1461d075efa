"""What a compiled build is worth: measured beside the ready-made one, kept, and what is chosen by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.backends.conftest import SKIP

from localfirst.catalog.gain import LARGE, YARDSTICK
from localfirst.hwprobe.probe import probe
from localfirst.services import yardstick
from localfirst.services.engines import find_runtimes
from localfirst.services.planning import plan_model
from localfirst.store import measurements
from localfirst.types import Wanted


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def keep(runtime: str, tps: float) -> None:
    measurements.record(
        measurements.Measurement(
            measurements.find_key(probe()), YARDSTICK, LARGE, runtime, "1", "CPU", 512, 64, 32, None, None, tps
        )
    )


def test_without_a_compiled_build_there_is_nothing_to_compare() -> None:
    runtimes = [one for one in find_runtimes() if one.name != "llama-native"]
    assert yardstick.compare(runtimes, print) is None
    assert yardstick.find_known(runtimes) is None


@pytest.mark.parametrize("compiled", ["bitnet-native", "llama-native"])
def test_an_engine_that_loads_no_plain_model_is_not_measured_by_one(compiled: str) -> None:
    ready = [one._replace(state="installed", python="/no/python") for one in find_runtimes()]
    other = "llama-cpu" if compiled == "bitnet-native" else "bitnet-cpu"
    assert yardstick.compare([one for one in ready if one.name in {compiled, other}], print) is None


@SKIP
def test_both_builds_are_measured_once_and_known_from_then_on() -> None:
    told: list[str] = []
    gain = yardstick.compare(find_runtimes(), lambda progress: told.append(progress.detail["line"]))
    assert gain is not None
    assert (gain.compiled, gain.ready_made) == ("llama-native", "llama-cpu")
    for rates in (gain.ours, gain.theirs):
        assert rates.decode_tps > 0
        assert rates.prefill_tps is not None
        assert rates.prefill_tps > 0
    assert told[:2] == ["measuring llama-native, 1 of 3", "measuring llama-cpu, 1 of 3"]
    assert yardstick.find_known(find_runtimes()) == gain
    assert gain.say().startswith("against llama-cpu, llama-native decodes ")


@SKIP
@pytest.mark.parametrize(("native_tps", "chosen"), [(18.0, "llama-native"), (9.0, "llama-cpu")])
def test_the_build_that_was_measured_faster_is_chosen(native_tps: float, chosen: str) -> None:
    keep("llama-cpu", 12.0)
    keep("llama-native", native_tps)
    plan = plan_model("starter", Wanted(backend="llama.cpp"), offline=True).resolution.chosen
    assert plan.runtime is not None
    assert plan.runtime.name == chosen

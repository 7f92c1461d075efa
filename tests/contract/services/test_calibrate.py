"""`lf bench calibrate` on real engines, with its small network; and what lists of models make of it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from tests.fixtures.engines import need_engine

from localfirst.catalog.gain import YARDSTICK
from localfirst.cli.screen import Screen
from localfirst.cli.views.calibrate import calibration_to_json, render_calibration
from localfirst.errors import DiskFullError, NoFitError, RuntimeMissingError, StoreError, UnknownNameError
from localfirst.hwprobe.probe import probe
from localfirst.lock import try_hold
from localfirst.paths import cache_dir
from localfirst.services.bench import calibrate
from localfirst.services.bench.calibrate import Calibration, Calibrator
from localfirst.services.engines import find_runtime
from localfirst.services.planning import describe_model
from localfirst.store import yardsticks
from localfirst.store.measurements import MEMORY, find_rates, with_bandwidth
from localfirst.types import Format, Progress

BACKENDS = {"xllamacpp": "llama-cpu", "onnx": "onnx-cpu", "openvino": "openvino-cpu", "litert": "litert-cpu"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def measure(*runtimes: str, told: list[str] | None = None) -> tuple[Calibration, list[Exception]]:
    one = Calibrator(runtimes, sizes=("small",))
    one.prepare()
    one.measure(lambda progress: (told if told is not None else []).append(progress.detail["line"]))
    return one.finish(), list(one.errors)


def test_engines_are_measured_and_estimates_follow_from_it() -> None:
    for backend in BACKENDS:
        need_engine(backend)
    before = {plan.runtime.name: plan.speed for plan in describe_model("starter", offline=True).plans if plan.runtime}
    told: list[str] = []
    found, errors = measure(*BACKENDS.values(), told=told)
    assert (found.complete, found.failures, errors) == (True, (), [])
    assert [one.runtime for one in found.figures] == list(BACKENDS.values())
    assert told[1:3] == [
        "llama-cpu: writing a small network of made-up weights",
        "llama-cpu: decoding with the small network",
    ]
    machine = probe()
    rates = find_rates(machine)
    for one in found.figures:
        kept = rates[YARDSTICK, "small", one.runtime]
        assert one.rates == {"small": kept}
        assert kept.decode_tps > 0
        assert kept.layers == yardsticks.SHAPES["small"].layers
        assert kept.prefill_tps
        assert 36_000_000 < (kept.bytes_per_token or 0) < 56_000_000
        assert one.before != one.after
    assert with_bandwidth(machine, rates).memory.bandwidth_bytes_per_s == pytest.approx(found.memory_bytes_per_s)
    plans = {plan.runtime.name: plan.speed for plan in describe_model("starter", offline=True).plans if plan.runtime}
    for name in BACKENDS.values():
        assert plans[name].corrected
        assert not before[name].corrected
    assert not list((cache_dir() / "yardsticks").glob("*"))
    assert json.loads(json.dumps(calibration_to_json(found)))["runtimes"][0]["runtime"] == "llama-cpu"
    text = "\n".join(render_calibration(found, Screen(io.StringIO(), 160)))
    assert all(one.runtime in text for one in found.figures)
    assert "A MODEL OF 2.5 GB" in text


def test_the_second_calibration_replaces_the_first() -> None:
    need_engine("xllamacpp")
    measure("llama-cpu")
    second, _ = measure("xllamacpp")
    assert second.figures[0].before is not None
    assert second.figures[0].after is not None
    assert len(second.figures) == 1


def test_what_a_killed_process_left_is_removed_and_two_at_once_are_refused() -> None:
    folder = cache_dir() / yardsticks.FOLDER
    (folder / "onnx-large").mkdir(parents=True)
    (folder / "onnx-large/weights").write_bytes(b"1")
    with yardsticks.workplace() as place:
        assert list(place.iterdir()) == []
        with pytest.raises(StoreError, match="Another process"), yardsticks.workplace():
            pass
    assert not folder.exists()
    with try_hold(folder.with_name("yardsticks.lock")) as free:
        assert free


@pytest.mark.parametrize("kind", ["gguf", "onnx", "mlx", "openvino", "litertlm"])
def test_every_format_has_all_networks(kind: Format, tmp_path: Path) -> None:
    made = yardsticks.make(tmp_path, kind, "small")
    files_bytes = sum(one.stat().st_size for one in made.path.parent.rglob("*") if one.is_file())
    cache_bytes = 4 * 2 * 24 * 256 * 256 if kind == "litertlm" else 0  # layers, width of the keys, context
    assert made.bytes_per_token == files_bytes + cache_bytes
    yardsticks.remove(made)
    assert list(tmp_path.iterdir()) == []
    if kind != "gguf":
        for size in yardsticks.SHAPES:
            assert (Path(calibrate.paths.package_dir()) / f"yardsticks/{kind}-{size}.zip").is_file()


def test_an_engine_that_fails_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in ("xllamacpp", "onnx"):
        need_engine(backend)
    runtimes = find_runtime("llama-cpu")._replace(python="/no/python"), find_runtime("onnx-cpu")
    monkeypatch.setattr(calibrate.engines, "find_runtimes", lambda: runtimes)
    found, errors = measure()
    assert [one.runtime for one in found.figures] == ["onnx-cpu"]
    assert not found.complete
    assert len(errors) == 1
    assert found.failures[0].startswith("llama-cpu: The interpreter `/no/python` could not be started")


def test_too_little_memory_or_space_is_said_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    machine = probe()
    monkeypatch.setattr(
        calibrate, "probe", lambda: machine._replace(memory=machine.memory._replace(available_bytes=20_000_000))
    )
    found, errors = measure("llama-cpu")
    assert isinstance(errors[0], NoFitError)
    assert found.memory_bytes_per_s is None
    assert "40.1 MB" in (errors[0].detail or "")
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    _, errors = measure("llama-cpu")
    assert isinstance(errors[0], DiskFullError)


def test_names_that_are_none_and_engines_that_are_not_here_are_told() -> None:
    with pytest.raises(UnknownNameError, match="nonsense"):
        Calibrator(("nonsense",)).prepare()
    with pytest.raises(RuntimeMissingError) as caught:
        Calibrator(("mlx-metal",)).prepare()
    assert caught.value.hint


def test_what_ends_it_leaves_what_was_measured() -> None:
    for backend in ("xllamacpp", "onnx"):
        need_engine(backend)
    one = Calibrator(("llama-cpu", "onnx-cpu"), sizes=("small",))
    one.prepare()

    def interrupt(progress: Progress) -> None:
        if progress.detail["line"].startswith("onnx-cpu"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.measure(interrupt)
    found = one.finish()
    assert [figure.runtime for figure in found.figures] == ["llama-cpu"]
    assert not found.complete
    assert not (cache_dir() / yardsticks.FOLDER).exists()
    rates = find_rates(probe())
    assert {name for *_, name in rates} <= {"llama-cpu", MEMORY[2]}

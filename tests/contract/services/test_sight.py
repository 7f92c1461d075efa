"""An engine that sees no device is not offered for one, and is asked once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localfirst import paths
from localfirst.catalog.place import find_devices
from localfirst.errors import EngineError, LfError, WorkerCrashError
from localfirst.runtimes.find import find_runtimes
from localfirst.services import planning
from localfirst.services.machines import find_machine
from localfirst.services.planning import Here
from localfirst.services.sight import FAILURE_LASTS_S, find_sights, look
from localfirst.types import Device, Machine, Runtime

DESKTOP = find_machine("rtx-4090-desktop")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def find_runtime(name: str) -> Runtime:
    runtime = next(one for one in find_runtimes("linux", "x86_64") if one.name == name)
    return runtime._replace(state="external", python=sys.executable)


CUDA, CPU = find_runtime("llama-cuda"), find_runtime("llama-cpu")


def find_blind(
    runtimes: list[Runtime], machine: Machine, see: Callable[[Runtime], tuple[str, ...]] = look
) -> dict[str, str]:
    """The reasons of those that see nothing."""
    return {name: sight.reason for name, sight in find_sights(runtimes, machine, see).items() if sight.reason}


def test_a_real_engine_without_gpus_says_so() -> None:
    assert look(CPU) == ()
    assert find_blind([CPU, CUDA], DESKTOP) == {
        "llama-cuda": f"its engine (llama.cpp {CUDA.version}) sees no such device; `lf runtime test` says what it sees"
    }


def test_each_engine_is_asked_once_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def see(runtime: Runtime) -> tuple[str, ...]:
        asked.append(runtime.name)
        return ("CUDA0",)

    for _ in range(3):
        assert find_blind([CUDA], DESKTOP, see) == {}
    assert asked == ["llama-cuda"]
    updated = DESKTOP._replace(devices=tuple(device._replace(driver="999.1") for device in DESKTOP.devices))
    find_blind([CUDA], updated, see)
    (paths.cache_dir() / "devices.json").write_text('{"spoilt": 1}')
    find_blind([CUDA], DESKTOP, see)
    assert asked == ["llama-cuda"] * 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    find_blind([CUDA], DESKTOP, see)
    assert asked == ["llama-cuda"] * 4


def test_what_an_engine_failed_to_say_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([EngineError("It hangs"), ("CUDA0",)])

    def see(_: Runtime) -> tuple[str, ...]:
        answer = next(answers)
        if isinstance(answer, LfError):
            raise answer
        return answer

    now = time.time()
    assert "It hangs" in find_blind([CUDA], DESKTOP, see)["llama-cuda"]
    assert "It hangs" in find_blind([CUDA], DESKTOP, see)["llama-cuda"], "not yet"
    monkeypatch.setattr(time, "time", lambda: now + FAILURE_LASTS_S + 1)
    assert find_blind([CUDA], DESKTOP, see) == {}


def test_an_engine_that_dies_is_blind_and_nothing_else_fails() -> None:
    def die(_: Runtime) -> tuple[str, ...]:
        raise WorkerCrashError("The engine was ended by SIGSEGV")

    reasons = find_blind([CUDA], DESKTOP, die)
    assert reasons == {"llama-cuda": "its engine cannot say which devices it sees: The engine was ended by SIGSEGV"}
    with pytest.raises(LfError):
        look(CUDA._replace(backend="no such backend"))


def test_an_engine_without_a_version_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def see(runtime: Runtime) -> tuple[str, ...]:
        asked.append(runtime.version)
        return ("NVIDIA GeForce RTX 4090",)

    for _ in range(2):
        find_blind([CUDA, CUDA._replace(version="unknown")], DESKTOP, see)
    assert asked == [CUDA.version, "unknown"]
    soon = time.time() + FAILURE_LASTS_S + 1
    monkeypatch.setattr(time, "time", lambda: soon)
    find_blind([CUDA, CUDA._replace(version="unknown")], DESKTOP, see)
    assert asked == [CUDA.version, "unknown", "unknown"]


def test_a_device_that_the_engine_does_not_see_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    two = find_machine("dual-rtx-3090")

    def plan(*seen: str) -> tuple[Device, ...]:
        (paths.cache_dir() / "devices.json").unlink(missing_ok=True)
        monkeypatch.setattr(planning, "probe", lambda: two)
        monkeypatch.setattr(planning, "find_runtimes_for", lambda _: (CUDA,))
        monkeypatch.setattr(
            planning, "find_sights", lambda runtimes, machine: find_sights(runtimes, machine, lambda _: seen)
        )
        return find_devices(two, Here().runtimes[0])

    name = two.devices[0].name
    assert plan(name, name) == two.devices
    assert plan(name) == two.devices[:1]
    assert plan("an engine's own name for it") == two.devices


def test_a_machine_without_devices_asks_no_engine() -> None:
    assert find_blind([CUDA], find_machine("cloud-vm-no-gpu")) == {}
    assert not (paths.cache_dir() / "devices.json").exists()


def test_a_recorded_machine_is_taken_at_its_word() -> None:
    assert not any("sees no such device" in (one.reason or "") for one in Here(DESKTOP).runtimes)

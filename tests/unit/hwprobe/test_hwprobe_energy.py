"""Counters of energy: which may be read, what overlaps, and when they begin anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.hwprobe.energy import Counter, Meter, find_meter
from localfirst.hwprobe.host import ReplayHost
from localfirst.hwprobe.nvml import Nvml

CAP = "/sys/class/powercap/"
ZONES = {
    "intel-rapl:0/name": "package-0\n",
    "intel-rapl:0/energy_uj": "1000000\n",
    "intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "intel-rapl:0:0/name": "core\n",
    "intel-rapl:0:0/energy_uj": "900000\n",
    "intel-rapl:0:1/name": "dram\n",
    "intel-rapl:0:1/energy_uj": "500000\n",
    "intel-rapl:0:1/max_energy_range_uj": "65712999613\n",
    "intel-rapl:1/name": "psys\n",
    "intel-rapl:1/energy_uj": "9000000\n",
}


def make(files: dict[str, str]) -> ReplayHost:
    record = {"schema": "lf.machine-record/1", "platform": "linux", "machine": "x86_64"}
    return ReplayHost({**record, "files": {CAP + name: text for name, text in files.items()}})


def test_packages_and_memory_are_counted_once_and_parts_of_them_not_again() -> None:
    host = make(ZONES)
    meter = find_meter(host, None)
    assert meter.name == "RAPL package-0, RAPL dram"
    before = meter.read()
    host._files[f"{CAP}intel-rapl:0/energy_uj"] = "3500000\n"
    host._files[f"{CAP}intel-rapl:0:1/energy_uj"] = "1000000\n"
    assert meter.find_joules(before, meter.read()) == 3.0


def test_a_counter_that_only_root_may_read_is_none_and_that_is_said() -> None:
    closed = {name: text for name, text in ZONES.items() if not name.endswith("energy_uj")}
    host = make({**closed, "intel-rapl:0/energy_uj": "", "intel-rapl:0:1/energy_uj": ""})
    meter = find_meter(host, None)
    assert meter.name is None
    assert meter.reason == f"{CAP}intel-rapl:0/energy_uj may be read by root alone"
    assert meter.find_joules(meter.read(), meter.read()) is None


def test_a_machine_without_a_counter_has_none() -> None:
    meter = find_meter(make({}), None)
    assert (meter.name, meter.reason) == (None, None)


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_counter_that_began_anew_has_counted_on(wraps: int, begin: int, passed: int) -> None:
    begin, passed = begin % wraps, passed % wraps
    meter = Meter((Counter("RAPL package-0", wraps, lambda: None),))
    assert meter.find_joules((begin,), ((begin + passed) % wraps,)) == pytest.approx(passed / 1e6)


def test_a_counter_that_vanishes_or_runs_backwards_without_a_range_has_counted_nothing() -> None:
    meter = Meter((Counter("NVML", None, lambda: None),))
    assert meter.find_joules((5,), (None,)) is None
    assert meter.find_joules((5,), (4,)) is None


class Library:
    """NVIDIA's library, as far as it is called, for GPUs that have counted so many millijoules."""

    def __init__(self, counts: list[int | None], reasons: int = 0) -> None:
        self._counts, self._reasons = counts, reasons

    def nvmlInit_v2(self) -> int:  # noqa: N802 - as it is called
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._counts)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802
        handle._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, number: Any) -> int:  # noqa: N802
        count = self._counts[handle.value - 1]
        number._obj.value = count or 0
        return 3 if count is None else 0  # NVML_ERROR_NOT_SUPPORTED

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: Any, number: Any) -> int:  # noqa: N802
        number._obj.value = self._reasons
        return 0


def test_gpus_are_counted_together_and_none_without_the_others() -> None:
    assert Nvml(Library([1000, 2000])).read_energy_uj() == 3_000_000
    assert Nvml(Library([1000, None])).read_energy_uj() is None
    assert Nvml(Library([])).read_energy_uj() is None
    assert find_meter(make(ZONES), Nvml(Library([7]))).name == "RAPL package-0, RAPL dram, NVML"
    assert find_meter(make({}), Nvml(Library([None]))).name is None


@pytest.mark.parametrize(("reasons", "throttled"), [(0, False), (0x4, False), (0x20, True), (0x44, True)])
def test_a_power_limit_at_work_is_no_throttling_and_heat_is(reasons: int, throttled: bool) -> None:
    assert Nvml(Library([1], reasons)).is_throttled() is throttled
    assert Nvml(Library([])).is_throttled() is None

"""How a machine does while it is measured, on recorded machines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.hwprobe.conditions import Observer, Times, find_share, parse_times, read_times
from localfirst.hwprobe.host import Host, ReplayHost

STAT = "cpu  400 50 100 1000 50 0 10 40 7 0\ncpu0 400 50 100 1000 50 0 10 40 7 0\nintr 9\n"
CPU = "/sys/devices/system/cpu"


def make(files: dict[str, str], platform: str = "linux", **values: Any) -> ReplayHost:
    record = {"schema": "lf.machine-record/1", "platform": platform, "machine": "x86_64"}
    return ReplayHost({**record, "files": files, "values": values})


def test_work_is_all_time_but_idle_and_waiting_and_guests_count_once() -> None:
    assert parse_times(STAT) == Times(6.0, 16.5)


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 3", "intr 1 2 3 4 5", "cpu a b c d e"])
def test_what_is_no_stat_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_times(text)
    assert read_times(make({"/proc/stat": text})) is None


@pytest.mark.parametrize(
    ("before", "after", "ours", "share"),
    [
        (Times(0, 0), Times(5, 10), 0, 0.5),
        (Times(0, 0), Times(5, 10), 4, 0.1),
        (Times(0, 0), Times(5, 10), 9, 0),
        (Times(5, 10), Times(5, 10), 0, None),
        (None, Times(5, 10), 0, None),
    ],
)
def test_the_share_of_others_is_what_is_left_of_the_work(
    before: Times | None, after: Times, ours: float, share: float | None
) -> None:
    assert find_share(before, after, ours) == (None if share is None else pytest.approx(share))


@given(st.lists(st.floats(0, 1e9), min_size=5, max_size=5))
def test_a_share_is_a_share(numbers: list[float]) -> None:
    share = find_share(Times(*numbers[:2]), Times(*numbers[2:4]), numbers[4])
    assert share is None or 0 <= share <= 1


def test_a_linux_machine_tells_its_governor_frequency_heat_and_battery() -> None:
    host = make(
        {
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
            f"{CPU}/cpu1/cpufreq/scaling_cur_freq": "2400000\n",
            "/sys/class/hwmon/hwmon0/name": "nvme\n",
            "/sys/class/hwmon/hwmon0/temp1_input": "90000\n",
            "/sys/class/hwmon/hwmon1/name": "coretemp\n",
            "/sys/class/hwmon/hwmon1/temp1_input": "54000\n",
            "/sys/class/hwmon/hwmon1/temp2_input": "61500\n",
            "/sys/class/power_supply/BAT0/type": "Battery\n",
            "/sys/class/power_supply/BAT0/status": "Discharging\n",
        },
        load_average=0.25,
    )
    told = Observer(host).look()
    assert (told.load_average, told.governor, told.frequency_hz) == (0.25, "powersave", 2_400_000_000)
    assert (told.temperature_c, told.on_battery, told.throttled) == (61.5, True, None)


@pytest.mark.parametrize(
    ("files", "on_battery"),
    [
        ({}, None),
        ({"BAT0/type": "Battery", "BAT0/status": "Charging"}, False),
        ({"AC/type": "Mains", "AC/online": "1"}, None),
        ({"hid/type": "Battery", "hid/scope": "Device", "hid/status": "Discharging"}, None),
    ],
    ids=["none", "charging", "a plug alone", "a mouse's"],
)
def test_a_battery_is_the_machines_own(files: dict[str, str], on_battery: bool | None) -> None:
    host = make({f"/sys/class/power_supply/{name}": text for name, text in files.items()})
    assert Observer(host).look().on_battery is on_battery


def test_throttling_is_told_since_the_observer_began() -> None:
    path = f"{CPU}/cpu0/thermal_throttle/core_throttle_count"
    host = make({path: "7\n", f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "1\n"})
    observer = Observer(host)
    assert observer.is_throttled() is False
    host._files[path] = "9\n"
    assert observer.is_throttled() is True
    assert Observer(host).is_throttled() is False


def test_a_raspberry_pi_with_a_weak_supply_is_held_back() -> None:
    files = {"/sys/class/hwmon/hwmon2/name": "rpi_volt\n", "/sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n"}
    assert Observer(make(files)).is_throttled() is False
    assert Observer(make({**files, "/sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1\n"})).is_throttled() is True


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_tell_what_psutil_tells(platform: str) -> None:
    host = make({}, platform, **{"psutil.cpu_times": [5.0, 10.0], "psutil.on_battery": True})
    assert read_times(host) == Times(5.0, 10.0)
    assert Observer(host).look().on_battery is True


def test_a_machine_that_tells_nothing_has_no_conditions() -> None:
    told = Observer(make({})).look()
    assert set(told[1:]) == {None}
    assert told.at.endswith("+00:00")


def test_this_machine_is_looked_at_without_an_error() -> None:
    told = Observer(Host()).look(0.1)
    assert told.busy_share is None or 0 <= told.busy_share <= 1

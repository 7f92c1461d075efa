"""How the machine is doing while it is measured: who else uses it, how fast it may run, and whether it holds back.

Sources: proc_stat(5); Linux, "CPU Performance Scaling", "hwmon sysfs interface", "Generic Thermal Sysfs driver", and
`sysfs-devices-system-cpu` (thermal_throttle), `sysfs-class-power`. macOS and Windows tell some of it by psutil. A
recorded machine tells what was recorded, and has no load.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst.bench.values import Conditions
from localfirst.hwprobe.host import Host
from localfirst.hwprobe.text import clean, parse_int

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.hwprobe.nvml import Nvml

_CPU = "/sys/devices/system/cpu"
_SENSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "scpi_sensors"})
"""hwmon drivers whose sensors sit in the processor: Intel, AMD, and chips of Arm's kind."""
_ZONES = frozenset({"x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "cpu0-thermal"})
_TICKS_PER_S = 100
"""Of `/proc/stat`, on every architecture that Linux has today (`USER_HZ`)."""
_LEAST_MEASURED_S = 0.05
"""Of a shorter time the counters, which have hundredths of a second, say nothing."""


class Times(NamedTuple):
    """Seconds that all processors together have been at work, and that there were, since the machine started."""

    busy_s: float
    all_s: float


def parse_times(text: str) -> Times:
    """`/proc/stat`; what a hypervisor took for others (`steal`) counts as work. Guests are counted in `user` already.

    Raises:
        ValueError: the text is none.
    """
    words = text.partition("\n")[0].split()
    if len(words) < 5 or words[0] != "cpu":
        raise ValueError("not /proc/stat")
    ticks = [parse_int(word) for word in words[1:9]]
    idle = sum(ticks[3:5])
    return Times((sum(ticks) - idle) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S)


def read_times(host: Host) -> Times | None:
    """The work of all processors until now."""
    if host.platform == "linux":
        try:
            return parse_times(host.read("/proc/stat") or "")
        except ValueError:
            return None
    told = host.value("psutil.cpu_times")
    return Times(*told) if isinstance(told, list | tuple) else None


def find_share(before: Times | None, after: Times | None, ours_s: float = 0.0) -> float | None:
    """The share of all processor time between two readings that others than `ours_s` took, 0 to 1."""
    if before is None or after is None or after.all_s - before.all_s < _LEAST_MEASURED_S:
        return None
    return min(1.0, max(0.0, (after.busy_s - before.busy_s - ours_s) / (after.all_s - before.all_s)))


class Observer:
    """Looks at a machine now and then; whether it was throttled is told since the observer began."""

    def __init__(self, host: Host | None = None, nvml: Nvml | None = None) -> None:
        self._host, self._nvml = host or Host(), nvml
        self._throttles = _count_throttles(self._host)

    def look(self, idle_s: float = 0.0) -> Conditions:
        """The conditions now; with `idle_s`, in which nothing of ours computes, also how busy others are."""
        host = self._host
        before = read_times(host)
        if idle_s:
            time.sleep(idle_s)
        share = find_share(before, read_times(host)) if idle_s else None
        load = host.value("load_average")
        return Conditions(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            load_average=load if isinstance(load, float) else None,
            busy_share=share,
            governor=_read_governor(host),
            frequency_hz=_read_frequency(host),
            temperature_c=_read_temperature(host),
            throttled=self.is_throttled(),
            on_battery=_read_battery(host),
        )

    def read_times(self) -> Times | None:
        """The work of all processors until now."""
        return read_times(self._host)

    def is_throttled(self) -> bool | None:
        """Whether processor or device have held back since the observer began; `None` where neither tells."""
        count = _count_throttles(self._host)
        told = [
            None if count is None or self._throttles is None else count > self._throttles,
            _read_undervoltage(self._host),
            self._nvml.is_throttled() if self._nvml else None,
        ]
        known = [one for one in told if one is not None]
        return any(known) if known else None


def _count_throttles(host: Host) -> int | None:
    """How often any core was slowed for its heat since the start; `None` where that is not counted."""
    counters = [f"{_CPU}/cpu*/thermal_throttle/{kind}_throttle_count" for kind in ("core", "package")]
    return _sum(_read_number(host, path) for pattern in counters for path in host.glob(pattern))


def _read_undervoltage(host: Host) -> bool | None:
    """Of a Raspberry Pi, whether its supply is too weak. Source: Linux, "Kernel driver raspberrypi-hwmon"."""
    found = [_read_number(host, path) for path in _find_sensors(host, frozenset({"rpi_volt"}), "in0_lcrit_alarm")]
    return None if not found else any(found)


def _read_governor(host: Host) -> str | None:
    """The governors of all cores, each once: `powersave`, `performance, powersave`."""
    texts = (host.read(path) for path in host.glob(f"{_CPU}/cpu*/cpufreq/scaling_governor"))
    return ", ".join(sorted({clean(text) for text in texts if text})) or None


def _read_frequency(host: Host) -> int | None:
    """Of the fastest core, in hertz; the files have kilohertz."""
    numbers = (_read_number(host, path) for path in host.glob(f"{_CPU}/cpu*/cpufreq/scaling_cur_freq"))
    fastest = max((number for number in numbers if number), default=None)
    return fastest and fastest * 1000


def _read_temperature(host: Host) -> float | None:
    """Of the hottest sensor in the processor; the files have thousandths of a degree."""
    paths = [
        *_find_sensors(host, _SENSORS, "temp*_input"),
        *(
            path.removesuffix("type") + "temp"
            for path in host.glob("/sys/class/thermal/thermal_zone*/type")
            if clean(host.read(path) or "") in _ZONES
        ),
    ]
    hottest = max((number for path in paths if (number := _read_number(host, path))), default=None)
    return None if hottest is None else hottest / 1000


def _find_sensors(host: Host, drivers: frozenset[str], files: str) -> Iterator[str]:
    for path in host.glob("/sys/class/hwmon/hwmon*/name"):
        if clean(host.read(path) or "") in drivers:
            yield from host.glob(path.removesuffix("name") + files)


def _read_battery(host: Host) -> bool | None:
    """Whether it runs on its battery; `None` where there is none, or nobody tells."""
    if host.platform != "linux":
        told = host.value("psutil.on_battery")
        return told if isinstance(told, bool) else None
    states = [
        clean(host.read(path.removesuffix("type") + "status") or "")
        for path in host.glob("/sys/class/power_supply/*/type")
        if clean(host.read(path) or "") == "Battery"
        and clean(host.read(path.removesuffix("type") + "scope") or "") != "Device"  # a mouse's
    ]
    return "Discharging" in states if states else None


def _read_number(host: Host, path: str) -> int | None:
    try:
        return parse_int(host.read(path) or "")
    except ValueError:
        return None


def _sum(numbers: Iterator[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None

"""Counters of the energy that the machine takes. Where there is none, nothing is guessed from a power rating.

Linux tells what processors count of themselves and their memory (RAPL) in `/sys/class/powercap`, to root alone since
CVE-2020-8694, unless somebody opens the files; NVIDIA's driver counts for its GPUs. macOS has `powermetrics`, which
wants root and only tells the power of moments; Windows has nothing that every user may read. Source: Linux, "Power
Capping Framework".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.hwprobe.text import clean, parse_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.hwprobe.host import Host
    from localfirst.hwprobe.nvml import Nvml

_ZONES = "/sys/class/powercap/intel-rapl:*/energy_uj"
"""AMD's processors are there, too. What has a second colon is a part of one before it."""
_COUNTED = ("package", "dram")
"""Parts of the machine that do not overlap: cores and graphics are in the package, and `psys` holds all once more."""


class Counter(NamedTuple):
    """A counter of microjoules that begins anew after `wraps_uj`; `None`: it never does."""

    name: str
    wraps_uj: int | None
    read: Callable[[], int | None]


Reading = tuple[int | None, ...]
"""What each counter said at one moment."""


class Meter:
    """The counters that may be read here."""

    def __init__(self, counters: tuple[Counter, ...], reason: str | None = None) -> None:
        self._counters = counters
        self.name = ", ".join(counter.name for counter in counters) or None
        self.reason = None if counters else reason
        """Why those that there are may not be read; `None` where there is none at all."""

    def read(self) -> Reading:
        """All counters, now."""
        return tuple(counter.read() for counter in self._counters)

    def find_joules(self, before: Reading, after: Reading) -> float | None:
        """The energy between two readings.

        Whoever measures longer than a counter lasts gets too little: a package that takes 250 W and counts to 262 kJ,
        as most do, begins anew after 17 minutes.
        """
        parts = [_find_microjoules(*one) for one in zip(self._counters, before, after, strict=True)]
        known = [part for part in parts if part is not None]
        return sum(known) / 1e6 if known and len(known) == len(parts) else None


def _find_microjoules(counter: Counter, before: int | None, after: int | None) -> int | None:
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if counter.wraps_uj is None else after + counter.wraps_uj - before


def find_meter(host: Host, nvml: Nvml | None) -> Meter:
    """Every counter of this machine that this user may read."""
    counters, closed = [], []
    for path in host.glob(_ZONES):
        folder = path.removesuffix("energy_uj")
        name = clean(host.read(f"{folder}name") or "")
        if not name.startswith(_COUNTED):
            continue
        if _read_number(host, path) is None:
            closed.append(path)
            continue
        wraps_uj = _read_number(host, f"{folder}max_energy_range_uj")
        counters.append(Counter(f"RAPL {name}", wraps_uj, _reader(host, path)))
    if nvml is not None and nvml.read_energy_uj() is not None:
        counters.append(Counter("NVML", None, nvml.read_energy_uj))
    return Meter(tuple(counters), f"{closed[0]} may be read by root alone" if closed else None)


def _reader(host: Host, path: str) -> Callable[[], int | None]:
    return lambda: _read_number(host, path)


def _read_number(host: Host, path: str) -> int | None:
    try:
        return parse_int(host.read(path) or "")
    except ValueError:
        return None

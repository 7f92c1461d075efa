"""How many threads an engine computes with."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from localfirst.hwprobe.probe import probe

if TYPE_CHECKING:
    from localfirst.types import Cpu

FEW_CORES = 4
BUSY_LOAD = 1.0


def find_threads() -> int:
    """The threads for a model that is loaded now."""
    return choose_threads(probe().cpu, read_load())


def read_load() -> float | None:
    """The load average of the last minute; `None` where the system has none, or does not tell it."""
    with suppress(AttributeError, OSError):  # Windows has no such call; a sandbox may hide /proc/loadavg
        return os.getloadavg()[0]
    return None


def choose_threads(cpu: Cpu, load: float | None) -> int:
    """One thread for each core that the process may keep busy, less one on a small machine that is busy.

    Engines' threads wait for each other by spinning, many times a token: one that has to share its core makes all the
    others wait. Measured on 2 cores with SmolLM2-360M in Q8_0: 25 tokens/s with 2 threads on the quiet machine, 4.3
    with 2 threads beside one busy process, 16 with 1 thread beside it.

    The load is that of the whole machine, also inside a container or under an affinity mask: on one with many cores a
    busy process finds another, so a few that are ours are not given up.

    Args:
        cpu: the processor; where it tells no cores, one thread computes.
        load: the load average of the last minute, of all cores; `None` where it is unknown.
    """
    cores = cpu.cores_usable or 1
    small = (cpu.cores_physical or cores) <= FEW_CORES
    busy = load is not None and load >= BUSY_LOAD
    return cores - 1 if small and busy and cores > 1 else cores

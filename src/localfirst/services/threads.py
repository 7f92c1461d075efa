"""How many threads an engine computes with."""

from __future__ import annotations

import os

from localfirst.hwprobe.probe import probe

FEW_CORES = 4
BUSY_LOAD = 1.0


def find_threads() -> int:
    """The threads for a model that is loaded now."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return choose_threads(probe().cpu.cores_usable, load)


def choose_threads(cores_usable: int | None, load: float | None) -> int:
    """One thread a core, less one on a small machine that is busy.

    Engines' threads wait for each other by spinning, many times a token: one that has to share its core makes all the
    others wait. Measured on 2 cores with SmolLM2-360M in Q8_0: 25 tokens/s with 2 threads on the quiet machine, 4.3
    with 2 threads beside one busy process, 16 with 1 thread beside it.

    Args:
        cores_usable: cores that the process may keep busy; `None` where that is unknown.
        load: the load average of the last minute; `None` where the system has none.
    """
    cores = cores_usable or 1
    busy = load is not None and load >= BUSY_LOAD
    return cores - 1 if busy and 1 < cores <= FEW_CORES else cores

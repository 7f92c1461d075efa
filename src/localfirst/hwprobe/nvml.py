"""What NVIDIA's own library counts of its GPUs: energy, and why their clocks are held back. Not run: no GPU was here.

`nvidia-smi` tells the power of a moment, at most ten times a second and by a process each; the library has a counter.
Source: NVIDIA, "NVML API Reference", whose functions and constants these are.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_LIBRARIES = ("nvml.dll",) if sys.platform == "win32" else ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
HELD_BACK = 0x08 | 0x20 | 0x40 | 0x80
"""Hardware slowdown, slowdown for heat by software or hardware, power brake. A power limit at work (0x04) is how a GPU
runs under load, and no fault."""


class Nvml:
    """All GPUs of the library together."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = ctypes.c_uint()
        known = library.nvmlInit_v2() == 0 and library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
        handles = (self._find_handle(index) for index in range(count.value if known else 0))
        self._handles = [handle for handle in handles if handle is not None]

    def read_energy_uj(self) -> int | None:
        """Microjoules since the driver was loaded; `None` where a GPU does not count them (before Volta)."""
        counts = [self._read_number("nvmlDeviceGetTotalEnergyConsumption", handle) for handle in self._handles]
        known = [count for count in counts if count is not None]
        return sum(known) * 1000 if known and len(known) == len(counts) else None

    def is_throttled(self) -> bool | None:
        """Whether any GPU is held back now."""
        told = [self._read_number("nvmlDeviceGetCurrentClocksThrottleReasons", handle) for handle in self._handles]
        known = [reasons for reasons in told if reasons is not None]
        return any(reasons & HELD_BACK for reasons in known) if known else None

    def _find_handle(self, index: int) -> ctypes.c_void_p | None:
        handle = ctypes.c_void_p()
        found = self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0
        return handle if found else None

    def _read_number(self, function: str, handle: ctypes.c_void_p) -> int | None:
        number = ctypes.c_ulonglong()
        ask = getattr(self._library, function, None)
        return number.value if ask is not None and ask(handle, ctypes.byref(number)) == 0 else None


def open_nvml() -> Nvml | None:
    """The library of the driver that is here, if one is."""
    for name in _LIBRARIES:
        try:
            return Nvml(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    return None

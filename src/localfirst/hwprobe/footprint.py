"""What a process and those that it started take: memory at its most, and processor time."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINUX = sys.platform == "linux"
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_FORGET_PEAK = "5"
"""What `/proc/PID/clear_refs` takes to begin the peak anew. Source: proc_pid_clear_refs(5)."""


class Footprint(NamedTuple):
    """A process and its descendants, together."""

    peak_bytes: int
    """Resident memory at its most: since `forget_peak` on Linux, since the start on Windows. macOS keeps no peak that
    another process may read; there it is what is resident now."""
    cpu_s: float


def read_footprint(pid: int) -> Footprint | None:
    """What a process takes; `None` where it is gone."""
    found = [(_read_peak(process), _read_cpu(process)) for process in _find_tree(pid)]
    known = [(peak, cpu) for peak, cpu in found if peak is not None]
    return Footprint(sum(peak for peak, _ in known), sum(cpu for _, cpu in known)) if known else None


def forget_peak(pid: int) -> None:
    """Begin the peak anew, where the system lets us."""
    if _LINUX:
        for process in _find_tree(pid):
            with suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text(_FORGET_PEAK, encoding="ascii")


def parse_peak(status: str) -> int | None:
    """`/proc/PID/status`: its peak in bytes; `None` of a process that has no memory any more."""
    match = _PEAK.search(status)
    return int(match[1]) * 1024 if match else None


def _find_tree(pid: int) -> Iterator[Any]:
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def _read_peak(process: Any) -> int | None:
    import psutil

    if _LINUX:
        with suppress(OSError):
            return parse_peak(Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace"))
        return None
    with suppress(psutil.Error):
        memory = process.memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    return None


def _read_cpu(process: Any) -> float:
    import psutil

    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0

"""Main memory: how much there is, how much a new process may take now, and the limit it runs under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import ask_sysctl_int, ask_value_int
from localfirst.hwprobe.cgroup import read_memory_limits
from localfirst.hwprobe.text import quote
from localfirst.types import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host

_WANTED = frozenset({"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached"})


def parse_meminfo(text: str) -> dict[str, int]:
    """`/proc/meminfo` -> bytes by name, for the rows that matter.

    Two lines of it: `MemTotal:       24683668 kB` and `MemAvailable:   24229580 kB`, where kB is 1,024 bytes.
    Source: proc_meminfo(5).

    Raises:
        ValueError: A row that matters is not a number of kB.
    """
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in _WANTED:
            number, _, unit = rest.strip().partition(" ")
            if unit.strip() != "kB" or not (number.isascii() and number.isdecimal() and len(number) < 16):
                raise ValueError(f"not a number of kB: {quote(line)}")
            sizes[name] = int(number) << 10
    return sizes


def read_memory(host: Host, warn: Warn) -> Memory:
    """Main memory of the machine; all `None` where it does not say."""
    read = _READERS.get(host.platform)
    return read(host, warn) if read else Memory(None, None, None)


def _read_linux(host: Host, warn: Warn) -> Memory:
    text = host.read("/proc/meminfo")
    sizes: dict[str, int] = {}
    if text is not None:
        try:
            sizes = parse_meminfo(text)
        except ValueError as error:
            warn(f"/proc/meminfo: {error}")
    total, free = sizes.get("MemTotal"), _find_free(sizes)
    limits = read_memory_limits(host, warn)
    left = [max(0, limit.limit_bytes - limit.used_bytes) for limit in limits]
    available = min((size for size in (free, *left) if size is not None), default=None)
    smallest = min((limit.limit_bytes for limit in limits), default=None)
    applies = smallest is not None and (total is None or smallest < total)
    return Memory(total, available, smallest if applies else None)


def _find_free(sizes: dict[str, int]) -> int | None:
    """`MemAvailable`; before Linux 3.14 what is free or holds files."""
    if "MemAvailable" in sizes or "MemFree" not in sizes:
        return sizes.get("MemAvailable")
    return sum(sizes.get(name, 0) for name in ("MemFree", "Buffers", "Cached"))


def _read_macos(host: Host, warn: Warn) -> Memory:
    total = ask_sysctl_int(host, "hw.memsize", warn)
    return Memory(total, ask_value_int(host, "macos.available_memory_bytes", warn), None)


def _read_windows(host: Host, warn: Warn) -> Memory:
    total = ask_value_int(host, "windows.total_memory_bytes", warn)
    return Memory(total, ask_value_int(host, "windows.available_memory_bytes", warn), None)


_READERS: dict[str, Callable[[Host, Warn], Memory]] = {
    "linux": _read_linux,
    "darwin": _read_macos,
    "win32": _read_windows,
}

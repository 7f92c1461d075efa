"""What the system says of this process's memory. Linux: `/proc/self/status`, see proc(5)."""

from __future__ import annotations

from pathlib import Path

FIELDS = {"VmHWM": "peak_bytes", "RssAnon": "own_bytes", "RssFile": "file_bytes"}


def find_memory() -> dict[str, int]:
    """Bytes resident: the peak so far, and now the process's own and those of mapped files."""
    lines = (line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return {FIELDS[key]: int(value.split()[0]) * 1024 for key, value in lines if key in FIELDS}


def find_mapped(name: str) -> int:
    """Bytes resident of the mapped files whose path ends so: `/proc/self/smaps`."""
    found, is_such = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ", 1)[0]:
            is_such = line.endswith(name)
        elif is_such and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found

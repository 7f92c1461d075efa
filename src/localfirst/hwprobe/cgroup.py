"""Limits that a container or service runs under: control groups of version 1 and 2.

A group is bound by its own limit and by those of all its ancestors. Inside a container the path that
`/proc/self/cgroup` tells may not exist below the mount; the mount's root then is the container's own group.
Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`, `sched-bwc.rst`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.hwprobe.ask import read_int
from localfirst.hwprobe.text import parse_int, quote

if TYPE_CHECKING:
    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host

_ROOT = "/sys/fs/cgroup"
_V1_UNLIMITED = 0x7FFF_FFFF_FFFF_F000
"""What version 1 writes for "no limit": the largest signed number, rounded down to a page."""


class MemoryLimit(NamedTuple):
    """One group's limit, and how much of it cannot be reclaimed now."""

    limit_bytes: int
    used_bytes: int


def parse_cgroups(text: str) -> dict[str, str]:
    """`/proc/self/cgroup` -> controller -> path; version 2 is the controller `""`.

    Two lines of it: `4:memory:/system.slice/app.service` and `0::/`. Lines of another form are left out.
    """
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon and path.startswith("/"):
            paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def find_levels(base: str, path: str) -> tuple[str, ...]:
    """A group's folder below a mount, then those of its ancestors, up to the mount itself."""
    names = [name for name in path.split("/") if name not in {"", ".", ".."}]
    return tuple("/".join([base, *names[:count]]) for count in range(len(names), -1, -1))


def parse_cpu_max(text: str) -> float | None:
    """Version 2's `cpu.max`: `"150000 100000"` -> 1.5 CPUs; `"max 100000"` -> `None`.

    Raises:
        ValueError: The text is not a quota and a period.
    """
    quota, _, period = text.strip().partition(" ")
    if quota == "max":
        return None
    quota_us, period_us = parse_int(quota), parse_int(period)
    if not quota_us or not period_us:
        raise ValueError(f"not a quota and a period: {quote(text)}")
    return quota_us / period_us


def read_memory_limits(host: Host, warn: Warn) -> tuple[MemoryLimit, ...]:
    """Every memory limit that binds this process."""
    paths = parse_cgroups(host.read("/proc/self/cgroup") or "")
    found = []
    if "" in paths:
        found += [_read_limit_v2(host, folder, warn) for folder in find_levels(_ROOT, paths[""])]
    if "memory" in paths:
        found += [_read_limit_v1(host, folder, warn) for folder in find_levels(f"{_ROOT}/memory", paths["memory"])]
    return tuple(limit for limit in found if limit)


def read_cpu_quota(host: Host, warn: Warn) -> float | None:
    """The smallest CPU quota that binds this process, in CPUs; `None` for no quota."""
    paths = parse_cgroups(host.read("/proc/self/cgroup") or "")
    found = []
    if "" in paths:
        found += [_read_quota_v2(host, folder, warn) for folder in find_levels(_ROOT, paths[""])]
    if "cpu" in paths:
        found += [_read_quota_v1(host, folder, warn) for folder in find_levels(f"{_ROOT}/cpu", paths["cpu"])]
    return min((quota for quota in found if quota), default=None)


def _read_limit_v2(host: Host, folder: str, warn: Warn) -> MemoryLimit | None:
    text = host.read(f"{folder}/memory.max")
    if text is None or text.strip() == "max":
        return None
    limit = read_int(host, f"{folder}/memory.max", warn)
    if limit is None:
        return None
    usage = read_int(host, f"{folder}/memory.current", warn) or 0
    return MemoryLimit(limit, max(0, usage - _read_stat(host, folder, "inactive_file", warn)))


def _read_limit_v1(host: Host, folder: str, warn: Warn) -> MemoryLimit | None:
    limit = read_int(host, f"{folder}/memory.limit_in_bytes", warn)
    if limit is None or limit >= _V1_UNLIMITED:
        return None
    usage = read_int(host, f"{folder}/memory.usage_in_bytes", warn) or 0
    return MemoryLimit(limit, max(0, usage - _read_stat(host, folder, "total_inactive_file", warn)))


def _read_stat(host: Host, folder: str, name: str, warn: Warn) -> int:
    """One row of `memory.stat` in bytes: file pages that the kernel drops first, so they count as free."""
    for line in (host.read(f"{folder}/memory.stat") or "").splitlines():
        key, _, number = line.partition(" ")
        if key == name:
            try:
                return parse_int(number)
            except ValueError as error:
                warn(f"{folder}/memory.stat: {name}: {error}")
    return 0


def _read_quota_v2(host: Host, folder: str, warn: Warn) -> float | None:
    text = host.read(f"{folder}/cpu.max")
    if text is None:
        return None
    try:
        return parse_cpu_max(text)
    except ValueError as error:
        warn(f"{folder}/cpu.max: {error}")
        return None


def _read_quota_v1(host: Host, folder: str, warn: Warn) -> float | None:
    text = host.read(f"{folder}/cpu.cfs_quota_us")
    if text is None or text.strip() == "-1":
        return None
    quota_us = read_int(host, f"{folder}/cpu.cfs_quota_us", warn)
    period_us = read_int(host, f"{folder}/cpu.cfs_period_us", warn)
    return quota_us / period_us if quota_us and period_us else None

"""The few calls that Linux needs, where nearly everything is a file; macOS shares some of them."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NODES = ("/dev/kfd", "/dev/dri/renderD*", "/dev/accel/accel*")


def machine() -> str:
    """The processor architecture as the kernel names it."""
    return os.uname().machine


def registry(class_guid: str) -> Mapping[str, Mapping[str, object]]:  # noqa: ARG001 - only Windows has one
    """Nothing: there is no registry."""
    return {}


def sysctl(name: str) -> str | None:  # noqa: ARG001 - only asked on macOS
    """Nothing: `/proc` is read instead."""
    return None


def disk_free_bytes(path: str) -> int | None:
    """Bytes that this user may still write to the disk of an existing path."""
    try:
        disk = os.statvfs(path)
    except (OSError, ValueError):
        return None
    return disk.f_bavail * disk.f_frsize


def _closed_nodes() -> list[str]:
    """Nodes of devices that are there and that this user may not open."""
    nodes = [path for pattern in _NODES for path in glob.glob(pattern)]  # noqa: PTH207 - as in host.py
    return sorted(path for path in nodes if not os.access(path, os.R_OK | os.W_OK))


def load_average() -> float | None:
    """Of the last minute; `None` where it is hidden, as in some sandboxes."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


VALUES: Mapping[str, Callable[[], object | None]] = {
    "linux.closed_nodes": _closed_nodes,
    "load_average": load_average,
}
"""What only an API tells, by the names of the recorded-machine format."""

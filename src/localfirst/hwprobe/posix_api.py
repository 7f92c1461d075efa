"""The few calls that Linux needs, where nearly everything is a file; macOS shares some of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VALUES: Mapping[str, Callable[[], object | None]] = {}
"""What only an API tells, by the names of the recorded-machine format."""


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

"""One fact at a time from a host, with its type checked: nothing where it is missing, a warning where it is garbled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from localfirst.hwprobe.text import clean, parse_cpu_list, parse_int, quote

if TYPE_CHECKING:
    from localfirst.hwprobe.host import Host

T = TypeVar("T")
Warn = Callable[[str], None]
"""Takes one line for `Machine.warnings`."""


def read_int(host: Host, path: str, warn: Warn) -> int | None:
    """The number in a file."""
    return _parse(parse_int, host.read(path), path, warn)


def read_cpu_list(host: Host, path: str, warn: Warn) -> frozenset[int] | None:
    """The CPU numbers in a file."""
    return _parse(parse_cpu_list, host.read(path), path, warn)


def read_name(host: Host, path: str) -> str | None:
    """The text in a file as one printable line; `None` when it is blank."""
    return clean(host.read(path) or "") or None


def read_driver(host: Host, device_path: str) -> str | None:
    """The kernel driver bound to a sysfs device: the name at the end of its `driver` link."""
    return clean((host.link(f"{device_path}/driver") or "").rsplit("/", 1)[-1]) or None


def explain_node(host: Host, path: str) -> str | None:
    """Why a program of this user cannot open a device's node; `None` where it can.

    The nodes asked for here belong to the group `render`. Source: systemd's `rules.d/50-udev-default.rules.in`.
    """
    if not host.exists(path):
        return f"{path} is missing or hidden"
    closed = host.value("linux.closed_nodes")
    if isinstance(closed, list) and path in closed:
        return f"{path} is closed to this user: type `sudo usermod -aG render $USER` and log in again"
    return None


def ask_sysctl_int(host: Host, name: str, warn: Warn) -> int | None:
    """A `sysctl` number."""
    return _parse(parse_int, host.sysctl(name), name, warn)


def ask_value_int(host: Host, name: str, warn: Warn) -> int | None:
    """A number that an API of the system tells."""
    value = host.value(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63):
        return value
    warn(f"{name}: not a number: {quote(str(value))}")
    return None


def _parse(parse: Callable[[str], T], text: str | None, name: str, warn: Warn) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        warn(f"{name}: {error}")
        return None

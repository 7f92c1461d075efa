"""Graphics cards as the Linux kernel lists them, for the vendors' files to judge.

Source: the kernel's `Documentation/ABI/stable/sysfs-bus-pci` (`vendor`, `device`, `revision`, `driver`) and
`Documentation/gpu/drm-uapi.rst` (render nodes).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from localfirst.hwprobe.ask import explain_node, read_driver, read_int

if TYPE_CHECKING:
    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host

_CARD = re.compile(r"/sys/class/drm/(card[0-9]+)/device/vendor")
"""Connectors are listed beside the cards, as `card0-DP-1`."""


class Card(NamedTuple):
    """One graphics card; the PCI numbers as `lspci -n` prints them."""

    name: str
    path: str
    """Its device folder, e.g. `/sys/class/drm/card0/device`."""
    vendor_id: str
    device_id: str
    revision: str | None
    driver: str | None
    node_fault: str | None
    """Why the `/dev/dri` node that programs compute through cannot be opened; `None` when all is well."""

    @property
    def pci_id(self) -> str:
        """`1002:1586`."""
        return f"{self.vendor_id}:{self.device_id}"


def read_cards(host: Host, warn: Warn) -> tuple[Card, ...]:
    """Every card of a known PCI number, in the kernel's order."""
    matches = map(_CARD.fullmatch, host.glob("/sys/class/drm/card*/device/vendor"))
    names = sorted((match[1] for match in matches if match), key=lambda name: int(name[4:]))
    return tuple(card for name in names if (card := _read_card(host, name, warn)))


def _read_card(host: Host, name: str, warn: Warn) -> Card | None:
    path = f"/sys/class/drm/{name}/device"
    vendor, device = read_int(host, f"{path}/vendor", warn), read_int(host, f"{path}/device", warn)
    if vendor is None or device is None:
        return None
    revision = read_int(host, f"{path}/revision", warn)
    return Card(
        name=name,
        path=path,
        vendor_id=f"{vendor:04x}",
        device_id=f"{device:04x}",
        revision=None if revision is None else f"{revision:02x}",
        driver=read_driver(host, path),
        node_fault=_find_node_fault(host, path),
    )


def _find_node_fault(host: Host, path: str) -> str | None:
    nodes = [f"/dev/dri/{render.rsplit('/', 1)[-1]}" for render in host.glob(f"{path}/drm/renderD*")]
    faults = [explain_node(host, node) for node in nodes or ["/dev/dri/renderD*"]]
    return faults[0] if all(faults) else None

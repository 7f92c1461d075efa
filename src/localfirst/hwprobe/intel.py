"""Intel GPUs on Linux, as the `xe` and `i915` drivers describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import read_int
from localfirst.types import Device

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.drm import Card
    from localfirst.hwprobe.host import Host
    from localfirst.types import Memory

PCI_VENDOR = "8086"
DRIVERS = frozenset({"xe", "i915"})
DISCRETE = ("49", "56", "e2")
"""How the device numbers of DG1, Alchemist (Arc A) and Battlemage (Arc B) start; integrated GPUs have others."""
NAMES = {
    "5690": "Intel Arc A770M",
    "56a0": "Intel Arc A770",
    "56a1": "Intel Arc A750",
    "56a2": "Intel Arc A580",
    "56a5": "Intel Arc A380",
    "56a6": "Intel Arc A310",
    "64a0": "Intel Arc Graphics (Lunar Lake)",
    "7d55": "Intel Arc Graphics (Meteor Lake)",
    "e20b": "Intel Arc B580",
    "e20c": "Intel Arc B570",
}
"""Source of both tables: the PCI ID Repository (pci-ids.ucw.cz), vendor 8086."""


def read_intel(host: Host, memory: Memory, cards: Iterable[Card], warn: Warn) -> tuple[Device, ...]:
    """Every Intel GPU among the cards."""
    return tuple(_read_card(host, memory, card, warn) for card in cards if card.vendor_id == PCI_VENDOR)


def _read_card(host: Host, memory: Memory, card: Card, warn: Warn) -> Device:
    own = _read_own_memory(host, card, warn)
    discrete = own is not None or card.device_id.startswith(DISCRETE)
    fault = _find_fault(card)
    silent = "this kernel does not tell the size of its memory" if discrete and own is None else None
    return Device(
        kind="gpu" if discrete else "igpu",
        vendor="intel",
        name=NAMES.get(card.device_id, f"Intel {'GPU' if discrete else 'Graphics'} [{card.pci_id}]"),
        memory_total_bytes=own if discrete else memory.total_bytes,
        memory_free_bytes=None if discrete else memory.available_bytes,
        unified=not discrete,
        usable=fault is None,
        reason=fault or silent,
        driver=card.driver,
    )


def _read_own_memory(host: Host, card: Card, warn: Warn) -> int | None:
    """Bytes of video memory: `xe` tells them per tile, `i915` for the card; upstream kernels may tell neither."""
    tiles = [read_int(host, path, warn) for path in host.glob(f"{card.path}/tile*/physical_vram_size_bytes")]
    return (
        sum(size or 0 for size in tiles) or read_int(host, f"/sys/class/drm/{card.name}/lmem_total_bytes", warn) or None
    )


def _find_fault(card: Card) -> str | None:
    if card.driver not in DRIVERS:
        return f"driven by {card.driver}, not by xe or i915" if card.driver else "neither xe nor i915 is loaded"
    return card.node_fault

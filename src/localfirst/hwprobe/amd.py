"""AMD GPUs on Linux, as the `amdgpu` driver describes them.

Source: the kernel's `Documentation/gpu/amdgpu/driver-misc.rst` (`mem_info_*`, `board_info`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import explain_node, read_int
from localfirst.hwprobe.text import clean
from localfirst.types import Device
from localfirst.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.drm import Card
    from localfirst.hwprobe.host import Host
    from localfirst.types import Memory

PCI_VENDOR = "1002"
DRIVER = "amdgpu"
NAMES_FILE = "/usr/share/libdrm/amdgpu.ids"
"""Marketing names by device and revision, installed with libdrm."""
INTEGRATED = {
    "15d8": "Picasso",
    "15dd": "Raven Ridge",
    "15e7": "Barcelo",
    "1636": "Renoir",
    "1638": "Cezanne",
    "163f": "Van Gogh",
    "164c": "Lucienne",
    "164e": "Raphael",
    "1681": "Rembrandt",
    "15bf": "Phoenix",
    "15c8": "Phoenix 2",
    "1900": "Hawk Point",
    "1901": "Hawk Point",
    "150e": "Strix Point",
    "1586": "Strix Halo",
}
"""Chips with a processor beside the GPU. Source: the PCI ID Repository (pci-ids.ucw.cz), vendor 1002."""


def read_amd(host: Host, memory: Memory, cards: Iterable[Card], warn: Warn) -> tuple[Device, ...]:
    """Every AMD GPU among the cards."""
    mine = [card for card in cards if card.vendor_id == PCI_VENDOR]
    names = host.read(NAMES_FILE) or "" if mine else ""
    return tuple(_read_card(host, memory, card, names, warn) for card in mine)


def parse_name(ids: str, device_id: str, revision: str | None) -> str | None:
    r"""The marketing name of a card in libdrm's `amdgpu.ids`; one line of it: `744C,\tC8,\tAMD Radeon RX 7900 XTX`."""
    for line in ids.splitlines():
        device, _, rest = line.partition(",")
        found_revision, comma, name = rest.partition(",")
        if comma and (device.strip().lower(), found_revision.strip().lower()) == (device_id, revision):
            return clean(name) or None
    return None


def is_integrated(device_id: str, *, board_info: bool, vram_bytes: int | None, gtt_bytes: int | None) -> bool:
    """Whether a GPU shares main memory.

    Known chips by number. For others: only boards of their own have `board_info`, and firmware gives an integrated GPU
    little memory (at most 4 GiB) next to a translation table over much (8 GiB or more, four times as much).
    """
    if device_id in INTEGRATED:
        return True
    if board_info or vram_bytes is None or gtt_bytes is None:
        return False
    return vram_bytes <= 4 * GIB and gtt_bytes >= max(8 * GIB, 4 * vram_bytes)


def _read_card(host: Host, memory: Memory, card: Card, ids: str, warn: Warn) -> Device:
    vram, gtt = (read_int(host, f"{card.path}/mem_info_{pool}_total", warn) for pool in ("vram", "gtt"))
    integrated = is_integrated(
        card.device_id,
        board_info=host.exists(f"{card.path}/board_info"),
        vram_bytes=vram,
        gtt_bytes=gtt,
    )
    unified = integrated and vram is not None and gtt is not None and gtt > vram
    vram_free = _find_free(vram, read_int(host, f"{card.path}/mem_info_vram_used", warn))
    gtt_free = _find_free(gtt, read_int(host, f"{card.path}/mem_info_gtt_used", warn))
    remarks = [_describe_carve_out(vram, gtt)] if unified else []
    if card.driver == DRIVER and (no_rocm := explain_node(host, "/dev/kfd")):
        remarks.append(f"ROCm is not usable here: {no_rocm}")
    fault = _find_fault(card)
    return Device(
        kind="igpu" if integrated else "gpu",
        vendor="amd",
        name=parse_name(ids, card.device_id, card.revision) or _make_name(card),
        memory_total_bytes=(vram or 0) + (gtt or 0) if unified else vram,
        memory_free_bytes=_find_shared_free(vram_free, gtt_free, memory) if unified else vram_free,
        unified=unified,
        usable=fault is None,
        reason=fault or "; ".join(remarks) or None,
        driver=card.driver,
    )


def _find_shared_free(vram_free: int | None, gtt_free: int | None, memory: Memory) -> int | None:
    """The carve-out's free part, and as much of the translation table as main memory can still back."""
    if gtt_free is None or memory.available_bytes is None:
        return None
    return (vram_free or 0) + min(gtt_free, memory.available_bytes)


def _find_free(total: int | None, used: int | None) -> int | None:
    return None if total is None or used is None else max(0, total - used)


def _describe_carve_out(vram: int | None, gtt: int | None) -> str:
    return f"{(vram or 0) // MIB} MiB set aside in firmware and up to {(gtt or 0) // MIB} MiB of main memory (GTT)"


def _find_fault(card: Card) -> str | None:
    if card.driver != DRIVER:
        return f"driven by {card.driver}, not by {DRIVER}" if card.driver else f"the driver {DRIVER} is not loaded"
    return card.node_fault


def _make_name(card: Card) -> str:
    chip = INTEGRATED.get(card.device_id)
    return f"AMD Radeon ({chip}) [{card.pci_id}]" if chip else f"AMD GPU [{card.pci_id}]"

"""Where a build would compute on a machine, how much memory is free for it there, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.rules import (
    CPU_MARGIN,
    DEVICE_DEMANDS,
    DEVICE_WORDS,
    FORMATS_FOR_ANY_DEVICE,
    GPU_MARGIN,
    UNIFIED_MARGIN,
    DeviceWord,
)

if TYPE_CHECKING:
    from localfirst.types import Device, Machine, Placement, Runtime, Variant


def find_device(machine: Machine, runtime: Runtime) -> Device | None:
    """The usable device that a runtime would compute on, the one with the most free memory; `None` for the CPU."""
    words = [DEVICE_WORDS[word] for word in runtime.variant_devices if word in DEVICE_WORDS]
    fitting = [device for device in machine.devices if device.usable and any(_is_meant(word, device) for word in words)]
    return max(fitting, key=lambda device: device.memory_free_bytes or device.memory_total_bytes or 0, default=None)


def is_served(variant: Variant, runtime: Runtime) -> bool:
    """Whether a runtime computes where a variant was made to; one made for nothing in particular runs anywhere."""
    if variant.format in FORMATS_FOR_ANY_DEVICE or not variant.devices:
        return True
    return not set(variant.devices).isdisjoint(runtime.variant_devices)


def explain_unserved(machine: Machine, variant: Variant) -> str:
    """Why no runtime computes where a variant was made to: no such device here, or no runtime of this release."""
    absent = [_explain_absence(machine, word) for word in variant.devices]
    missing = absent[0] if all(absent) else None
    return f"made for {' or '.join(variant.devices)}; {missing or 'no runtime of this release computes there'}"


def explain_missing_device(machine: Machine, runtime: Runtime) -> str | None:
    """Why a runtime has nothing to compute on here; `None` where it has."""
    if runtime.placement == "cpu" or find_device(machine, runtime) is not None:
        return None
    absent = [_explain_absence(machine, word) for word in runtime.variant_devices]
    return f"{runtime.name} needs a device: {next(filter(None, absent), 'this machine has none')}"


def find_placement(variant: Variant) -> Placement:
    """Where a variant was made to compute, for one that no runtime here loads."""
    words = [DEVICE_WORDS[word].placement for word in variant.devices if word in DEVICE_WORDS]
    return "cpu" if "cpu" in words or not words else words[0]


def find_budget(machine: Machine, device: Device | None) -> int | None:
    """Bytes that a model may take: what is free now, less a margin for everything else; `None` where nobody knows.

    Memory that the system's file cache holds counts as free: it is given back. Unified memory is one pool, so the
    device's limit (Metal's recommended working set) and the free main memory both hold.
    """
    memory = machine.memory
    whole = memory.limit_bytes or memory.total_bytes
    if device is None:
        if memory.available_bytes is None:
            return None
        return max(0, memory.available_bytes - CPU_MARGIN.find(whole or 0))
    limits = [device.memory_free_bytes if device.memory_free_bytes is not None else device.memory_total_bytes]
    if device.unified:
        limits += [memory.available_bytes, None if whole is None else whole - UNIFIED_MARGIN.find(whole)]
    known = [limit for limit in limits if limit is not None]
    if not known:
        return None
    margin = 0 if device.unified else GPU_MARGIN.floor_bytes
    return max(0, min(known) - margin)


def is_device_asked(wanted: str | None, placement: Placement) -> bool:
    """Whether a placement is what `--device` demands; no demand (`None`, `auto`) accepts all."""
    return wanted in {None, "auto"} or placement in DEVICE_DEMANDS.get(wanted or "", ())


def _is_meant(word: DeviceWord, device: Device) -> bool:
    return device.kind in DEVICE_DEMANDS[word.placement] and word.vendor in device.vendor.lower()


def _explain_absence(machine: Machine, name: str) -> str | None:
    word = DEVICE_WORDS.get(name, DeviceWord("gpu", name, name))
    if word.placement == "cpu":
        return None
    found = [device for device in machine.devices if _is_meant(word, device)]
    if not found:
        return f"this machine has no {word.title}"
    if all(not device.usable for device in found):
        return f"{found[0].name} cannot be used: {found[0].reason or 'its driver is missing'}"
    return None

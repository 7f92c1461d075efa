"""Where a build would compute on a machine, how much memory is free for it there, and what is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localfirst.catalog.rules import (
    CPU_MARGIN,
    DEVICE_DEMANDS,
    DEVICE_WORDS,
    FORMATS_FOR_ANY_DEVICE,
    GPU_MARGIN,
    SPREADING_BACKENDS,
    UNIFIED_MARGIN,
    DeviceWord,
)
from localfirst.types import ALONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import Device, Machine, Parallel, Placement, Runtime, Variant


def find_devices(machine: Machine, runtime: Runtime, parallel: Parallel = ALONE) -> tuple[Device, ...]:
    """The usable devices that a runtime would compute on, most free memory first; none for the CPU.

    Some engines spread a model over several, others over as many as they are told. An integrated GPU beside discrete
    ones is left out, as llama.cpp does.
    """
    if runtime.placement == "cpu":
        return ()
    fitting = [one for one in find_seen(machine, runtime) if one.usable and _explain_age(one, runtime) is None]
    discrete = [device for device in fitting if device.kind == "gpu"]
    fitting = sorted(discrete or fitting, key=lambda one: -(one.memory_free_bytes or one.memory_total_bytes or 0))
    count = parallel.tensor * parallel.pipeline
    return tuple(fitting if runtime.backend in SPREADING_BACKENDS else fitting[:count])


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
    if runtime.placement == "cpu" or find_devices(machine, runtime):
        return None
    reasons = [_explain_absence(machine, word) for word in runtime.variant_devices]
    reasons += [_explain_age(device, runtime) for device in _find_meant(machine, runtime)]
    return f"{runtime.name} needs a device: {next(filter(None, reasons), 'this machine has none')}"


def find_placement(variant: Variant) -> Placement:
    """Where a variant was made to compute, for one that no runtime here loads."""
    words = [DEVICE_WORDS[word].placement for word in variant.devices if word in DEVICE_WORDS]
    return "cpu" if "cpu" in words or not words else words[0]


def find_budget(machine: Machine, devices: Sequence[Device]) -> int | None:
    """Bytes that a model may take on the devices together, on the CPU where there are none; `None` where nobody knows.

    What is free now, less a margin for everything else. Memory that the system's file cache holds counts as free: it is
    given back. Unified memory is one pool, so the device's limit (Metal's recommended working set) and the free main
    memory both hold.
    """
    if not devices:
        return _find_main_budget(machine)
    budgets = [_find_device_budget(machine, device) for device in devices]
    return None if None in budgets else sum(filter(None, budgets))


def _find_main_budget(machine: Machine) -> int | None:
    memory = machine.memory
    if memory.available_bytes is None:
        return None
    return max(0, memory.available_bytes - CPU_MARGIN.find(memory.limit_bytes or memory.total_bytes or 0))


def _find_device_budget(machine: Machine, device: Device) -> int | None:
    memory = machine.memory
    whole = memory.limit_bytes or memory.total_bytes
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


def _find_meant(machine: Machine, runtime: Runtime) -> list[Device]:
    """The devices of the kind and the makers that a runtime is for, usable or not."""
    words = [DEVICE_WORDS[word] for word in runtime.variant_devices if word in DEVICE_WORDS]
    return [device for device in machine.devices if any(_is_meant(word, device) for word in words)]


def find_seen(machine: Machine, runtime: Runtime) -> list[Device]:
    """The devices that a runtime is for, without those that its engine does not see, e.g. by CUDA_VISIBLE_DEVICES.

    Engines call NVIDIA's as the driver does, and others each in its own way: where a name is unknown, all are believed.
    """
    meant = _find_meant(machine, runtime)
    unmatched = list(runtime.sees or ())
    if runtime.sees is None or not set(unmatched) <= {device.name for device in meant}:
        return meant
    seen = []
    for device in meant:
        if device.name in unmatched:
            unmatched.remove(device.name)
            seen.append(device)
    return seen


def _explain_age(device: Device, runtime: Runtime) -> str | None:
    """Why a device or its driver is too old for a runtime; what is unknown is not held against it."""
    for what, has, least in (
        ("compute capability", device.compute_capability, runtime.min_compute_capability),
        ("a driver", device.driver, runtime.min_driver),
    ):
        number = _find_number(has)
        if least is not None and number is not None and number < least:
            return f"{device.name} has {has}, {runtime.name} needs {what} {least:g} or newer"
    return None


def _find_number(version: str | None) -> float | None:
    """`580.95.05` -> 580.95, `8.9` -> 8.9; `None` where it does not begin so."""
    match = re.match(r"\d+(?:\.\d+)?", version or "", re.ASCII)
    return float(match[0]) if match else None


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

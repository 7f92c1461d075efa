"""GPUs and NPUs on Windows, as their drivers are registered.

Of an adapter's memory only the 64-bit number is used: WMI's `AdapterRAM` ends at 4 GiB.
Source: Microsoft's documentation of the device setup classes and of `HardwareInformation.qwMemorySize`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localfirst.hwprobe.npu import UNPROVEN
from localfirst.hwprobe.text import clean, parse_version, quote
from localfirst.types import Device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host
    from localfirst.types import Memory

DISPLAY_CLASS = "{4d36e968-e325-11ce-bfc1-08002be10318}"
NPU_CLASS = "{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}"
_MEMORY = "HardwareInformation.qwMemorySize"
VALUE_NAMES = ("DriverDesc", "DriverVersion", "MatchingDeviceId", "ProviderName", _MEMORY)
"""What is read of a registered device."""
_PCI_DEVICE = re.compile(r"PCI\\VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}", re.IGNORECASE)
_PCI_VENDORS = {"10de": "nvidia", "1002": "amd", "1022": "amd", "8086": "intel", "qcom": "qualcomm"}
_NAME_VENDORS = {
    "nvidia": "nvidia",
    "amd": "amd",
    "advanced micro": "amd",
    "radeon": "amd",
    "intel": "intel",
    "qualcomm": "qualcomm",
    "adreno": "qualcomm",
    "snapdragon": "qualcomm",
}
_VIRTUAL = re.compile(r"microsoft|virtual|remote|parsec|displaylink|citrix|vmware", re.IGNORECASE)
_DISCRETE_AMD = re.compile(r"\b(RX|Pro|R9700|VII|Instinct|FirePro)\b", re.IGNORECASE)
_DISCRETE_INTEL = re.compile(r"\bArc\b.*\b[AB]\d{2,3}M?\b", re.IGNORECASE)
_QNN_DRIVER = (30, 0, 140, 0)
"""The first Qualcomm NPU driver that ONNX Runtime's QNN provider takes. Source: Microsoft's Windows ML pages."""


def read_nvidia_names(host: Host) -> tuple[str, ...]:
    """Names of registered NVIDIA adapters; what they can do only `nvidia-smi` knows."""
    entries = _read_adapters(host) if host.platform == "win32" else ()
    return tuple(name for name, vendor, _ in entries if vendor == "nvidia")


def read_windows(host: Host, memory: Memory, warn: Warn) -> tuple[Device, ...]:
    """Every real adapter but NVIDIA's, and every NPU."""
    if host.platform != "win32":
        return ()
    adapters = tuple(
        _make_gpu(name, vendor, entry, memory, warn)
        for name, vendor, entry in _read_adapters(host)
        if vendor != "nvidia"
    )
    npus = (_make_npu(entry, warn) for entry in _read_present(host, NPU_CLASS))
    return (*adapters, *filter(None, npus))


def parse_memory_size(value: object) -> int | None:
    """The registry's 64-bit size: a number, or the same as eight bytes, low byte first; 0 is unknown.

    Raises:
        ValueError: It is neither.
    """
    number = int.from_bytes(value, "little") if isinstance(value, bytes) and len(value) <= 8 else value
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 63:
        raise ValueError(f"not a size: {quote(str(value))}")
    return number or None


def is_integrated(vendor: str, name: str) -> bool:
    """Whether an adapter shares main memory, by its name: discrete ones are called `RX ...`, `Arc A770`, ..."""
    match vendor:
        case "amd":
            return name.endswith("Graphics") or not _DISCRETE_AMD.search(name)
        case "intel":
            return not _DISCRETE_INTEL.search(name)
        case _:
            return vendor == "qualcomm"


def find_vendor(hardware_id: str, name: str) -> str:
    r"""`PCI\VEN_10DE&DEV_2684` says who made it; else the name does; else `unknown`."""
    match = re.search(r"VEN_([0-9a-z]{4})", hardware_id, re.IGNORECASE)
    if match and match[1].lower() in _PCI_VENDORS:
        return _PCI_VENDORS[match[1].lower()]
    return next((vendor for word, vendor in _NAME_VENDORS.items() if word in name.lower()), "unknown")


def is_present(hardware_id: str, present: object) -> bool:
    """Whether a registered device is in the machine: the registry keeps those that were taken out.

    Args:
        hardware_id: as its driver is registered for; only those on the PCI bus can be compared.
        present: ids of what is there, as `windows.present_devices` has them; where it is no list, all are believed.
    """
    match = _PCI_DEVICE.match(hardware_id)
    if not match or not isinstance(present, list):
        return True
    return any(str(one).lower().startswith(match[0].lower()) for one in present)


def _read_present(host: Host, class_guid: str) -> list[Mapping[str, object]]:
    """The registered devices of a class, without those that are not in the machine any more."""
    answer = host.value("windows.present_devices")
    present = answer.get(class_guid) if isinstance(answer, dict) else None
    entries = host.registry(class_guid).values()
    return [entry for entry in entries if is_present(_get_text(entry, "MatchingDeviceId"), present)]


def _read_adapters(host: Host) -> tuple[tuple[str, str, Mapping[str, object]], ...]:
    """Name, vendor and registry values of each adapter that is a piece of hardware."""
    found = []
    for entry in _read_present(host, DISPLAY_CLASS):
        name, hardware_id = _get_text(entry, "DriverDesc"), _get_text(entry, "MatchingDeviceId")
        if name and not hardware_id.lower().startswith("root\\") and not _VIRTUAL.search(name):
            found.append((name, find_vendor(hardware_id, name), entry))
    return tuple(found)


def _make_gpu(name: str, vendor: str, entry: Mapping[str, object], memory: Memory, warn: Warn) -> Device:
    integrated = is_integrated(vendor, name)
    own = None
    try:
        own = parse_memory_size(entry.get(_MEMORY))
    except ValueError as error:
        warn(f"{name}: {_MEMORY}: {error}")
    # Windows lends a GPU without memory of its own half of main memory (`SharedSystemMemory` of DXGI_ADAPTER_DESC).
    shared = memory.total_bytes // 2 if memory.total_bytes else None
    free = None if shared is None or memory.available_bytes is None else min(shared, memory.available_bytes)
    return Device(
        kind="igpu" if integrated else "gpu",
        vendor=vendor,
        name=name,
        memory_total_bytes=shared if integrated else own,
        memory_free_bytes=free if integrated else None,
        unified=integrated,
        reason="estimated as half of main memory" if integrated and shared else None,
        driver=_get_text(entry, "DriverVersion") or None,
    )


def _make_npu(entry: Mapping[str, object], warn: Warn) -> Device | None:
    name, driver = _get_text(entry, "DriverDesc"), _get_text(entry, "DriverVersion")
    if not name:
        return None
    vendor = find_vendor(_get_text(entry, "MatchingDeviceId"), f"{name} {_get_text(entry, 'ProviderName')}")
    old = False
    if vendor == "qualcomm" and driver:
        try:
            old = parse_version(driver) < _QNN_DRIVER
        except ValueError as error:
            warn(f"{name}: {error}")
    return Device(
        kind="npu",
        vendor=vendor,
        name=name,
        unified=True,
        usable=not old,
        reason="its driver is older than 30.0.140.0, which the QNN provider needs" if old else UNPROVEN,
        driver=driver or None,
    )


def _get_text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    return clean(value) if isinstance(value, str) else ""

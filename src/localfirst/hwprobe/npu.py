"""NPUs on Linux: what the kernel's accelerator subsystem lists. Whether an engine can use one is not decided here.

Source: the kernel's `Documentation/accel/introduction.rst` (`/sys/class/accel`, `/dev/accel`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import explain_node, read_driver, read_name
from localfirst.hwprobe.text import clean
from localfirst.types import Device

if TYPE_CHECKING:
    from localfirst.hwprobe.host import Host

DRIVERS = {
    "intel_vpu": ("intel", "Intel AI Boost"),
    "amdxdna": ("amd", "AMD Ryzen AI NPU"),
    "qaic": ("qualcomm", "Qualcomm Cloud AI"),
    "rocket": ("rockchip", "Rockchip NPU"),
}
"""Kernel driver -> vendor and name. Source: the kernel's `drivers/accel`."""
UNPROVEN = "present, which does not prove that an engine can use it"
"""Said of every NPU with a driver: what it computes depends on the engine's own build for it."""
_ACCEL = re.compile(r"/sys/class/accel/(accel[0-9]+)/device/driver")


def read_npus(host: Host, *, wsl: bool) -> tuple[Device, ...]:
    """Every accelerator with a driver bound."""
    matches = map(_ACCEL.fullmatch, host.glob("/sys/class/accel/accel*/device/driver"))
    return tuple(_read_npu(host, match[1], wsl=wsl) for match in matches if match)


def _read_npu(host: Host, node: str, *, wsl: bool) -> Device:
    path = f"/sys/class/accel/{node}/device"
    driver = read_driver(host, path)
    vendor, name = DRIVERS.get(driver or "", ("unknown", f"Accelerator ({driver or node})"))
    board = read_name(host, f"{path}/vbnv")  # amdxdna's name of the chip, e.g. RyzenAI-npu5
    reason = "not usable from WSL" if wsl else explain_node(host, f"/dev/accel/{node}")
    return Device(
        kind="npu",
        vendor=vendor,
        name=clean(f"{name} ({board})") if board else name,
        unified=True,
        usable=reason is None,
        reason=reason or UNPROVEN,
        driver=driver,
    )

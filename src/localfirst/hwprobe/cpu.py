"""The processor: name, cores, instruction sets, and how many cores a worker may keep busy.

Instruction sets come from flags alone: virtual machines report false family and model numbers.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import ask_sysctl_int, ask_value_int, read_cpu_list
from localfirst.hwprobe.cgroup import read_cpu_quota
from localfirst.hwprobe.cpuinfo import EFFICIENCY_PARTS, CpuInfo, Processor, parse_cpuinfo
from localfirst.hwprobe.text import clean, parse_cpu_list
from localfirst.types import Cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host

_ARCHES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(.*)$", re.MULTILINE)
_MACOS_FEATURES = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.f16c": "f16c",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_FP16": "fp16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}
"""Source: Apple's "Determining Instruction Set Characteristics", and `sysctl hw.optional` on Intel."""


def read_cpu(host: Host, warn: Warn) -> Cpu:
    """The processor; what the machine does not say is `None`."""
    read = _READERS.get(host.platform)
    arch = _ARCHES.get(host.machine.lower(), clean(host.machine))
    return read(host, arch, warn) if read else Cpu(None, arch, None, None, None)


def count_cores(processors: Collection[Processor]) -> int | None:
    """Physical cores among some logical processors; `None` when there are none."""
    return len({processor.core for processor in processors}) or None


def find_usable_cores(
    processors: Collection[Processor],
    *,
    allowed: frozenset[int] | None = None,
    performance: frozenset[int] | None = None,
    quota: float | None = None,
) -> int | None:
    """Physical cores that a worker may keep busy, at least 1; `None` when no processor is known.

    Slow cores of a hybrid processor are left out, because an engine's threads wait for the slowest one, and so
    is a core of which the quota pays only a part, because a thread that is paused stops all others.

    Args:
        processors: The logical processors that are on line.
        allowed: Numbers of those in this process's affinity mask.
        performance: Numbers of those that are fast, where the kernel tells.
        quota: CPU time that the container may take, in CPUs.
    """
    mine = [one for one in processors if allowed is None or one.number in allowed] or list(processors)
    fast = [one for one in mine if performance is None or one.number in performance] or mine
    fast = [one for one in fast if one.part not in EFFICIENCY_PARTS] or fast
    cores = count_cores(fast)
    return cores if cores is None or quota is None else max(1, min(cores, math.floor(quota)))


def _read_linux(host: Host, arch: str, warn: Warn) -> Cpu:
    text = host.read("/proc/cpuinfo")
    info = parse_cpuinfo(text) if text else CpuInfo()
    if text and not info.processors:
        warn("/proc/cpuinfo: no processor in it")
    return Cpu(
        name=info.name,
        arch=arch,
        cores_physical=count_cores(info.processors),
        cores_logical=len(info.processors) or None,
        cores_usable=find_usable_cores(
            info.processors,
            allowed=_read_affinity(host, warn),
            # Source: the kernel's perf documentation on hybrid processors: one PMU per kind of core.
            performance=read_cpu_list(host, "/sys/devices/cpu_core/cpus", warn),
            quota=read_cpu_quota(host, warn),
        ),
        features=info.features,
    )


def _read_affinity(host: Host, warn: Warn) -> frozenset[int] | None:
    """What `sched_getaffinity(2)` answers, from a file so that a record can hold it."""
    match = _ALLOWED.search(host.read("/proc/self/status") or "")
    if not match:
        return None
    try:
        return parse_cpu_list(match[1])
    except ValueError as error:
        warn(f"/proc/self/status: {error}")
        return None


def _read_macos(host: Host, arch: str, warn: Warn) -> Cpu:
    physical = ask_sysctl_int(host, "hw.physicalcpu", warn)
    performance = ask_sysctl_int(host, "hw.perflevel0.physicalcpu", warn)
    features = tuple(feature for name, feature in _MACOS_FEATURES.items() if (host.sysctl(name) or "").strip() == "1")
    return Cpu(
        name=clean(host.sysctl("machdep.cpu.brand_string") or "") or None,
        arch=arch,
        cores_physical=physical,
        cores_logical=ask_sysctl_int(host, "hw.logicalcpu", warn),
        cores_usable=performance or physical or None,
        features=("neon", *features) if arch == "arm64" else features,
    )


def _read_windows(host: Host, arch: str, warn: Warn) -> Cpu:
    name, features = host.value("windows.cpu_name"), host.value("windows.cpu_features")
    known = tuple(clean(one) for one in features if isinstance(one, str)) if isinstance(features, list) else ()
    physical = ask_value_int(host, "windows.physical_cores", warn)
    return Cpu(
        name=clean(name) or None if isinstance(name, str) else None,
        arch=arch,
        cores_physical=physical,
        cores_logical=ask_value_int(host, "windows.logical_cores", warn),
        cores_usable=ask_value_int(host, "windows.performance_cores", warn) or physical or None,
        features=("neon", *known) if arch == "arm64" else known,
    )


_READERS: dict[str, Callable[[Host, str, Warn], Cpu]] = {
    "linux": _read_linux,
    "darwin": _read_macos,
    "win32": _read_windows,
}

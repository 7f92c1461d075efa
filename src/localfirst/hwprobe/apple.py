"""Apple silicon: one pool of memory, of which Metal lends the GPU a part.

The part is no fixed fraction (67 % of 8 GB, up to 90 % of 512 GB, and it changed with macOS 26), so Metal is asked.
`system_profiler` is not: it takes up to two seconds and knows only the number of GPU cores besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import ask_sysctl_int, ask_value_int
from localfirst.hwprobe.bandwidth import find_apple_bandwidth
from localfirst.types import Device
from localfirst.units import GIB, MIB

if TYPE_CHECKING:
    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.host import Host
    from localfirst.types import Cpu, Memory


def read_apple(host: Host, cpu: Cpu, memory: Memory, warn: Warn) -> tuple[Device, ...]:
    """The GPU and the neural engine of an Apple chip; nothing on a Mac with an Intel processor."""
    if host.platform != "darwin" or not cpu.name or not cpu.name.startswith("Apple"):
        return ()
    total, remark = _read_working_set(host, memory, warn)
    free = None if total is None or memory.available_bytes is None else min(total, memory.available_bytes)
    return (
        Device(
            kind="igpu",
            vendor="apple",
            name=cpu.name,
            memory_total_bytes=total,
            memory_free_bytes=free,
            unified=True,
            reason=remark,
            bandwidth_bytes_per_s=find_apple_bandwidth(cpu.name, cpu.cores_usable),
        ),
        Device(
            kind="npu",
            vendor="apple",
            name="Apple Neural Engine",
            unified=True,
            usable=False,
            reason="reachable through Core ML only",
        ),
    )


def _read_working_set(host: Host, memory: Memory, warn: Warn) -> tuple[int | None, str | None]:
    """Bytes that the GPU may use, and a remark where Metal did not say so itself."""
    if size := ask_value_int(host, "metal.recommended_max_working_set_size", warn):
        return size, None
    if limit_mib := ask_sysctl_int(host, "iogpu.wired_limit_mb", warn):  # 0 is the system's default
        return limit_mib * MIB, "limit from iogpu.wired_limit_mb"
    if memory.total_bytes is None:
        return None, None
    # What Metal answered on Macs of 8 to 128 GB before macOS 26, from llama.cpp's public logs.
    if memory.total_bytes < 36 * GIB:
        return memory.total_bytes * 2 // 3, "estimated as 2/3 of main memory: Metal did not answer"
    return memory.total_bytes * 3 // 4, "estimated as 3/4 of main memory: Metal did not answer"

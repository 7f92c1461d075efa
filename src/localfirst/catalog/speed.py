"""How fast a build will answer here, before it is fetched. An estimate, shown as a range, until a bench replaces it.

Decoding reads the weights and the cache once per token, so `seconds per token = t0 + bytes / (e x bandwidth)`:
t0 is what a step costs however small the model, e the share of the memory's nominal bandwidth that engines reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.catalog.fit import find_context, find_need
from localfirst.types import Speed
from localfirst.units import GB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import Cpu, Device, Machine, Model, Placement, Variant


@dataclass(frozen=True, slots=True)
class Pace:
    """How well a class of devices uses its memory's bandwidth."""

    step_s: float
    """t0: seconds per token that do not depend on size."""
    efficiency: float
    """e: share of the nominal bandwidth, 0 to 1."""


CPU = Pace(0.0010, 0.55)
"""0.40 (Framework), 0.50 (N150), 0.54 to 0.63 (Raspberry Pi 5): geerlingguy/ai-benchmarks, Q4_K_M."""
DISCRETE = Pace(0.0015, 0.80)
"""Least squares over llmfit's community results: RTX 5070 1.40 ms and 0.85, RX 7900 XT 1.72 ms and 0.78."""
OLD_NVIDIA = Pace(0.0015, 0.40)
"""Before Turing (compute capability 7.5) computing is the limit: GTX 1050 Ti 0.36."""
APPLE = Pace(0.0012, 0.82)
"""Same data: M4 Pro 1.17 ms and 0.84 with llama.cpp, 1.34 ms and 0.83 with MLX."""
APPLE_ULTRA = Pace(0.0012, 0.60)
"""Two dies: M3 Ultra 0.57, M1 Ultra 0.40 on small models, 0.73 on a 70B (geerlingguy/ai-benchmarks)."""
INTEGRATED = Pace(0.0015, 0.60)
"""Other GPUs on main memory, by Vulkan (geerlingguy/ai-benchmarks)."""

TURING = 7.5
CPU_BANDWIDTH_BYTES_PER_S = {"x86_64": 30 * GB, "arm64": 17 * GB}
"""Main memory where nobody measured it, on the low side: two channels of DDR4-2400 have 38.4 GB/s, a Raspberry Pi 5's
32 bits of LPDDR4X-4267 have 17 GB/s. Bandwidth cannot be told from a processor's name."""
CORE_BANDWIDTH_BYTES_PER_S = 10 * GB
"""One core draws at most this, a few more do not draw all: a 360M Q8_0 model on a Xeon drew 7.0 GB/s with one thread
and 9.8 GB/s with two."""

RANGE = (0.70, 1.15)
EXPERTS_RANGE = (0.50, 1.50)
"""Mixtures of experts spread wider: 0.36 to 0.9 of the bandwidth was seen."""


DISCRETE_BANDWIDTH_BYTES_PER_S = 112 * GB
"""A graphics card of its own whose figure nobody knows: a GTX 1050 Ti's (128 bits at 7 Gbit/s), the slowest that still
holds a model of 4 GB. On the low side, so that it is not taken for slower than the main memory beside it."""


def find_speed(  # noqa: PLR0913, PLR0917 - one argument per fact; a bundle of them would hide what is used
    model: Model,
    variant: Variant,
    machine: Machine,
    placement: Placement,
    devices: Sequence[Device],
    device_layers: int | None = None,
) -> Speed:
    """The decode speed to expect, in tokens per second, with the default context half full.

    Args:
        model: gives the share of the weights that one token reads.
        variant: gives the weights.
        machine: where it would run.
        placement: what computes.
        devices: the GPUs or the NPU, none for the CPU. Several take turns, so the slowest counts.
        device_layers: layers on the devices, where the CPU computes the others.

    Returns:
        A range; all unknown where the weights or the bandwidth are.
    """
    need = find_need(model, variant, find_context(model, variant, None, None))
    parts = _find_parts(model, machine, placement, devices, device_layers)
    if need is None or parts is None:
        return Speed()
    active_share, spread = 1.0, RANGE
    if model.active_parameters and model.parameters:
        active_share, spread = min(1.0, model.active_parameters / model.parameters), EXPERTS_RANGE
    bytes_per_token = need.weights_bytes * active_share + need.kv_bytes / 2
    tps = 1 / sum(part.pace.step_s + part.share * bytes_per_token / part.bytes_per_s for part in parts)
    low, high = spread
    return Speed(low_tps=tps * low, high_tps=tps * high)


@dataclass(frozen=True, slots=True)
class _Part:
    """What computes a share of the layers, at which rate it reads them."""

    share: float
    pace: Pace
    bandwidth_bytes_per_s: int

    @property
    def bytes_per_s(self) -> float:
        return self.pace.efficiency * self.bandwidth_bytes_per_s


def _find_parts(
    model: Model, machine: Machine, placement: Placement, devices: Sequence[Device], device_layers: int | None
) -> list[_Part] | None:
    """Who computes what; `None` where a bandwidth is unknown."""
    bandwidths = [_find_device_bandwidth(machine, device) for device in devices]
    share = 1.0
    if device_layers is not None and model.architecture.layers:
        share = device_layers / model.architecture.layers
    shares: list[tuple[float, Pace, int | None]] = []
    if placement == "cpu" or share < 1:
        shares.append((1.0 if placement == "cpu" else 1 - share, CPU, find_cpu_bandwidth(machine)))
    if placement != "cpu":
        slowest = min((bandwidth or 0 for bandwidth in bandwidths), default=0)
        shares.append((share, _find_pace(placement, devices[0] if devices else None), slowest))
    parts = [_Part(share, pace, bandwidth) for share, pace, bandwidth in shares if bandwidth]
    return parts if len(parts) == len(shares) else None


def _find_device_bandwidth(machine: Machine, device: Device) -> int | None:
    """Bytes per second of a device: its own figure, else an assumption by kind."""
    if device.bandwidth_bytes_per_s:
        return device.bandwidth_bytes_per_s
    if device.kind == "gpu" and not device.unified:
        return DISCRETE_BANDWIDTH_BYTES_PER_S
    return CPU_BANDWIDTH_BYTES_PER_S.get(machine.cpu.arch)


def find_cpu_bandwidth(machine: Machine) -> int | None:
    """Bytes per second that the CPU can read; an assumption by architecture and cores, except on unified memory."""
    unified = [device.bandwidth_bytes_per_s for device in machine.devices if device.unified]
    bandwidth = next(filter(None, unified), None) or CPU_BANDWIDTH_BYTES_PER_S.get(machine.cpu.arch)
    cores = _find_cores(machine.cpu)
    if bandwidth is None or cores is None:
        return bandwidth
    return min(bandwidth, cores * CORE_BANDWIDTH_BYTES_PER_S)


def _find_cores(cpu: Cpu) -> int | None:
    return cpu.cores_usable or cpu.cores_physical or cpu.cores_logical


def _find_pace(placement: Placement, device: Device | None) -> Pace:
    if placement == "cpu" or device is None:
        return CPU
    if "apple" in device.vendor.lower():
        return APPLE_ULTRA if "ultra" in device.name.lower() else APPLE
    if device.unified or device.kind != "gpu":
        return INTEGRATED
    return OLD_NVIDIA if _is_older_than_turing(device) else DISCRETE


def _is_older_than_turing(device: Device) -> bool:
    try:
        return device.compute_capability is not None and float(device.compute_capability) < TURING
    except ValueError:
        return False

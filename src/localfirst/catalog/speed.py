"""How fast a build will answer here, before it is fetched. An estimate, shown as a range, until a bench replaces it.

Decoding reads the weights and the cache once per token, so `seconds per token = t0 + bytes / (e x bandwidth)`:
t0 is what a step costs however small the model, e the share of the memory's nominal bandwidth that engines reach.
Reading a prompt computes many tokens per pass over the weights, so that arithmetic counts:
`seconds per token = operations / rate + bytes / (tokens per pass x e x bandwidth)`, with two operations per parameter.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.fit import find_context, find_engine
from localfirst.catalog.pace import Line, Reached, fit
from localfirst.catalog.traffic import find_read_bytes
from localfirst.types import Speed
from localfirst.units import GB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import Cpu, Device, Machine, Model, Placement, Rates, Variant


class Pace(NamedTuple):
    """How well a class of devices uses its memory's bandwidth, and how fast it computes."""

    step_s: float
    """t0: seconds per token that do not depend on size."""
    efficiency: float
    """e: share of the nominal bandwidth, 0 to 1."""
    operations_per_byte: float
    """Arithmetic operations that it does, in a prompt, while its memory could deliver one byte. Makers balance the two:
    within a class this varies less than either."""


CPU = Pace(0.0010, 0.55, 0)
"""0.40 (Framework), 0.50 (N150), 0.54 to 0.63 (Raspberry Pi 5): geerlingguy/ai-benchmarks, Q4_K_M. Operations are
counted by core."""
DISCRETE = Pace(0.0015, 0.80, 16)
"""Least squares over llmfit's community results: RTX 5070 1.40 ms and 0.85, RX 7900 XT 1.72 ms and 0.78. Operations:
RX 580 9, Arc Pro B50 14, RX 9070 XT 21 (geerlingguy/ai-benchmarks issues 20, 27, 25, Llama 3.2 3B Q4_K_M, pp512),
Arc A770 16 (brand-o/normiebench issue 12)."""
NVIDIA = Pace(0.0015, 0.80, 55)
"""The same. Operations: RTX 3060 41, RTX 2080 Ti 63 (geerlingguy/ai-benchmarks issues 40 and 46), RTX 3090 50
(ggml-org/llama.cpp pull request 4766), RTX 3080 80 (dmatora/LLM-inference-speed-benchmarks issue 12)."""
ADA_NVIDIA = Pace(0.0015, 0.80, 100)
"""From Ada (8.9) on; e is 0.79 on a GB10, too, though its memory is unified (geerlingguy/ai-benchmarks). Operations:
RTX 4090 129 (there, issue 43); a plain matrix product in 16 bits on an RTX 5070 103 (calebcoffie.com/benchmarks)."""
OLD_NVIDIA = Pace(0.0015, 0.40, 15)
"""Before Turing (7.5) computing is the limit: GTX 1050 Ti 0.36. No tensor cores: operations as for others without."""
TURING = 7.5
NVIDIA_PACES = ((TURING, OLD_NVIDIA), (8.9, NVIDIA), (inf, ADA_NVIDIA))
"""By the compute capability that a card is below."""
APPLE = Pace(0.0012, 0.82, 24)
"""Same data: M4 Pro 1.17 ms and 0.84 with llama.cpp, 1.34 ms and 0.83 with MLX. Operations: M1 Max 20, M4 30
(brand-o/normiebench issues 40 and 3, Llama 3.1 8B Q4_K_M, pp512)."""
APPLE_ULTRA = Pace(0.0012, 0.60, 17)
"""Two dies: M3 Ultra 0.57, M1 Ultra 0.40 on small models, 0.73 on a 70B (geerlingguy/ai-benchmarks). Operations: M1
Ultra 17 (there, issue 48)."""
INTEGRATED = Pace(0.0015, 0.60, 35)
"""Other GPUs on main memory, by Vulkan (geerlingguy/ai-benchmarks). Operations: Strix Halo 44 and 53
(PrismML-Eng/llama.cpp issue 26), which has the most of its kind."""

CORE_OPERATIONS_PER_S = {"avx2": 60e9, "dotprod": 35e9}
"""What a core does in a prompt, by the instructions that it has. x86: 57 G on an i5-4278U, 101 G on a Xeon of 2023 with
xllamacpp; arm64: 58 G on a Snapdragon, 43 G on a CP8180, 18 G on a Raspberry Pi 5 (geerlingguy/ai-benchmarks issues 53,
54, 51, 47)."""
PLAIN_CORE_OPERATIONS_PER_S = 10e9
"""A core with neither."""
PREFILL_RANGE = (0.5, 2.0)
"""The figures above are within it."""

CPU_BANDWIDTH_BYTES_PER_S = {"x86_64": 30 * GB, "arm64": 17 * GB}
"""Main memory where nobody measured it, on the low side: two channels of DDR4-2400 have 38.4 GB/s, a Raspberry Pi 5's
32 bits of LPDDR4X-4267 have 17 GB/s. Bandwidth cannot be told from a processor's name."""
CORE_BANDWIDTH_BYTES_PER_S = 10 * GB
"""One core draws at most this, a few more do not draw all: a 360M Q8_0 model on a Xeon drew 7.0 GB/s with one thread
and 9.8 GB/s with two."""

RANGE = (0.70, 1.15)
EXPERTS_RANGE = (0.50, 1.50)
"""Mixtures of experts spread wider: 0.36 to 0.9 of the bandwidth was seen."""
CORRECTED_RANGE = (0.85, 1.15)
"""Around what follows from measurements of other models in the same runtime. Of 22 networks of random weights in four
engines on two cores of an AMD EPYC, three calibrations told the speed within 6.8 % on average, those of 100 MB and more
within 4.8 % (without them 59 and 63 %), LiteRT-LM's, which was off most, within 8.2 %; single ones within 8.5, 10.5 and
11.5 %. The same network's speed differed by 19 % within a quarter of an hour: `python -m benchmarks.speed_accuracy`."""


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
    reached: Sequence[Rates] = (),
) -> Speed:
    """The speed to expect: decoding with the default context half full, in 16 bits, and reading a prompt.

    Args:
        model: gives the share of the weights that one token reads.
        variant: gives the weights.
        machine: where it would run.
        placement: what computes.
        devices: the GPUs or the NPU, none for the CPU. Several take turns, so the slowest counts.
        device_layers: layers on the devices, where the CPU computes the others.
        reached: what other models reached here in the same runtime, by which the assumptions are corrected.

    Returns:
        A range; all unknown where the weights or the bandwidth are.
    """
    parts = _find_parts(machine, devices, _find_share(model, placement, device_layers))
    if parts is None:
        return Speed()
    _, need = find_context(model, variant, None, None)
    if need is None:
        return Speed()
    low, high = EXPERTS_RANGE if model.active_parameters else RANGE
    bytes_per_token = find_read_bytes(model, variant, need, filled=0.5)
    seen = _find_reached(reached)
    if seen and len(parts) == 1:
        tps = fit(parts[0].line, seen).find_tps(bytes_per_token, model.architecture.layers)
        low, high = EXPERTS_RANGE if model.active_parameters else CORRECTED_RANGE
    else:
        tps = 1 / sum(1 / part.line.find_tps(part.share * bytes_per_token) for part in parts)
    prefill = _find_prefill(model, variant, need.weights_bytes, parts)
    prefill_low, prefill_high = PREFILL_RANGE
    return Speed(
        low_tps=tps * low,
        high_tps=tps * high,
        prefill_low_tps=prefill and prefill * prefill_low,
        prefill_high_tps=prefill and prefill * prefill_high,
        corrected=bool(seen) and len(parts) == 1,
    )


def find_line(
    machine: Machine, placement: Placement, devices: Sequence[Device], reached: Sequence[Rates] = ()
) -> Line | None:
    """How fast weights are read that are all in one place: as assumed, corrected by what was reached in a runtime.

    `None` where the bandwidth is unknown.
    """
    parts = _find_parts(machine, devices, 0.0 if placement == "cpu" else 1.0)
    return fit(parts[0].line, _find_reached(reached)) if parts else None


def _find_reached(rates: Sequence[Rates]) -> list[Reached]:
    return [Reached(one.bytes_per_token, one.decode_tps, one.layers) for one in rates if one.bytes_per_token]


def _find_prefill(model: Model, variant: Variant, weights_bytes: int, parts: Sequence[_Part]) -> float | None:
    """Prompt tokens per second. A pass over the weights computes a batch of them, which meets every expert."""
    parameters = model.active_parameters or model.parameters
    if not parameters:
        return None
    pass_bytes = weights_bytes / find_engine(variant).find_batch_tokens(weights_bytes)
    return 1 / sum(
        part.share * (2 * parameters / part.operations_per_s + pass_bytes / part.bytes_per_s) for part in parts
    )


class _Part(NamedTuple):
    """What computes a share of the layers, at which rate it reads them."""

    share: float
    pace: Pace
    bandwidth_bytes_per_s: int
    operations_per_s: float

    @property
    def bytes_per_s(self) -> float:
        return self.pace.efficiency * self.bandwidth_bytes_per_s

    @property
    def line(self) -> Line:
        """What is assumed of it."""
        return Line(self.pace.step_s, 1 / self.bytes_per_s)


def _find_share(model: Model, placement: Placement, device_layers: int | None) -> float:
    """The share of the layers that devices compute."""
    if placement == "cpu":
        return 0.0
    if device_layers is not None and model.architecture.layers:
        return device_layers / model.architecture.layers
    return 1.0


def _find_parts(machine: Machine, devices: Sequence[Device], share: float) -> list[_Part] | None:
    """Who computes what, devices a share of it; `None` where a bandwidth is unknown."""
    parts = []
    if share < 1:
        bandwidth = find_cpu_bandwidth(machine)
        if not bandwidth:
            return None
        parts.append(_Part(1 - share, CPU, bandwidth, _find_cpu_operations(machine.cpu)))
    if share:
        bandwidth = min((_find_device_bandwidth(machine, device) or 0 for device in devices), default=0)
        if not bandwidth:
            return None
        pace = _find_pace(devices[0])
        parts.append(_Part(share, pace, bandwidth, pace.operations_per_byte * bandwidth))
    return parts


def _find_device_bandwidth(machine: Machine, device: Device) -> int | None:
    """Bytes per second of a device: its own figure, else an assumption by kind."""
    if device.bandwidth_bytes_per_s:
        return device.bandwidth_bytes_per_s
    if device.kind == "gpu" and not device.unified:
        return DISCRETE_BANDWIDTH_BYTES_PER_S
    return CPU_BANDWIDTH_BYTES_PER_S.get(machine.cpu.arch)


def find_cpu_bandwidth(machine: Machine) -> int | None:
    """Bytes per second that the CPU can read: measured, known of unified memory, or assumed by architecture.

    What cores can take is the limit, too.
    """
    unified = [device.bandwidth_bytes_per_s for device in machine.devices if device.unified]
    known = machine.memory.bandwidth_bytes_per_s or next(filter(None, unified), None)
    bandwidth = known or CPU_BANDWIDTH_BYTES_PER_S.get(machine.cpu.arch)
    cores = _find_cores(machine.cpu)
    if bandwidth is None or cores is None:
        return bandwidth
    return min(bandwidth, cores * CORE_BANDWIDTH_BYTES_PER_S)


def _find_cpu_operations(cpu: Cpu) -> float:
    """Operations per second of all cores; of one where nobody knows how many there are."""
    per_core = (rate for feature, rate in CORE_OPERATIONS_PER_S.items() if feature in cpu.features)
    return (_find_cores(cpu) or 1) * max(per_core, default=PLAIN_CORE_OPERATIONS_PER_S)


def _find_cores(cpu: Cpu) -> int | None:
    return cpu.cores_usable or cpu.cores_physical or cpu.cores_logical


def _find_pace(device: Device) -> Pace:
    vendor = device.vendor.lower()
    if "apple" in vendor:
        return APPLE_ULTRA if "ultra" in device.name.lower() else APPLE
    if "nvidia" in vendor:
        capability = _read_capability(device)
        return next(pace for limit, pace in NVIDIA_PACES if capability < limit)
    return INTEGRATED if device.unified or device.kind != "gpu" else DISCRETE


def _read_capability(device: Device) -> float:
    """The compute capability; of a card that does not say, that of the oldest with tensor cores."""
    try:
        return float(device.compute_capability or TURING)
    except ValueError:
        return TURING

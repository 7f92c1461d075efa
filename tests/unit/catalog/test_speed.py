"""The speed to expect, checked against speeds that people measured and published."""

from __future__ import annotations

import pytest
from catalog_examples import VARIANT, make_machine, make_model

from localfirst.catalog.speed import RANGE, find_cpu_bandwidth, find_speed
from localfirst.services.machines import find_machine
from localfirst.types import Architecture, Cpu, Device, KvGroup, Placement, Rates, Speed
from localfirst.units import GB

APPLE = Device("igpu", "apple", "Apple M4 Pro", unified=True, bandwidth_bytes_per_s=273 * GB)
NVIDIA = Device("gpu", "nvidia", "NVIDIA GeForce RTX 4090", compute_capability="8.9", bandwidth_bytes_per_s=1008 * GB)
OLD = Device("gpu", "nvidia", "GeForce GTX 1060", compute_capability="6.1", bandwidth_bytes_per_s=192 * GB)

SHORT_CACHE = Architecture(kv_groups=(KvGroup(1, 1, 2),))


@pytest.mark.parametrize(
    ("placement", "device", "weights_bytes", "measured_tps"),
    [
        pytest.param("gpu", NVIDIA, 8_990_000_000, 84, id="DeepSeek R1 14B on an RTX 4090"),
        pytest.param("cpu", None, 2_020_000_000, 4.61, id="Llama 3.2 3B on a Raspberry Pi 5"),
    ],
)
def test_published_speeds_are_within_the_range(
    placement: Placement, device: Device | None, weights_bytes: int, measured_tps: float
) -> None:
    """Ollama, Q4_K_M, short prompts: geerlingguy/ai-benchmarks."""
    machine = make_machine()._replace(cpu=Cpu("Cortex-A76", "arm64", 4, 4, 4))
    model = make_model(architecture=SHORT_CACHE)
    speed = find_speed(
        model, VARIANT._replace(size_bytes=weights_bytes), machine, placement, (device,) if device else ()
    )
    assert speed.low_tps is not None
    assert speed.high_tps is not None
    assert speed.low_tps <= measured_tps <= speed.high_tps


def test_a_token_costs_a_step_and_the_bytes_it_reads() -> None:
    speed = find_speed(make_model(), VARIANT, make_machine(NVIDIA), "gpu", (NVIDIA,))
    bytes_per_token = 2_500_000_000 + 36 * 8 * 128 * 4 * 8192 / 2
    tps = 1 / (0.0015 + bytes_per_token / (0.80 * 1008 * GB))
    assert (speed.low_tps, speed.high_tps) == (pytest.approx(tps * 0.7), pytest.approx(tps * 1.15))


M4 = Device("igpu", "apple", "Apple M4", unified=True, bandwidth_bytes_per_s=120 * GB)
RTX_3060 = Device("gpu", "nvidia", "NVIDIA GeForce RTX 3060", compute_capability="8.6", bandwidth_bytes_per_s=360 * GB)
RX_580 = Device("gpu", "amd", "AMD Radeon RX 580", bandwidth_bytes_per_s=256 * GB)
I5 = Cpu("Intel(R) Core(TM) i5-4278U", "x86_64", 2, 4, 2, features=("avx2", "fma"))
PI = find_machine("raspberry-pi-5-8gb").cpu


@pytest.mark.parametrize(
    ("where", "parameters_b", "active_b", "weights_bytes", "measured_tps"),
    [
        pytest.param(NVIDIA, 3.21, None, 2_020_000_000, 20_323, id="RTX 4090, ai-benchmarks issue 43"),
        pytest.param(RTX_3060, 1.10, None, 667_000_000, 6744, id="RTX 3060, issue 40"),
        pytest.param(RX_580, 3.21, None, 2_020_000_000, 347, id="RX 580, issue 20"),
        pytest.param(M4, 8.03, None, 4_920_000_000, 225, id="M4, normiebench issue 3"),
        pytest.param(I5, 3.21, None, 2_020_000_000, 17.7, id="i5-4278U, issue 53"),
        pytest.param(PI, 30.5, 3.3, 10_290_000_000, 10.9, id="mixture of experts on a Raspberry Pi 5, issue 47"),
    ],
)
def test_published_speeds_of_reading_a_prompt_are_within_the_range(
    where: Device | Cpu, parameters_b: float, active_b: float | None, weights_bytes: int, measured_tps: float
) -> None:
    """llama-bench, pp512: geerlingguy/ai-benchmarks and brand-o/normiebench."""
    devices = (where,) if isinstance(where, Device) else ()
    machine = make_machine(*devices) if isinstance(where, Device) else make_machine()._replace(cpu=where)
    model = make_model(architecture=SHORT_CACHE)._replace(
        parameters=int(parameters_b * 1e9),
        active_parameters=active_b and int(active_b * 1e9),
    )
    variant = VARIANT._replace(size_bytes=weights_bytes)
    speed = find_speed(model, variant, machine, devices[0].kind if devices else "cpu", devices)
    assert speed.prefill_low_tps is not None
    assert speed.prefill_high_tps is not None
    assert speed.prefill_low_tps <= measured_tps <= speed.prefill_high_tps
    assert speed.prefill_high_tps == pytest.approx(4 * speed.prefill_low_tps)


def test_a_prompt_is_read_faster_than_an_answer_is_written() -> None:
    for device in (NVIDIA, OLD, APPLE):
        speed = find_speed(make_model(), VARIANT, make_machine(device), device.kind, (device,))
        assert speed.low_tps is not None
        assert speed.prefill_low_tps is not None
        assert speed.prefill_low_tps > speed.low_tps


def test_a_mixture_of_experts_reads_its_active_share_and_is_less_certain() -> None:
    dense = make_model(architecture=SHORT_CACHE)
    large = VARIANT._replace(size_bytes=20_000_000_000)
    experts = dense._replace(parameters=30_000_000_000, active_parameters=3_000_000_000)
    slow, fast = (find_speed(one, large, make_machine(NVIDIA), "gpu", (NVIDIA,)) for one in (dense, experts))
    assert slow.low_tps is not None
    assert fast.low_tps is not None
    assert fast.low_tps > 2 * slow.low_tps
    assert fast.high_tps == pytest.approx(3 * fast.low_tps)


@pytest.mark.parametrize(
    ("cpu", "devices", "bandwidth"),
    [
        pytest.param(Cpu(None, "x86_64", 8, 16, 8), (), 30 * GB, id="a desktop"),
        pytest.param(Cpu(None, "x86_64", 8, 16, 2), (), 20 * GB, id="two cores allowed"),
        pytest.param(Cpu(None, "x86_64", None, 1, None), (), 10 * GB, id="one core"),
        pytest.param(Cpu(None, "x86_64", None, None, None), (), 30 * GB, id="unknown cores"),
        pytest.param(Cpu(None, "arm64", 4, 4, 4), (), 17 * GB, id="a Raspberry Pi"),
        pytest.param(Cpu(None, "arm64", 14, 14, 10), (APPLE,), 100 * GB, id="Apple: the memory is one"),
        pytest.param(Cpu(None, "arm64", 40, 40, 40), (APPLE,), 273 * GB, id="Apple, cores enough"),
        pytest.param(Cpu(None, "riscv64", 4, 4, 4), (), None, id="unknown architecture"),
        pytest.param(Cpu(None, "x86_64", 8, 16, 8), (NVIDIA,), 30 * GB, id="a card's memory is not the CPU's"),
    ],
)
def test_the_cpus_bandwidth_is_assumed_on_the_low_side(
    cpu: Cpu, devices: tuple[Device, ...], bandwidth: int | None
) -> None:
    assert find_cpu_bandwidth(make_machine(*devices)._replace(cpu=cpu)) == bandwidth


@pytest.mark.parametrize(("cores", "bandwidth"), [(8, 70 * GB), (2, 20 * GB)], ids=["enough cores", "two cores"])
def test_what_was_measured_of_the_memory_is_believed_as_far_as_cores_can_take_it(cores: int, bandwidth: int) -> None:
    machine = make_machine()._replace(cpu=Cpu("x", "x86_64", cores, cores, cores))
    machine = machine._replace(memory=machine.memory._replace(bandwidth_bytes_per_s=70 * GB))
    assert find_cpu_bandwidth(machine) == bandwidth


@pytest.mark.parametrize(
    ("device", "efficiency", "step_s"),
    [
        pytest.param(NVIDIA, 0.80, 0.0015, id="discrete"),
        pytest.param(OLD, 0.40, 0.0015, id="before Turing"),
        pytest.param(OLD._replace(compute_capability="N/A"), 0.80, 0.0015, id="unreadable capability"),
        pytest.param(APPLE, 0.82, 0.0012, id="Apple"),
        pytest.param(APPLE._replace(name="Apple M2 Ultra"), 0.60, 0.0012, id="Apple, two dies"),
        pytest.param(APPLE._replace(vendor="amd", name="Radeon 780M"), 0.60, 0.0015, id="integrated"),
    ],
)
def test_each_class_of_device_has_its_pace(device: Device, efficiency: float, step_s: float) -> None:
    speed = find_speed(make_model(), VARIANT, make_machine(device), device.kind, (device,))
    bytes_per_token = 2_500_000_000 + 36 * 8 * 128 * 4 * 8192 / 2
    seconds = step_s + bytes_per_token / (efficiency * (device.bandwidth_bytes_per_s or 0))
    assert speed.high_tps == pytest.approx(1.15 / seconds)


def test_what_is_unknown_gives_no_speed() -> None:
    npu = Device("npu", "riscv", "NPU", unified=True)
    strange = make_machine(npu)._replace(cpu=Cpu("CPU", "riscv64", 4, 4, 4))
    assert find_speed(make_model(), VARIANT, strange, "npu", (npu,)) == Speed()
    assert find_speed(make_model(), VARIANT._replace(size_bytes=None), make_machine(), "cpu", ()) == Speed()


def test_a_card_that_nobody_knows_is_taken_for_a_slow_one_and_not_for_slower_than_the_cpu() -> None:
    unknown, slow = (NVIDIA._replace(bandwidth_bytes_per_s=one) for one in (None, 112 * GB))
    speed = find_speed(make_model(), VARIANT, make_machine(unknown), "gpu", (unknown,))
    assert speed == find_speed(make_model(), VARIANT, make_machine(slow), "gpu", (slow,))
    by_cpu = find_speed(make_model(), VARIANT, make_machine(unknown), "cpu", ())
    assert by_cpu.high_tps is not None
    assert speed.low_tps is not None
    assert speed.low_tps > by_cpu.high_tps


def test_of_several_cards_the_slowest_counts() -> None:
    slow = NVIDIA._replace(bandwidth_bytes_per_s=112 * GB)
    machine = make_machine(NVIDIA, slow)
    both, alone = (find_speed(make_model(), VARIANT, machine, "gpu", one) for one in ((NVIDIA, slow), (slow,)))
    assert both == alone


def test_a_split_takes_the_time_of_both_parts() -> None:
    machine = make_machine(NVIDIA)
    speeds = [
        find_speed(make_model(), VARIANT, machine, placement, devices, layers)
        for placement, devices, layers in (("cpu", (), None), ("gpu", (NVIDIA,), 18), ("gpu", (NVIDIA,), None))
    ]
    slow, half, fast = (1 / (speed.high_tps or 0) * 1.15 for speed in speeds)
    assert half == pytest.approx((slow - 0.0010) / 2 + (fast - 0.0015) / 2 + 0.0010 + 0.0015)


def test_what_others_reached_in_a_runtime_corrects_what_is_expected_of_a_model() -> None:
    """A machine half as fast as assumed, by a model a quarter as large."""
    model = make_model(architecture=SHORT_CACHE)
    large, small = (VARIANT._replace(size_bytes=size) for size in (4_000_000_000, 1_000_000_000))
    assumed, expected = (find_speed(model, one, make_machine(), "cpu", ()) for one in (large, small))
    reached = Rates((expected.low_tps or 0) / RANGE[0] / 2, None, 1_000_000_000)
    corrected = find_speed(model, large, make_machine(), "cpu", (), reached=[reached])
    assert (assumed.corrected, corrected.corrected) == (False, True)
    middle = ((corrected.low_tps or 0) + (corrected.high_tps or 0)) / 2
    assert middle == pytest.approx((assumed.low_tps or 0) / RANGE[0] / 2, rel=0.05)


def test_a_speed_without_its_bytes_corrects_nothing() -> None:
    speed = find_speed(make_model(), VARIANT, make_machine(), "cpu", (), reached=[Rates(1.0)])
    assert speed == find_speed(make_model(), VARIANT, make_machine(), "cpu", ())

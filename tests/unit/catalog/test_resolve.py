"""The build that is chosen, the reason for it, and the reason of every one that is not."""

from __future__ import annotations

import re

import pytest
from catalog_examples import LLAMA, METAL, ONNX, ONNX_VARIANT, VARIANT, make_machine, make_model
from hypothesis import given
from hypothesis import strategies as st

from localfirst.catalog.fit import find_need
from localfirst.catalog.judge import Disks
from localfirst.catalog.resolve import find_plans, resolve
from localfirst.catalog.rules import ORIGIN_RANKS, TIERS, find_bits
from localfirst.errors import (
    DeviceError,
    DiskFullError,
    LfError,
    NoFitError,
    RuntimeMissingError,
    UnknownNameError,
    UsageError,
)
from localfirst.types import (
    Architecture,
    Device,
    KvGroup,
    Machine,
    Model,
    ModelFile,
    Plan,
    Rates,
    Runtime,
    Variant,
    Wanted,
)
from localfirst.units import GB, GIB, MIB

RUNTIMES = (LLAMA, ONNX)
NVIDIA = Device("gpu", "nvidia", "NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB, bandwidth_bytes_per_s=1008 * GB)
APPLE = Device("igpu", "apple", "Apple M2", 12 * GIB, None, unified=True, bandwidth_bytes_per_s=100 * GB)


def choose(
    model: Model, machine: Machine | None = None, runtimes: tuple[Runtime, ...] = RUNTIMES, **facts: object
) -> Plan:
    return resolve(model, machine or make_machine(), runtimes, **facts).chosen  # type: ignore[arg-type]


def find_reasons(model: Model, machine: Machine | None = None, **facts: object) -> dict[str, str]:
    plans = find_plans(model, machine or make_machine(), RUNTIMES, **facts)  # type: ignore[arg-type]
    return {plan.variant.name: plan.reason for plan in plans}


def refuse(model: Model, machine: Machine | None = None, **facts: object) -> LfError:
    with pytest.raises(LfError) as raised:
        resolve(model, machine or make_machine(), RUNTIMES, **facts)  # type: ignore[arg-type]
    return raised.value


def test_a_quantized_cache_takes_less_and_goes_to_an_engine_that_can() -> None:
    model = make_model(VARIANT._replace(tier="community"), ONNX_VARIANT)
    plain, small = (choose(model, wanted=Wanted(cache=cache)) for cache in ("f16", "q8_0"))
    assert (plain.runtime, small.runtime, small.cache) == (ONNX, LLAMA, "q8_0")
    at_once = choose(make_model(VARIANT), wanted=Wanted(cache="f16"))
    assert small.need is not None
    assert at_once.need is not None
    assert small.need.kv_bytes == at_once.need.kv_bytes * 17 // 32


def test_where_no_engine_quantizes_its_cache_that_is_the_reason() -> None:
    error = refuse(make_model(ONNX_VARIANT), wanted=Wanted(cache="q4_0"))
    assert (error.code, error.hint) == ("runtime-missing", "leave out `--kv-cache`")
    assert "does not quantize its cache" in error.message


def test_a_plan_says_all_that_was_decided() -> None:
    model = make_model()
    plan = choose(model)
    assert plan == Plan(
        model=model,
        variant=VARIANT,
        runtime=LLAMA,
        placement="cpu",
        device_name=None,
        context_tokens=8192,
        need=find_need(model, VARIANT, 8192),
        free_bytes=12 * GIB - 16 * GIB // 10,
        verdict="cpu",
        speed=plan.speed,
        installed=False,
        reason="the only build that runs here",
    )
    assert plan.speed.low_tps is not None


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        pytest.param(
            {"tier": "vendor", "quantization": "Q4_0"},
            {"tier": "platform", "quantization": "Q8_0"},
            "published by the vendor; the next best is published by a conversion platform",
            id="publisher before precision",
        ),
        pytest.param(
            {"tier": "platform"},
            {"tier": "community"},
            "published by a conversion platform; the next best is published by the community",
            id="platform before community",
        ),
        pytest.param(
            {"quantization": "Q8_0", "size_bytes": 4 * GB},
            {"quantization": "Q4_K_M"},
            "8-bit, quantized after training; the next best is 4-bit, quantized after training",
            id="precision before speed",
        ),
        pytest.param(
            {"origin": "qat", "quantization": "Q4_0", "size_bytes": 3 * GB},
            {"origin": "vendor-ptq"},
            "4-bit, trained for it; the next best is 4-bit, quantized after training",
            id="trained before quantized, at the same bits",
        ),
        pytest.param(
            {"size_bytes": 2 * GB},
            {"size_bytes": 3 * GB},
            "5.8 tokens/s estimated; the next best is 4.2 tokens/s estimated",
            id="faster",
        ),
    ],
)
def test_builds_are_ordered_by_the_first_rule_that_tells_them_apart(
    better: dict[str, object], worse: dict[str, object], reason: str
) -> None:
    first = VARIANT._replace(name="z-better", **better)  # type: ignore[arg-type]
    second = VARIANT._replace(name="a-worse", **worse)  # type: ignore[arg-type]
    for variants in ((first, second), (second, first)):
        resolution = resolve(make_model(*variants), make_machine(), RUNTIMES)
        assert resolution.chosen.variant == first
        assert resolution.chosen.reason == reason
        winner, _, loser = reason.partition("; the next best is ")
        assert [plan.reason for plan in resolution.rejected] == [f"{loser}; the chosen one is {winner}"]


def test_what_is_on_this_disk_comes_before_what_is_not() -> None:
    model = make_model(VARIANT, VARIANT._replace(name="there"))
    plan = choose(model, installed={"there"})
    assert (plan.variant.name, plan.installed) == ("there", True)
    assert plan.reason == "on this disk; the next best is not downloaded yet"
    assert choose(make_model(VARIANT, VARIANT._replace(name="built-in", host="builtin"))).variant.name == "built-in"


def test_less_to_download_comes_first_where_all_else_is_equal() -> None:
    missing = LLAMA._replace(name="a-llama", state="installable", installed_bytes=100_000_000)
    plan = choose(make_model(), runtimes=(missing, LLAMA))
    assert plan.runtime == LLAMA
    assert plan.reason == "2.50 GB to download; the next best is 2.60 GB to download"


def test_equals_are_ordered_by_name() -> None:
    resolution = resolve(make_model(VARIANT._replace(name="b"), VARIANT._replace(name="a")), make_machine(), RUNTIMES)
    assert resolution.chosen.variant.name == "a"
    assert resolution.chosen.reason == "equal to the next best in everything, first by name"
    assert resolution.rejected[0].reason == "equal to the chosen one in everything, later by name"


def test_a_measurement_replaces_the_estimate() -> None:
    slow = VARIANT._replace(name="large", size_bytes=3 * GB)
    measured = {("example:4b", "large", "llama-cpu"): Rates(50.0)}
    plan = choose(make_model(VARIANT, slow), measured=measured)
    assert (plan.variant.name, plan.speed.measured_tps) == ("large", 50.0)
    assert plan.reason.startswith("50.0 tokens/s measured; the next best is ")


def test_a_measurement_under_the_least_speed_rules_a_build_out() -> None:
    measured = {("example:4b", "q4_k_m", "llama-cpu"): Rates(2.5)}
    error = refuse(make_model(), measured=measured, wanted=Wanted(min_tps=3))
    assert isinstance(error, NoFitError)
    assert error.message == "`example:4b` would be too slow here: 2.5 tokens/s at best, the least wanted is 3.0"
    assert error.detail is not None
    assert "`--min-tps 0` runs it all the same" in error.detail


def test_one_slow_run_keeps_nothing_from_running_again() -> None:
    measured = {("example:4b", "q4_k_m", "llama-cpu"): Rates(0.5)}
    assert choose(make_model(), measured=measured).speed.measured_tps == 0.5


CUDA = ONNX_VARIANT._replace(name="int4-gpu", devices=("cuda",))


@pytest.mark.parametrize(
    ("variant", "devices", "reason"),
    [
        pytest.param(
            VARIANT._replace(format="mlx", devices=("metal",)),
            (),
            "no runtime of this release loads it: mlx needs MLX on Apple silicon",
            id="format",
        ),
        pytest.param(
            VARIANT._replace(quantization="i2_s", recipe="i2_s-to-tq2_0"),
            (),
            "no runtime of this release loads it: i2_s needs the bitnet runtime",
            id="quantization",
        ),
        pytest.param(
            VARIANT._replace(quantization="i2_s"),
            (),
            "i2_s is packed in several ways, and nothing in a file tells which way; "
            "lf loads the files that its catalog knows by their digest",
            id="unknown file",
        ),
        pytest.param(CUDA, (), "made for cuda; this machine has no NVIDIA GPU", id="device"),
        pytest.param(CUDA, (NVIDIA,), "made for cuda; no runtime of this release computes there", id="no runtime"),
        pytest.param(
            CUDA,
            (NVIDIA._replace(usable=False, reason="no driver"),),
            "made for cuda; NVIDIA GeForce RTX 4090 cannot be used: no driver",
            id="device without driver",
        ),
        pytest.param(
            ONNX_VARIANT._replace(devices=("qnn-npu",)),
            (NVIDIA,),
            "made for qnn-npu; this machine has no Qualcomm NPU",
            id="NPU",
        ),
        pytest.param(
            VARIANT._replace(host="foundry"),
            (),
            "published only in Foundry Local's catalog, from which lf does not download",
            id="Foundry",
        ),
        pytest.param(
            VARIANT._replace(size_bytes=40 * GB),
            (),
            "needs 40.8 GB of memory at a context of 4,096 tokens, 11.2 GB is free for it",
            id="memory",
        ),
    ],
)
def test_what_cannot_run_says_why(variant: Variant, devices: tuple[Device, ...], reason: str) -> None:
    good = VARIANT._replace(name="good", tier="community")
    variant = variant._replace(name="bad")
    resolution = resolve(make_model(variant, good), make_machine(*devices), RUNTIMES)
    assert resolution.chosen.variant == good
    assert [(plan.variant, plan.verdict, plan.reason) for plan in resolution.rejected] == [(variant, "no", reason)]


def test_an_unconfirmed_build_is_the_last_choice_and_says_so() -> None:
    unconfirmed = VARIANT._replace(name="unconfirmed", confidence="memory")
    confirmed = VARIANT._replace(name="confirmed", tier="community")
    resolution = resolve(make_model(unconfirmed, confirmed), make_machine(), RUNTIMES)
    assert resolution.chosen.variant == confirmed
    assert resolution.rejected[0].reason == (
        "nobody has confirmed that this build exists; the chosen one is known from a public source"
    )
    alone = choose(make_model(unconfirmed))
    assert alone.reason == "the only build that runs here; nobody has confirmed that this build exists"
    there = choose(make_model(unconfirmed), installed=["unconfirmed"])
    assert there.reason == "the only build that runs here"


CPU_BY_VENDOR = ONNX_VARIANT._replace(name="int4-cpu", devices=("cpu",), tier="vendor")
GPU_BY_OTHERS = VARIANT._replace(name="q4_k_m", tier="community")
BY_CUDA = METAL._replace(name="llama-cuda", variant_devices=("cuda",), placement="gpu")


def test_what_is_far_faster_is_named_where_the_publisher_decides() -> None:
    model = make_model(CPU_BY_VENDOR, GPU_BY_OTHERS)
    plan = choose(model, measured={(model.name, "q4_k_m", "llama-cpu"): Rates(100.0)})
    assert plan.variant == CPU_BY_VENDOR
    reason, remark = plan.reason.split("; ")[0], plan.reason.split("; ")[-1]
    assert reason == "published by the vendor"
    assert re.fullmatch(r"\S+@q4_k_m, published by the community, is about \d+ times as fast, on the CPU", remark)
    assert "times as fast" not in choose(model).reason


INTEL_GPU = Device("igpu", "intel", "Intel Arc 140V", 32 * GIB, None, unified=True, bandwidth_bytes_per_s=136 * GB)
BY_VULKAN = METAL._replace(name="llama-vulkan", variant_devices=("vulkan",), placement="gpu")


@pytest.mark.parametrize(
    ("device", "runtime"),
    [(NVIDIA, BY_CUDA), (APPLE, METAL), (INTEL_GPU, BY_VULKAN)],
    ids=["a card", "Apple silicon", "by a general interface"],
)
def test_a_build_that_a_gpu_holds_whole_stands_before_one_for_the_cpu(device: Device, runtime: Runtime) -> None:
    model, runtimes = make_model(CPU_BY_VENDOR, GPU_BY_OTHERS), (LLAMA, ONNX, runtime)
    plan = choose(model, make_machine(device), runtimes)
    assert (plan.variant, plan.runtime) == (GPU_BY_OTHERS, runtime)
    unlike = next(one for one in find_plans(model, make_machine(device), runtimes) if one.variant == CPU_BY_VENDOR)
    assert re.fullmatch(r"computed on the CPU; the chosen one is computed on the I?GPU", unlike.reason)
    for wanted in (Wanted(device="cpu"), Wanted(tier="vendor"), Wanted(quantization="int4-cpu")):
        assert choose(model, make_machine(device), runtimes, wanted=wanted).variant == CPU_BY_VENDOR


def test_a_split_between_the_gpu_and_the_cpu_is_not_held_whole() -> None:
    small = NVIDIA._replace(memory_total_bytes=4 * GIB, memory_free_bytes=3 * GIB)
    plan = choose(make_model(CPU_BY_VENDOR, GPU_BY_OTHERS), make_machine(small), (LLAMA, ONNX, BY_CUDA))
    assert plan.variant == CPU_BY_VENDOR


UNKNOWN = GPU_BY_OTHERS._replace(name="unknown", tier="vendor", size_bytes=None, files=(ModelFile("model.gguf"),))


def test_a_build_of_unknown_size_stands_behind_one_of_known_size() -> None:
    plan = choose(make_model(UNKNOWN, GPU_BY_OTHERS))
    assert plan.variant == GPU_BY_OTHERS
    assert plan.reason == "of known size; the next best is of unknown size"


@pytest.mark.parametrize(
    ("free_bytes", "expected", "reason"),
    [
        (23 * GIB, UNKNOWN, "computed on the GPU; the next best is computed on the CPU"),
        (4 * GIB, CPU_BY_VENDOR, "of known size; the next best is of unknown size, and may not fit"),
    ],
    ids=["far more memory than it can need", "hardly more"],
)
def test_a_build_of_unknown_size_runs_on_a_gpu_where_it_is_sure_to_fit(
    free_bytes: int, expected: Variant, reason: str
) -> None:
    cuda = make_machine(NVIDIA._replace(memory_free_bytes=free_bytes))
    only_gpu = (ONNX, BY_CUDA)
    plan = choose(make_model(UNKNOWN, CPU_BY_VENDOR), cuda, only_gpu)
    assert plan.variant == expected
    assert plan.reason.startswith(reason)


def test_the_context_of_a_build_of_unknown_size_counts_too() -> None:
    """Weights of 2.0 GB at least, 36 layers of 8 heads of 128, keys and values in 16 bits: 0.6 GB for 4,096 tokens."""
    machine = make_machine(available_bytes=4 * GIB)
    model = make_model(UNKNOWN)
    assert (machine_bytes := next(find_plans(model, machine, RUNTIMES)).free_bytes) is not None
    assert 2.1 * GB < machine_bytes < 2.6 * GB
    assert "at a context of 4,096 tokens" in (refuse(model, machine).detail or "")


def test_what_is_surely_too_large_does_not_run_though_its_size_is_unknown() -> None:
    unknown = VARIANT._replace(size_bytes=None, files=(ModelFile("model.gguf"),))
    large = make_model(unknown, parameters=30_000_000_000)
    error = refuse(large)
    assert isinstance(error, NoFitError)
    least = r"its size is unknown, but it needs at least 1\d\.\d GB of memory at a context of 4,096 tokens, 11\.2 GB is"
    assert re.search(least, error.detail or "")
    small = choose(make_model(unknown, parameters=4_000_000_000))
    assert "its size is unknown, so whether it fits was not checked" in small.reason


def test_a_runtime_that_is_not_available_here_says_why() -> None:
    gone = LLAMA._replace(state="unavailable", reason="macOS only")
    plan = next(find_plans(make_model(), make_machine(), [gone]))
    assert (plan.verdict, plan.reason) == ("no", "llama-cpu is not available here: macOS only")


def test_an_embedding_model_is_not_a_chat() -> None:
    error = refuse(make_model(task="embedding"), wanted=Wanted(task="chat"))
    assert isinstance(error, UsageError)
    assert error.message == "`example:4b` does not answer: an embedding model cannot be run as a chat"
    assert error.hint == "`lf embed example:4b TEXT`"
    by_path = refuse(make_model()._replace(task="embedding"), wanted=Wanted(task="chat"), typed="./m.gguf")
    assert by_path.hint == "`lf embed ./m.gguf TEXT`"


def test_an_embedding_model_is_chosen_to_embed_by_an_engine_that_can() -> None:
    model = make_model(VARIANT, ONNX_VARIANT, task="embedding")
    plan = choose(model)
    assert (plan.runtime, plan.context_tokens, plan.speed.low_tps) == (LLAMA, 2048, None)
    assert plan == choose(model, wanted=Wanted(task="embedding"))
    assert find_reasons(model)[ONNX_VARIANT.name] == "onnxruntime-genai computes no embeddings here"


def test_a_text_to_embed_is_computed_in_one_piece() -> None:
    model = make_model(task="embedding")
    short, long = (choose(model, wanted=Wanted(context_tokens=tokens)).need for tokens in (1024, 2048))
    answers = choose(make_model(), wanted=Wanted(context_tokens=2048)).need
    assert short
    assert long
    assert answers
    assert long.compute_bytes > 1.9 * short.compute_bytes
    assert long.compute_bytes > 15 * answers.compute_bytes


def test_a_model_that_answers_embeds_only_with_a_pooling_that_is_named() -> None:
    error = refuse(make_model(), wanted=Wanted(task="embedding"))
    assert isinstance(error, UsageError)
    assert "`example:4b` has no embeddings of its own" in error.message
    assert choose(make_model(), wanted=Wanted(task="embedding", pooling="mean")).runtime == LLAMA
    assert choose(make_model()._replace(name="hf:org/repo"), wanted=Wanted(task="embedding")).runtime == LLAMA


def test_what_does_not_fit_the_disk_is_refused_unless_it_is_there() -> None:
    error = refuse(make_model(), disks=Disks(2 * GB))
    assert isinstance(error, DiskFullError)
    assert error.detail == "q4_k_m (llama-cpu, cpu): needs 2.50 GB of disk, 2.00 GB is free"
    assert choose(make_model(), disks=Disks(2 * GB), installed=["q4_k_m"]).installed
    assert isinstance(refuse(make_model(), make_machine(disk_free_bytes=2 * GB)), DiskFullError)


MISSING = (LLAMA._replace(state="installable", installed_bytes=GB),)


@pytest.mark.parametrize(
    ("disks", "installed", "problem"),
    [
        (Disks(3 * GB), (), "needs 3.50 GB of disk with its engine, 3.00 GB is free"),
        (Disks(3 * GB, installs=False), (), None),
        (Disks(3 * GB, 2 * GB), (), None),
        (Disks(2 * GB, 2 * GB), (), "needs 2.50 GB of disk, 2.00 GB is free"),
        (Disks(3 * GB, GB // 2), (), "its engine needs 1.00 GB of disk, 500 MB is free"),
        (Disks(3 * GB, GB // 2, installs=False), (), None),
        (Disks(0, 2 * GB), ("q4_k_m",), None),
        (Disks(0), ("q4_k_m",), "its engine needs 1.00 GB of disk, 0 B is free"),
        (Disks(0, installs=False), ("q4_k_m",), None),
    ],
)
def test_files_and_engine_each_take_their_own_disk(
    disks: Disks, installed: tuple[str, ...], problem: str | None
) -> None:
    plan = next(find_plans(make_model(), make_machine(), MISSING, disks=disks, installed=installed))
    assert (plan.reason if plan.verdict == "no" else None) == problem


def test_a_context_that_does_not_fit_is_shortened_out_loud() -> None:
    plan = choose(
        make_model(), make_machine(available_bytes=4 * GIB + 16 * GIB // 10), wanted=Wanted(context_tokens=16_384)
    )
    assert plan.context_tokens == 10_752
    assert plan.reason == (
        "the only build that runs here; context shortened from 16,384 to 10,752 tokens so that it fits; "
        "less than a tenth of the free memory will be left"
    )
    assert plan.verdict == "tight"


def test_a_context_beyond_the_models_own_is_cut_out_loud() -> None:
    plan = choose(make_model(), wanted=Wanted(context_tokens=100_000))
    assert plan.context_tokens == 40_960
    assert plan.reason.endswith("its context is 40,960 tokens, less than the 100,000 you asked for")


@pytest.mark.parametrize(
    ("variant", "machine", "remark"),
    [
        (VARIANT._replace(size_bytes=None), make_machine(), "its size is unknown, so whether it fits was not checked"),
        (VARIANT, make_machine(available_bytes=None), "the free memory is unknown, so whether it fits was not checked"),
    ],
    ids=["size", "memory"],
)
def test_what_could_not_be_checked_is_said(variant: Variant, machine: Machine, remark: str) -> None:
    assert choose(make_model(variant), machine).reason == f"the only build that runs here; {remark}"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (Wanted(quantization="Q8_0"), "big"),
        (Wanted(quantization="BIG"), "big"),
        (Wanted(backend="onnx"), "int4-cpu"),
        (Wanted(backend="onnx-cpu"), "int4-cpu"),
        (Wanted(backend="llama.cpp"), "q4_k_m"),
        (Wanted(device="cpu"), "q4_k_m"),
        (Wanted(device="auto"), "q4_k_m"),
    ],
    ids=["quantization", "variant", "backend", "runtime", "family of backends", "device", "auto"],
)
def test_what_the_user_names_comes_first(wanted: Wanted, name: str) -> None:
    big = VARIANT._replace(name="big", quantization="Q8_0", tier="community")
    model = make_model(VARIANT, big, ONNX_VARIANT._replace(tier="community"))
    assert choose(model, wanted=wanted).variant.name == name


def test_what_the_user_did_not_name_says_so() -> None:
    model = make_model(VARIANT, VARIANT._replace(name="big", quantization="Q8_0"))
    reasons = find_reasons(model, wanted=Wanted(quantization="big"))
    assert reasons == {"big": "the only build that runs here of what you asked for", "q4_k_m": "you asked for @big"}


def test_a_community_build_wins_only_when_it_is_named() -> None:
    community = VARIANT._replace(name="community", quantization="Q8_0", tier="community", size_bytes=GB)
    model = make_model(VARIANT, community)
    assert choose(model, installed=["community"]).variant == VARIANT
    assert choose(model, wanted=Wanted(quantization="community")).variant == community


def test_of_the_same_weights_built_in_twice_the_reason_is_what_their_engines_are() -> None:
    first, second = (one._replace(host="builtin", size_bytes=GB) for one in (VARIANT, CUDA._replace(devices=("cpu",))))
    same = second._replace(quantization=first.quantization, origin=first.origin, tier=first.tier)
    reason = resolve(make_model(first, same), make_machine(), RUNTIMES).chosen.reason
    engines = [one.engine for one in RUNTIMES if "cpu" in one.variant_devices]
    assert reason.startswith("the same weights for ")
    assert "the smallest engine; the next best is the same weights for " in reason
    assert reason.endswith(", engine number 2 by size")
    assert all(engine in reason for engine in engines)


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        (Wanted(quantization="q9"), "`example:4b` has no build `@q9`", "one of: @q4_k_m, @int4-gpu"),
        (Wanted(backend="mlx"), "No backend named `mlx` in this release", "one of: llama.cpp, onnx, xllamacpp"),
        (
            Wanted(quantization="q4_k_m", backend="onnx"),
            "`example:4b` has no build `@q4_k_m` that `onnx` loads",
            None,
        ),
    ],
    ids=["quantization", "backend", "both"],
)
def test_a_name_that_nothing_has_is_refused(wanted: Wanted, message: str, hint: str | None) -> None:
    error = refuse(make_model(VARIANT, CUDA), wanted=wanted)
    assert isinstance(error, UnknownNameError)
    assert (error.message, error.hint) == (message, hint)
    assert len((error.detail or "").splitlines()) == (0 if wanted.backend == "mlx" else 2)


def test_a_named_build_that_cannot_run_is_refused_with_its_own_reason() -> None:
    error = refuse(make_model(VARIANT, CUDA), wanted=Wanted(quantization="int4-gpu", backend="onnx"))
    assert isinstance(error, RuntimeMissingError)
    assert error.detail is not None
    assert error.detail.splitlines() == [
        "int4-gpu (onnx, gpu): made for cuda; this machine has no NVIDIA GPU",
        "q4_k_m (gguf): you asked for @int4-gpu",
    ]


@pytest.mark.parametrize("device", ["gpu", "npu"])
def test_a_device_is_a_demand(device: str) -> None:
    error = refuse(make_model(VARIANT, CUDA), wanted=Wanted(device=device))
    assert isinstance(error, DeviceError)
    assert error.message == f"`example:4b` cannot run on the {device} of this machine"
    assert error.detail == (
        f"q4_k_m (llama-cpu, cpu): computes on the CPU; you asked for --device {device}\n"
        "int4-gpu (onnx, gpu): made for cuda; this machine has no NVIDIA GPU"
    )


def test_a_model_that_does_not_fit_names_both_numbers_and_a_smaller_one() -> None:
    large = make_model(VARIANT._replace(size_bytes=40 * GB), name="example:70b", parameters=70 * GB)
    middle = make_model(VARIANT._replace(size_bytes=20 * GB), name="example:32b", parameters=32 * GB)
    unsized = make_model(VARIANT._replace(size_bytes=None), name="example:14b", parameters=14 * GB)
    small, smaller = make_model(), make_model(name="example:1b", parameters=GB)
    other = make_model(name="other", family="other")
    error = refuse(large, siblings=[smaller, middle, other, small, unsized, large])
    assert isinstance(error, NoFitError)
    assert error.message == (
        "`example:70b` does not fit this machine: needs 40.8 GB of memory at a context of 4,096 tokens, "
        "11.2 GB is free for it"
    )
    assert error.hint == "a smaller one of the same family fits: `lf model run example:4b`"
    kin = make_model(name="example:mini", family="example:mini", parameters=3 * GB)
    named = make_model(name="sample", family="sample", parameters=3 * GB)
    vendors = [named, kin, make_model(name="other", family="other")._replace(variants=middle.variants)]
    assert refuse(large, siblings=vendors).hint == "a smaller one of Vendor fits: `lf model run example:mini`"
    assert refuse(large, siblings=vendors[:1]).hint == "a smaller one of Vendor fits: `lf model run sample`"


def test_memory_that_no_program_holds_is_not_to_be_freed() -> None:
    tight = make_model(VARIANT._replace(size_bytes=13 * GB))
    assert refuse(tight).hint == "free 2.62 GB more by ending other programs, or see `lf model list --fits`"
    large = make_model(VARIANT._replace(size_bytes=40 * GB))
    assert refuse(large).hint == "`lf model list --fits` shows what runs here"
    card = make_machine(NVIDIA._replace(memory_free_bytes=GIB))
    hints = [
        refuse_by(make_model(CUDA._replace(size_bytes=size * GB)), card, (ONNX_BY_CUDA,)).hint for size in (18, 50)
    ]
    assert [(hint or "").startswith("free ") for hint in hints] == [True, False]


def test_a_refusal_names_each_build_once_and_only_those_that_the_reason_is_true_of() -> None:
    others = tuple(LLAMA._replace(name=f"llama-{number}") for number in range(3))
    with pytest.raises(UnknownNameError) as raised:
        resolve(make_model(), make_machine(), (LLAMA, *others), wanted=Wanted(quantization="q2_k"))
    assert raised.value.detail == "q4_k_m (gguf): you asked for @q2_k"
    full = refuse(make_model(VARIANT, CUDA), disks=Disks(2 * GB))
    assert full.detail == "q4_k_m (llama-cpu, cpu): needs 2.50 GB of disk, 2.00 GB is free"
    assert "`lf store gc`" in (full.hint or "")
    assert "`lf store move DIR`" in (full.hint or "")
    large = refuse(make_model(VARIANT._replace(size_bytes=40 * GB), CUDA))
    assert len((large.detail or "").splitlines()) == 1


def test_a_model_without_builds_is_refused() -> None:
    assert isinstance(refuse(make_model()._replace(variants=())), RuntimeMissingError)
    assert not list(find_plans(make_model()._replace(variants=()), make_machine(), RUNTIMES))


def test_apple_silicon_computes_on_its_gpu_in_one_pool() -> None:
    machine = make_machine(APPLE, platform="darwin", total_bytes=16 * GIB, available_bytes=14 * GIB)
    plan = choose(make_model(), machine, (LLAMA, METAL))
    assert (plan.runtime, plan.placement, plan.device_name, plan.verdict) == (METAL, "igpu", "Apple M2", "gpu")
    assert plan.free_bytes == 12 * GIB
    tighter = make_machine(APPLE, platform="darwin", total_bytes=16 * GIB, available_bytes=5 * GIB)
    assert choose(make_model(), tighter, (METAL,)).free_bytes == 5 * GIB
    small = make_machine(APPLE._replace(memory_total_bytes=None), total_bytes=8 * GIB, available_bytes=None)
    assert choose(make_model(), small, (METAL,)).free_bytes == 8 * GIB - 2_500_000_000


def test_a_demanded_gpu_may_be_integrated() -> None:
    machine = make_machine(APPLE, platform="darwin")
    assert choose(make_model(), machine, (LLAMA, METAL), wanted=Wanted(device="gpu")).runtime == METAL


def test_a_gpu_runtime_without_its_gpu_says_so() -> None:
    plans = find_plans(make_model(), make_machine(NVIDIA), (METAL,))
    assert [plan.reason for plan in plans] == ["llama-metal needs a device: this machine has no Apple GPU"]


BY_CUDA = METAL._replace(name="llama-cuda", variant_devices=("cuda",), min_driver=525.0, min_compute_capability=5.0)
BY_VULKAN = BY_CUDA._replace(
    name="llama-vulkan", variant_devices=("vulkan",), min_driver=None, min_compute_capability=None
)
ONNX_BY_CUDA = ONNX._replace(name="onnx-cuda", placement="gpu", variant_devices=("cuda",))


def test_an_engine_that_spreads_a_model_has_the_memory_of_all_cards() -> None:
    other = NVIDIA._replace(name="other", memory_free_bytes=10 * GIB)
    plan = choose(make_model(), make_machine(other, NVIDIA), (BY_CUDA,))
    assert (plan.device_name, plan.free_bytes, plan.placement) == (f"{NVIDIA.name}, other", 31 * GIB, "gpu")
    twins = choose(make_model(), make_machine(NVIDIA, NVIDIA), (BY_CUDA,))
    assert (twins.device_name, twins.free_bytes) == (f"2 x {NVIDIA.name}", 44 * GIB)


def test_another_engine_has_the_freest_card() -> None:
    busy = NVIDIA._replace(name="busy", memory_free_bytes=2 * GIB)
    model = make_model(ONNX_VARIANT._replace(devices=("cuda",)))
    plan = choose(model, make_machine(busy, NVIDIA), (ONNX_BY_CUDA,))
    assert (plan.device_name, plan.free_bytes, plan.placement) == (NVIDIA.name, 22 * GIB, "gpu")


def test_an_integrated_gpu_beside_a_card_is_left_out() -> None:
    plan = choose(make_model(), make_machine(APPLE, NVIDIA), (BY_VULKAN,))
    assert (plan.device_name, plan.placement) == (NVIDIA.name, "gpu")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"driver": "470.256.02"}, f"{NVIDIA.name} has 470.256.02, llama-cuda needs a driver 525 or newer"),
        ({"compute_capability": "3.5"}, f"{NVIDIA.name} has 3.5, llama-cuda needs compute capability 5 or newer"),
    ],
    ids=["driver", "card"],
)
def test_a_card_too_old_for_a_runtime_is_computed_on_by_another(facts: dict[str, str], reason: str) -> None:
    old = NVIDIA._replace(**facts)  # type: ignore[arg-type]
    resolution = resolve(make_model(), make_machine(old), (BY_CUDA, BY_VULKAN))
    assert resolution.chosen.runtime == BY_VULKAN
    assert [plan.reason for plan in resolution.rejected] == [f"llama-cuda needs a device: {reason}"]


def test_what_is_unknown_of_a_card_is_not_held_against_it() -> None:
    unknown = NVIDIA._replace(driver=None, compute_capability="[N/A]")
    assert choose(make_model(), make_machine(unknown), (BY_CUDA,)).runtime == BY_CUDA


def test_the_makers_own_interface_comes_before_a_general_one() -> None:
    for runtimes in ((BY_CUDA, BY_VULKAN), (BY_VULKAN, BY_CUDA)):
        plan = choose(make_model(), make_machine(NVIDIA), runtimes)
        assert plan.runtime == BY_CUDA
        assert plan.reason == (
            "llama-cuda, made for this kind of device; the next best is llama-vulkan, which serves all kinds alike"
        )


SMALL_CARD = NVIDIA._replace(memory_total_bytes=4 * GIB, memory_free_bytes=4 * GIB)


def test_what_is_too_large_for_the_card_is_split() -> None:
    large = make_model(VARIANT._replace(size_bytes=8 * GB))
    plan = choose(large, make_machine(SMALL_CARD), (BY_CUDA, LLAMA))
    assert (plan.verdict, plan.runtime, plan.context_tokens) == ("split", BY_CUDA, 8192)
    assert plan.device_layers is not None
    assert 0 < plan.device_layers < 36
    assert f"{plan.device_layers} of its 36 layers fit on the GPU, the CPU computes the others" in plan.reason
    layer_bytes = (plan.need.weights_bytes + plan.need.kv_bytes) // 37 if plan.need else 0
    assert plan.device_layers * layer_bytes <= 3 * GIB < (plan.device_layers + 2) * layer_bytes


def test_a_build_that_the_card_holds_whole_goes_before_a_finer_one_that_is_split() -> None:
    small = VARIANT._replace(name="q2_k", quantization="Q2_K", size_bytes=1_000_000_000)
    machine = make_machine(SMALL_CARD, available_bytes=60 * GB, total_bytes=64 * GB)
    plan = choose(make_model(VARIANT._replace(size_bytes=3_500_000_000), small), machine, (BY_CUDA, LLAMA))
    assert (plan.variant.name, plan.verdict) == ("q2_k", "gpu")
    assert plan.reason.startswith("computed on the GPU; the next best is split between the GPU and the CPU")


def test_where_no_speed_is_known_a_gpu_goes_before_the_cpu() -> None:
    unknown = VARIANT._replace(size_bytes=None)
    for runtimes in ((BY_CUDA, LLAMA), (LLAMA, BY_CUDA)):
        assert choose(make_model(unknown), make_machine(NVIDIA), runtimes).runtime == BY_CUDA


def test_on_a_small_machine_half_of_the_memory_is_left_at_most() -> None:
    tiny = VARIANT._replace(size_bytes=2_000_000)
    model = make_model(
        tiny, architecture=Architecture(hidden_size=192, heads=3, vocab_size=4096, kv_groups=(KvGroup(4, 3, 64),))
    )
    machine = make_machine(available_bytes=900 * MIB, total_bytes=GIB)
    assert choose(model, machine, (LLAMA,)).free_bytes == 900 * MIB - GIB // 2


def test_only_engines_that_can_split_do() -> None:
    large = make_model(ONNX_VARIANT._replace(devices=("cuda",), size_bytes=8 * GB))
    assert "does not fit" in refuse_by(large, make_machine(SMALL_CARD), (ONNX_BY_CUDA,)).message


def test_unified_memory_is_one_pool_and_never_split() -> None:
    large = make_model(VARIANT._replace(size_bytes=13 * GB))
    assert "does not fit" in refuse_by(large, make_machine(APPLE), (METAL,)).message


def refuse_by(model: Model, machine: Machine, runtimes: tuple[Runtime, ...]) -> LfError:
    with pytest.raises(LfError) as raised:
        resolve(model, machine, runtimes)
    return raised.value


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ("Q4_K_M", 4),
        ("IQ4_XS", 4),
        ("Q8_0", 8),
        ("Q5_K_S", 5),
        ("int4 RTN b32", 4),
        ("int4 RTN b32, fp16 embedding", 4),
        ("int4/int8 mix", 4),
        ("w4a16 g32", 4),
        ("SpinQuant W4A8 g32", 4),
        ("AWQ int4 g128", 4),
        ("4bit g64", 4),
        ("FP8 block", 8),
        ("NVFP4", 4),
        ("MXFP4 + bf16", 4),
        ("bf16", 8),
        ("F16", 8),
        ("1.58-bit", 2),
        ("ternary", 2),
        ("i2_s", 2),
        ("TQ1_0", 1),
        ("OptiQ", 0),
    ],
)
def test_the_bits_of_a_quantization_are_read_from_its_name(quantization: str, bits: int) -> None:
    assert find_bits(VARIANT._replace(quantization=quantization)) == bits


def test_bits_that_no_name_tells_come_from_the_catalog() -> None:
    assert find_bits(VARIANT._replace(quantization="DWQ", bits_per_weight=4.5)) == 5


variants = st.builds(
    lambda name, quantization, origin, tier, size, fmt, devices, confidence: (
        VARIANT if fmt == "gguf" else ONNX_VARIANT
    )._replace(
        name=name,
        quantization=quantization,
        origin=origin,
        tier=tier,
        size_bytes=size,
        devices=devices,
        confidence=confidence,
    ),
    st.sampled_from("abcdefgh"),
    st.sampled_from(["Q4_0", "Q8_0", "Q4_K_M", "bf16", "odd"]),
    st.sampled_from(list(ORIGIN_RANKS)),
    st.sampled_from(list(TIERS)),
    st.none() | st.integers(10**8, 2 * 10**10),
    st.sampled_from(["gguf", "onnx"]),
    st.sampled_from([("cpu",), ("cuda",), ("cpu", "cuda")]),
    st.sampled_from(["verified", "page", "memory"]),
)
models = st.lists(variants, min_size=1, max_size=5, unique_by=lambda one: one.name).map(lambda some: make_model(*some))
wishes = st.builds(
    lambda *wanted: Wanted(*wanted[:-1], requests=wanted[-1]),
    st.none() | st.integers(256, 60_000),
    st.sampled_from([None, "cpu", "gpu"]),
    st.sampled_from([None, "onnx", "llama.cpp"]),
    st.sampled_from([None, "a", "Q4_0"]),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.integers(1, 16),
)
installations = st.sets(st.sampled_from("abcdefgh"))
free_memory = st.integers(0, 40 * GIB)


def find_best(model: Model, available_bytes: int, wanted: Wanted, installed: set[str]) -> Plan | None:
    machine = make_machine(available_bytes=available_bytes, total_bytes=48 * GIB)
    best = next(find_plans(model, machine, RUNTIMES, wanted=wanted, installed=installed))
    return None if best.verdict == "no" else best


def find_place(plan: Plan, plans: list[Plan]) -> int:
    return [(one.variant, one.runtime) for one in plans].index((plan.variant, plan.runtime))


@given(models, free_memory, free_memory, wishes, installations)
def test_more_free_memory_never_gives_a_worse_plan(
    model: Model, one: int, other: int, wanted: Wanted, installed: set[str]
) -> None:
    less, more = sorted((one, other))
    before, after = (find_best(model, available, wanted, installed) for available in (less, more))
    if before is None:
        return
    assert after is not None
    machine = make_machine(available_bytes=more, total_bytes=48 * GIB)
    order = list(find_plans(model, machine, RUNTIMES, wanted=wanted, installed=installed))
    assert find_place(after, order) <= find_place(before, order)
    if after.variant == before.variant:
        assert (after.context_tokens or 0) >= (before.context_tokens or 0)


@given(models, free_memory, wishes, installations)
def test_a_plan_never_needs_more_than_is_free(model: Model, free: int, wanted: Wanted, installed: set[str]) -> None:
    plan = find_best(model, free, wanted, installed)
    if plan is not None and plan.need is not None and plan.free_bytes is not None:
        assert plan.need.total_bytes <= plan.free_bytes


@given(models, free_memory, wishes, installations, st.data())
def test_taking_a_loser_away_never_changes_the_winner(
    model: Model, free: int, wanted: Wanted, installed: set[str], data: st.DataObject
) -> None:
    plan = find_best(model, free, wanted, installed)
    losers = [variant for variant in model.variants if plan is None or variant != plan.variant]
    if plan is None or not losers:
        return
    gone = data.draw(st.sampled_from(losers))
    fewer = model._replace(variants=tuple(variant for variant in model.variants if variant != gone))
    again = find_best(fewer, free, wanted, installed)
    assert again is not None
    assert (again.variant, again.runtime, again.context_tokens) == (plan.variant, plan.runtime, plan.context_tokens)


@given(models, free_memory, installations)
def test_no_build_beats_a_confirmed_one_of_known_size_and_a_better_publisher_that_runs(
    model: Model, free: int, installed: set[str]
) -> None:
    plans = find_plans(model, make_machine(available_bytes=free, total_bytes=48 * GIB), RUNTIMES, installed=installed)
    running = [plan for plan in plans if plan.verdict != "no"]
    sizes = [(plan.variant.confidence == "memory", plan.need is None) for plan in running]
    known = [plan.variant for plan in running if plan.need is not None]
    ranks = [(variant.confidence == "memory", list(TIERS).index(variant.tier)) for variant in known]
    assert sizes == sorted(sizes)
    assert ranks == sorted(ranks)


@given(models, free_memory, wishes, installations, st.randoms())
def test_the_same_facts_give_the_same_plans_in_any_order(
    model: Model, free: int, wanted: Wanted, installed: set[str], random: object
) -> None:
    machine = make_machine(available_bytes=free)
    shuffled = list(model.variants)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    mixed = model._replace(variants=tuple(shuffled))
    facts = {"wanted": wanted, "installed": installed}
    plans = [list(find_plans(one, machine, RUNTIMES, **facts)) for one in (model, model, mixed)]  # type: ignore[arg-type]
    assert plans[0] == plans[1]
    named = [[(plan.variant, plan.runtime, plan.reason) for plan in some] for some in plans]
    assert named[0] == named[2]


@given(models, free_memory, wishes, installations)
def test_a_resolution_agrees_with_the_list_or_is_refused_with_its_reasons(
    model: Model, free: int, wanted: Wanted, installed: set[str]
) -> None:
    machine = make_machine(available_bytes=free)
    plans = list(find_plans(model, machine, RUNTIMES, wanted=wanted, installed=installed))
    assert all(plan.reason for plan in plans)
    try:
        resolution = resolve(model, machine, RUNTIMES, wanted=wanted, installed=installed)
    except LfError as error:
        assert plans[0].verdict == "no"
        rows = [row for row in (error.detail or "").splitlines() if not row.startswith("`--min-tps 0`")]
        told = [row.partition(": ")[2] for row in rows]
        assert told[0] == plans[0].reason
        assert set(told) <= {plan.reason for plan in plans}
        assert len(set(rows)) == len(rows)
    else:
        assert [resolution.chosen, *resolution.rejected] == plans

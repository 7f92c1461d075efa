"""Models, machines and runtimes for the tests of the resolver: plain ones, to be changed where a test is about it."""

from __future__ import annotations

from localfirst.types import Architecture, Cpu, Device, KvGroup, Machine, Memory, Model, ModelFile, Runtime, Variant
from localfirst.units import GB, GIB

LLAMA = Runtime(
    name="llama-cpu",
    backend="xllamacpp",
    engine="llama.cpp",
    version="1",
    formats=("gguf",),
    placement="cpu",
    variant_devices=("cpu",),
    state="installed",
)
METAL = LLAMA._replace(name="llama-metal", placement="gpu", variant_devices=("metal",))
ONNX = LLAMA._replace(name="onnx-cpu", backend="onnx", engine="onnxruntime-genai", formats=("onnx",))

VARIANT = Variant(
    name="q4_k_m",
    format="gguf",
    quantization="Q4_K_M",
    origin="vendor-ptq",
    tier="vendor",
    host="huggingface",
    repo="vendor/model-gguf",
    revision="0" * 40,
    files=(ModelFile("model.gguf", 2_500_000_000),),
    devices=("cpu", "cuda", "metal", "vulkan", "rocm"),
    size_bytes=2_500_000_000,
    gated=False,
    confidence="verified",
    source="vendor",
)
ONNX_VARIANT = VARIANT._replace(name="int4-cpu", format="onnx", quantization="int4 RTN b32", devices=("cpu",))

QWEN3_4B = Architecture(
    layers=36,
    hidden_size=2560,
    heads=32,
    vocab_size=151_936,
    context_tokens=40_960,
    kv_groups=(KvGroup(36, 8, 128),),
    feed_forward_size=9728,
)


def make_model(*variants: Variant, architecture: Architecture = QWEN3_4B, **changes: object) -> Model:
    model = Model(
        name="example:4b",
        title="Example 4B",
        vendor="Vendor",
        parameters=4_022_468_096,
        active_parameters=None,
        task="chat",
        license="apache-2.0",
        license_url=None,
        family="example",
        size="4b",
        aliases=(),
        architecture=architecture,
        variants=variants or (VARIANT,),
    )
    return model._replace(**changes)  # type: ignore[arg-type]  # the names of its fields


def make_machine(
    *devices: Device,
    available_bytes: int | None = 12 * GIB,
    total_bytes: int | None = 16 * GIB,
    platform: str = "linux",
    disk_free_bytes: int | None = 100 * GB,
) -> Machine:
    return Machine(
        platform=platform,
        cpu=Cpu("CPU", "x86_64", 4, 8, 4, ("avx2",)),
        memory=Memory(total_bytes, available_bytes, None),
        devices=devices,
        disk_free_bytes=disk_free_bytes,
    )

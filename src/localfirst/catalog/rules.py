"""What the resolver goes by, as data: the words of catalogs, what they mean, and which is better.

Order and margins are decisions of this project, written down in one place so that `lf model explain` can say them.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from localfirst.units import GB, GIB

if TYPE_CHECKING:
    from localfirst.types import CacheType, Format, Model, Origin, Placement, Runtime, Tier, Variant, Wanted

TIERS: dict[Tier, str] = {
    "vendor": "published by the vendor",
    "runtime-vendor": "published by the engine's or chip's maker",
    "platform": "published by a conversion platform",  # ggml-org, mlx-community, ...
    "community": "published by the community",
}
"""Best first."""

TIER_TITLES: dict[Tier, str] = {
    "vendor": "vendor",
    "runtime-vendor": "engine's maker",
    "platform": "platform",
    "community": "community",
}
"""As lists name them; either word may be typed."""

ORIGINS: dict[Origin, str] = {
    "native": "trained so",
    "qat": "trained for it",
    "qat-derived": "converted from weights trained for it",
    "vendor-ptq": "quantized after training",
    "community": "quantized after training",
}
"""How low-bit weights came to be: weights that were trained for few bits lose nothing by them. Best first."""
ORIGIN_RANKS: dict[Origin, int] = {"native": 0, "qat": 0, "qat-derived": 1, "vendor-ptq": 2, "community": 2}

BITS_TOP = 8
"""More bits than this cannot be told from the original (llama.cpp's perplexity tables: Q8_0 within 0.1 % of F16)."""
_BITS = re.compile(r"(?:int|fp|f|q|w|i)(\d+)|(\d+(?:\.\d+)?)[ -]?bit")
_TERNARY = ("ternary", "bitnet")


def find_bits(variant: Variant) -> int:
    """The bits that most weights have, 1 to 8, from the name of the quantization; 0 where it says nothing.

    `Q4_K_M` 4, `int4 RTN b32, int8 head` 4, `w4a16` 4, `NVFP4` 4, `1.58-bit` 2, `bf16` 8: whatever is above 8 counts
    as 8.
    """
    text = variant.quantization.lower()
    found = [float(whole or part) for whole, part in _BITS.findall(text)]
    if any(word in text for word in _TERNARY):
        found.append(2)
    if not found and variant.bits_per_weight is not None:
        found.append(variant.bits_per_weight)
    return min(ceil(min(found, default=0)), BITS_TOP)


CHAT_TASKS = ("chat", "vision-chat")
EMBEDDING_BACKENDS = ("xllamacpp", "llama-cpp-python", "openvino", "llama-server", "llamafile", "vllm", "sglang")
"""Backends that compute embeddings."""
DRAFTING_BACKENDS = ("xllamacpp",)
"""Backends that let a smaller model draft."""
BATCHING_BACKENDS: dict[str, tuple[CacheType, ...]] = {"xllamacpp": ("f16", "q8_0", "q4_0"), "mlx": ("f16",)}
"""Backends that compute the next tokens of several requests together, with the caches in which they can."""


def is_batching(runtime: Runtime | None, cache: CacheType) -> bool:
    """Whether a runtime computes the next tokens of several requests together."""
    return runtime is not None and cache in BATCHING_BACKENDS.get(runtime.backend, ())


def is_to_embed(model: Model, wanted: Wanted) -> bool:
    """Whether a model is to turn texts into vectors: as was asked, else as it is made for."""
    return (wanted.task or ("chat" if model.task in CHAT_TASKS else "embedding")) == "embedding"


FORMAT_ENGINES: dict[Format, str] = {
    "gguf": "llama.cpp",
    "onnx": "ONNX Runtime GenAI",
    "mlx": "MLX on Apple silicon",
    "openvino": "OpenVINO GenAI",
    "litertlm": "LiteRT-LM",
    "llamafile": "llamafile",
    "safetensors": "vLLM, TensorRT-LLM or SGLang on NVIDIA and Linux",
    "executorch": "ExecuTorch",
}
"""Every format that has files, and what loads it, for the reason of a build that nothing here loads."""

QUANTIZATION_BACKENDS = {"i2_s": "bitnet", "with vision": "openvino-vision"}
"""Quantizations that only one backend loads, whatever the format: BitNet's I2_S is a private tensor type (36), which
llama.cpp retired; OpenVINO folders of models that see pictures hold several graphs, which no backend here joins."""

RECIPE_QUANTIZATIONS = ("i2_s",)
"""Quantizations that no engine here loads before they were made into another, for which the file has to be known."""


def needs_recipe(quantization: str | None) -> bool:
    """Whether files of a quantization have to be made into others first."""
    return any(word in (quantization or "").lower() for word in RECIPE_QUANTIZATIONS)


EXPERIMENTS = {
    "bitnet": "its weights are repacked here without loss, and its activation is put into llama.cpp's graph; both were "
    "checked on files of random weights, not yet on the vendor's own",
}
"""Backends that nobody has seen run the models that they are for, and what was seen instead."""

FORMATS_FOR_ANY_DEVICE: tuple[Format, ...] = ("gguf", "llamafile")
"""One file for every device; the devices in the catalog are then a remark of its publisher."""

BACKEND_FAMILIES = {"llama.cpp": ("xllamacpp", "llama-cpp-python")}
"""Names that stand for several backends."""


PROGRAM_BACKENDS: dict[str, tuple[Format, ...]] = {
    "llamafile": ("gguf",),
    "llama-server": ("gguf",),
    "vllm": (),
    "sglang": (),
    "tensorrt-llm": (),
}
"""Programs of the user's own, of unknown version, each with the formats that it loads only where it is named."""

NAMED_FORMATS: tuple[Format, ...] = ("llamafile",)
"""Builds that are programs: weights are chosen before them, and one is only run where the user names it."""

SPREADING_BACKENDS = ("xllamacpp", "llama-cpp-python")
"""Backends that compute a model's layers on several GPUs, and on the CPU what fits on none."""


class DeviceWord(NamedTuple):
    """What a device in a catalog asks of the machine."""

    placement: Placement
    vendor: str
    """Part of `Device.vendor`, lower case; empty for any."""
    title: str

    @property
    def native(self) -> bool:
        """The device's own interface, not one for all makers' devices; the CPU has no other."""
        return self.placement == "cpu" or bool(self.vendor)


DEVICE_WORDS = {
    "cpu": DeviceWord("cpu", "", "CPU"),
    "cuda": DeviceWord("gpu", "nvidia", "NVIDIA GPU"),
    "trt-rtx": DeviceWord("gpu", "nvidia", "NVIDIA RTX GPU"),
    "metal": DeviceWord("gpu", "apple", "Apple GPU"),
    "rocm": DeviceWord("gpu", "amd", "AMD GPU"),
    "openvino-gpu": DeviceWord("gpu", "intel", "Intel GPU"),
    "intel-gpu": DeviceWord("gpu", "intel", "Intel GPU"),
    "vulkan": DeviceWord("gpu", "", "GPU"),
    "webgpu": DeviceWord("gpu", "", "GPU"),
    "directml": DeviceWord("gpu", "", "GPU"),
    "gpu": DeviceWord("gpu", "", "GPU"),
    "qnn-npu": DeviceWord("npu", "qualcomm", "Qualcomm NPU"),
    "openvino-npu": DeviceWord("npu", "intel", "Intel NPU"),
    "vitis-npu": DeviceWord("npu", "amd", "AMD NPU"),
    "npu": DeviceWord("npu", "", "NPU"),
}

DEVICE_DEMANDS: dict[str, tuple[Placement, ...]] = {
    "cpu": ("cpu",),
    "gpu": ("gpu", "igpu"),
    "igpu": ("igpu",),
    "npu": ("npu",),
}
"""What `--device` accepts for each word."""

READY_STATES = ("installed", "importable", "external", "brought")
"""States of a runtime that need no installation."""

TIGHT_SHARE = 0.10
"""A plan that leaves less of the budget than this is called tight."""


class Margin(NamedTuple):
    """Memory left to everything else: the larger of an amount and a share of the whole, but half of it at most."""

    floor_bytes: int
    share: float

    def find(self, whole_bytes: int) -> int:
        """The margin of a memory of this size, in bytes."""
        return min(max(self.floor_bytes, int(whole_bytes * self.share)), whole_bytes // 2)


CPU_MARGIN = Margin(GIB, 0.10)
GPU_MARGIN = Margin(GIB, 0.0)
"""llama.cpp's own `--fit-target`: a context, and what graph splits add, take 150 to 500 MiB of it."""
UNIFIED_MARGIN = Margin(5 * GB // 2, 0.10)
"""Jan's rule for Apple silicon: 2.5 GB or a tenth stay with the system."""

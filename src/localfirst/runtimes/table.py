"""The engine builds of this release, as data: what each is, where it exists, and how large it is. Asks no machine."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.types import Format, Placement

System = tuple[str, str]
"""`sys.platform` and the architecture, `x86_64` or `arm64`."""


class BuildSize(NamedTuple):
    """What a runtime costs on one system; `None` where it was not measured."""

    download_bytes: int | None = None
    """The wheels of the engine and of all that it needs."""
    installed_bytes: int | None = None
    """The same wheels unpacked. Compiled Python files, and pip where it has to be in there, add up to 50 MB."""


class RuntimeRow(NamedTuple):
    """One engine build, and the systems that it exists for."""

    name: str
    backend: str
    """The adapter that drives it, as `backends.registry` names it."""
    engine: str
    module: str
    """What is imported; it tells whether the engine is there."""
    distribution: str
    """The Python package that brings it."""
    version: str
    formats: tuple[Format, ...]
    placement: Placement
    variant_devices: tuple[str, ...]
    sizes: Mapping[System, BuildSize]
    """The systems that have a build, each with its size."""
    pins: str
    """The file in `pins/` with the exact versions and digests of everything in its environment."""
    note: str = ""
    index_url: str | None = None
    """Where the engine itself is fetched, for builds that its maker keeps out of the package index. Its version is
    exact; a digest is not published there, so none is pinned."""
    from_index: str | None = None
    """What is fetched there, where it is not the engine itself: a package with its exact version."""
    min_driver: float | None = None
    """The oldest driver of the device that it works with."""
    min_compute_capability: float | None = None
    exact: bool = False
    """Whether no other version will do: its adapter uses what the engine's package does not promise to keep."""
    on_demand: bool = False
    """Installed only when the user names it: another build does the same, and costs less to get."""
    compiled: bool = False
    """Made from the engine's source on the machine that it is for; the pins hold the source and what compiles it."""
    needs: tuple[str, ...] = ()
    """What the engine imports and what compiles it, as requirements, where no index of wheels tells; and what its
    adapter imports beside it."""


_LLAMA_PY_INDEX = "https://abetlen.github.io/llama-cpp-python/whl/"
_LLAMA_PY = RuntimeRow(
    name="llama-py-cpu",
    backend="llama-cpp-python",
    engine="llama-cpp-python",
    module="llama_cpp",
    distribution="llama-cpp-python",
    version="0.3.36",
    formats=("gguf",),
    placement="cpu",
    variant_devices=("cpu",),
    sizes=MappingProxyType({("linux", "x86_64"): BuildSize(), ("win32", "x86_64"): BuildSize()}),
    pins="llama-py.txt",
    note="portable processor code, from its maker's index",
    index_url=f"{_LLAMA_PY_INDEX}cpu",
    on_demand=True,
    needs=("diskcache>=5.6.1", "numpy>=1.20.0", "typing-extensions>=4.5.0", "llguidance==1.6.1"),
)
"""Source: `README.md` and `pyproject.toml` in abetlen/llama-cpp-python."""
_BITNET_NOTE = "experimental: llama.cpp with BitNet's activation, on files that lf has repacked"

_TORCH_NEEDS = ("filelock", "fsspec", "networkx", "setuptools", "sympy", "typing-extensions")
"""What PyTorch 2.13 for the CPU depends on, and Jinja2, which every environment has. It is fetched from its maker's own
index, by itself: what the package index has for Linux needs 4 GB of CUDA libraries. Source: its wheel's METADATA."""

RUNTIMES: tuple[RuntimeRow, ...] = (
    RuntimeRow(
        name="llama-cpu",
        backend="xllamacpp",
        engine="llama.cpp",
        module="xllamacpp",
        distribution="xllamacpp",
        version="2026.10.11549",
        formats=("gguf",),
        placement="cpu",
        variant_devices=("cpu",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(33_985_382, 106_605_251),
                ("linux", "arm64"): BuildSize(33_030_106, 105_060_026),
                ("win32", "x86_64"): BuildSize(8_882_447, 17_454_522),
                ("darwin", "x86_64"): BuildSize(11_669_755, 28_236_766),
            }
        ),
        pins="llama.txt",
        note="portable processor code (AVX2, NEON): one build for every processor of its kind",
    ),
    RuntimeRow(
        name="llama-metal",
        backend="xllamacpp",
        engine="llama.cpp",
        module="xllamacpp",
        distribution="xllamacpp",
        version="2026.10.11549",
        formats=("gguf",),
        placement="igpu",
        variant_devices=("metal",),
        sizes=MappingProxyType({("darwin", "arm64"): BuildSize(12_299_898, 32_622_868)}),
        pins="llama.txt",
        note="Apple silicon: one memory for processor and GPU; needs macOS 13",
    ),
    RuntimeRow(
        name="llama-cuda",
        backend="xllamacpp",
        engine="llama.cpp",
        module="xllamacpp",
        distribution="xllamacpp",
        version="2026.10.11549",
        formats=("gguf",),
        placement="gpu",
        variant_devices=("cuda",),
        sizes=MappingProxyType({("linux", "x86_64"): BuildSize(), ("win32", "x86_64"): BuildSize()}),
        pins="llama-gpu.txt",
        note="NVIDIA, CUDA 12.8, GTX 900 and newer; Linux with glibc 2.35, or Windows",
        index_url="https://xorbitsai.github.io/xllamacpp/whl/cu128",
        min_driver=525,
        min_compute_capability=5.0,
    ),
    RuntimeRow(
        name="llama-vulkan",
        backend="xllamacpp",
        engine="llama.cpp",
        module="xllamacpp",
        distribution="xllamacpp",
        version="2026.10.11549",
        formats=("gguf",),
        placement="gpu",
        variant_devices=("vulkan",),
        sizes=MappingProxyType({("linux", "x86_64"): BuildSize(), ("win32", "x86_64"): BuildSize()}),
        pins="llama-gpu.txt",
        note="AMD, Intel and NVIDIA by Vulkan drivers",
        index_url="https://xorbitsai.github.io/xllamacpp/whl/vulkan",
    ),
    RuntimeRow(
        name="onnx-cpu",
        backend="onnx",
        engine="ONNX Runtime GenAI",
        module="onnxruntime_genai",
        distribution="onnxruntime-genai",
        version="0.18.0",
        formats=("onnx",),
        placement="cpu",
        variant_devices=("cpu",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(56_330_178, 171_299_723),
                ("linux", "arm64"): BuildSize(50_453_522, 155_218_945),
                ("win32", "x86_64"): BuildSize(34_091_608, 105_188_433),
                ("win32", "arm64"): BuildSize(30_882_237, 90_418_952),
                ("darwin", "arm64"): BuildSize(32_553_574, 117_570_067),
            }
        ),
        pins="onnx.txt",
        note="Linux with glibc 2.28, macOS 14 or Windows",
    ),
    RuntimeRow(
        name="onnx-cuda",
        backend="onnx",
        engine="ONNX Runtime GenAI",
        module="onnxruntime_genai",
        distribution="onnxruntime-genai-cuda",
        version="0.18.0",
        formats=("onnx",),
        placement="gpu",
        variant_devices=("cuda",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(1_600_184_916, 2_624_235_278),
                ("win32", "x86_64"): BuildSize(1_359_487_307, 2_033_560_774),
            }
        ),
        pins="onnx-cuda.txt",
        note="NVIDIA, CUDA 13, RTX 20 and newer; Linux with glibc 2.28, or Windows",
        min_driver=580,
        min_compute_capability=7.5,
        needs=("onnxruntime-gpu[cuda,cudnn]",),
    ),
    RuntimeRow(
        name="onnx-webgpu",
        backend="onnx",
        engine="ONNX Runtime GenAI with WebGPU",
        module="onnxruntime_ep_webgpu",
        distribution="onnxruntime-ep-webgpu",
        version="0.4.0",
        formats=("onnx",),
        placement="gpu",
        variant_devices=("webgpu",),
        sizes=MappingProxyType(
            {
                ("win32", "x86_64"): BuildSize(47_251_548, 136_026_180),
                ("win32", "arm64"): BuildSize(45_086_960, 126_142_635),
                ("darwin", "arm64"): BuildSize(37_764_346, 132_918_129),
            }
        ),
        pins="onnx-webgpu.txt",
        note="any GPU with Direct3D 12 or Metal",
        needs=("onnxruntime-genai==0.18.0",),
    ),
    RuntimeRow(
        name="onnx-qnn",
        backend="onnx",
        engine="ONNX Runtime GenAI with QNN",
        module="onnxruntime_qnn",
        distribution="onnxruntime-qnn",
        version="2.7.0",
        formats=("onnx",),
        placement="npu",
        variant_devices=("qnn-npu",),
        sizes=MappingProxyType({("win32", "arm64"): BuildSize(100_236_789, 290_162_046)}),
        pins="onnx-qnn.txt",
        note="Qualcomm Snapdragon with Windows",
        needs=("onnxruntime-genai==0.18.0",),
    ),
    RuntimeRow(
        name="mlx-metal",
        backend="mlx",
        engine="mlx-lm",
        module="mlx_lm",
        distribution="mlx-lm",
        version="0.32.2",
        formats=("mlx",),
        placement="igpu",
        variant_devices=("metal",),
        sizes=MappingProxyType({("darwin", "arm64"): BuildSize(84_356_286, 308_842_400)}),
        pins="mlx.txt",
        needs=("llguidance==1.9.1",),  # holds answers to a schema
        note="Apple silicon, macOS 14 or newer",
    ),
    RuntimeRow(
        name="openvino-cpu",
        backend="openvino",
        engine="OpenVINO GenAI",
        module="openvino_genai",
        distribution="openvino-genai",
        version="2026.4.1.0",
        formats=("openvino",),
        placement="cpu",
        variant_devices=("cpu",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(84_490_047, 262_819_524),
                ("win32", "x86_64"): BuildSize(102_909_136, 311_263_185),
            }
        ),
        pins="openvino.txt",
        note="x86-64 of any maker; Linux with glibc 2.28. On Apple silicon it would leave the GPU idle",
    ),
    RuntimeRow(
        name="openvino-gpu",
        backend="openvino",
        engine="OpenVINO GenAI",
        module="openvino_genai",
        distribution="openvino-genai",
        version="2026.4.1.0",
        formats=("openvino",),
        placement="gpu",
        variant_devices=("openvino-gpu", "intel-gpu"),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(84_490_047, 262_819_524),
                ("win32", "x86_64"): BuildSize(102_909_136, 311_263_185),
            }
        ),
        pins="openvino.txt",
        note="Intel GPUs; on Linux with Intel's compute runtime (OpenCL)",
    ),
    RuntimeRow(
        name="openvino-npu",
        backend="openvino",
        engine="OpenVINO GenAI",
        module="openvino_genai",
        distribution="openvino-genai",
        version="2026.4.1.0",
        formats=("openvino",),
        placement="npu",
        variant_devices=("openvino-npu",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(84_490_047, 262_819_524),
                ("win32", "x86_64"): BuildSize(102_909_136, 311_263_185),
            }
        ),
        pins="openvino.txt",
        note="Intel NPUs; graphs of fixed sizes, so a part of the context is kept for the answer",
    ),
    RuntimeRow(
        name="litert-cpu",
        backend="litert",
        engine="LiteRT-LM",
        module="litert_lm",
        distribution="litert-lm-api",
        version="0.18.1",
        formats=("litertlm",),
        placement="cpu",
        variant_devices=("cpu",),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(47_209_639, 132_528_153),
                ("linux", "arm64"): BuildSize(46_585_178, 134_425_143),
                ("win32", "x86_64"): BuildSize(26_553_001, 70_427_880),
                ("darwin", "arm64"): BuildSize(21_577_612, 66_454_423),
            }
        ),
        pins="litert.txt",
        exact=True,
        note="Linux with glibc 2.27, macOS 12 or Windows",
    ),
    _LLAMA_PY._replace(
        name="llama-native",
        sizes=MappingProxyType({("linux", "x86_64"): BuildSize(), ("linux", "arm64"): BuildSize()}),
        pins="llama-native.txt",
        note="compiled here for this very processor: takes minutes, and a C++ compiler",
        index_url=None,
        compiled=True,
        needs=(*_LLAMA_PY.needs, "scikit-build-core>=0.9.2", "cmake>=3.21", "ninja>=1.11"),
    ),
    _LLAMA_PY,
    _LLAMA_PY._replace(
        name="llama-py-metal",
        placement="igpu",
        variant_devices=("metal",),
        sizes=MappingProxyType({("darwin", "arm64"): BuildSize()}),
        note="Apple silicon; needs macOS 11",
        index_url=f"{_LLAMA_PY_INDEX}metal",
    ),
    _LLAMA_PY._replace(
        name="llama-py-cuda",
        placement="gpu",
        variant_devices=("cuda",),
        note="NVIDIA, CUDA 12.5, GTX 10 and newer",
        index_url=f"{_LLAMA_PY_INDEX}cu125",
        min_driver=525,
        min_compute_capability=6.0,
    ),
    _LLAMA_PY._replace(
        name="llama-py-rocm",
        placement="gpu",
        variant_devices=("rocm",),
        sizes=MappingProxyType({("linux", "x86_64"): BuildSize()}),
        note="AMD; needs ROCm 7.2 on the system",
        index_url=f"{_LLAMA_PY_INDEX}rocm72",
    ),
    _LLAMA_PY._replace(
        name="llama-py-vulkan",
        placement="gpu",
        variant_devices=("vulkan",),
        note="AMD, Intel and NVIDIA by Vulkan drivers",
        index_url=f"{_LLAMA_PY_INDEX}vulkan",
    ),
    # Environments of their own: the adapter is made for one version, whatever becomes of the others.
    _LLAMA_PY._replace(name="bitnet-cpu", backend="bitnet", note=_BITNET_NOTE, on_demand=False, exact=True),
    _LLAMA_PY._replace(
        name="bitnet-native",
        backend="bitnet",
        exact=True,
        sizes=MappingProxyType({("linux", "x86_64"): BuildSize(), ("linux", "arm64"): BuildSize()}),
        pins="llama-native.txt",
        note=f"{_BITNET_NOTE}; compiled here: takes minutes, and a C++ compiler",
        index_url=None,
        compiled=True,
        needs=(*_LLAMA_PY.needs, "scikit-build-core>=0.9.2", "cmake>=3.21", "ninja>=1.11"),
    ),
)
TOOLS: tuple[RuntimeRow, ...] = (
    RuntimeRow(
        name="onnx-builder",
        backend="",
        engine="ONNX Runtime GenAI model builder",
        module="onnxruntime_genai.models.builder",
        distribution="onnxruntime-genai",
        version="0.18.0",
        formats=(),
        placement="cpu",
        variant_devices=(),
        sizes=MappingProxyType(
            {
                ("linux", "x86_64"): BuildSize(297_423_280, 1_041_997_689),
                ("linux", "arm64"): BuildSize(),
                ("win32", "x86_64"): BuildSize(),
                ("darwin", "arm64"): BuildSize(),
            }
        ),
        pins="onnx-builder.txt",
        note="makes ONNX folders of safetensors: `lf model optimize`",
        index_url="https://download.pytorch.org/whl/cpu",
        from_index="torch==2.13.0",
        needs=("transformers", "onnx-ir", "onnx", *_TORCH_NEEDS),
    ),
)
"""Programs that have an environment as the engines have one, and load no model."""

EVERYTHING = (*RUNTIMES, *TOOLS)
"""Sizes: the pinned wheels for CPython 3.12, added up by `tools/lock.py --sizes`, and PyTorch's wheel for 3.11. What
the GPU builds support, and their indexes: the READMEs of xorbitsai/xllamacpp and abetlen/llama-cpp-python; the least
drivers for CUDA 12 and 13, and the oldest GPUs: "CUDA Compatibility" and "CUDA Toolkit 13.0 Release Notes", NVIDIA."""

_ARCHES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


def normalise_arch(arch: str) -> str:
    """`AMD64` -> `x86_64`, `aarch64` -> `arm64`: the two names that the whole product uses; others in lower case."""
    return _ARCHES.get(arch.lower(), arch.lower())


def find_row(name: str, rows: Sequence[RuntimeRow] = EVERYTHING) -> RuntimeRow:
    """The row of a runtime's name.

    Raises:
        UnknownNameError: there is no such runtime; the known ones are in the detail.
    """
    for row in rows:
        if row.name == name:
            return row
    raise UnknownNameError(f"No runtime named `{name}`", detail=f"known: {', '.join(row.name for row in rows)}")

"""Engines that are programs of the user's own, found on this machine and never installed: what each is and needs.

Sizes and needs, November 2026: the closure of vllm 0.32.0 and of sglang 0.5.23 for CPython 3.12 on Linux x86-64, as
`uv pip compile` resolves it; "GPU" in vLLM's, "Install SGLang" in SGLang's, "Installing on Linux" in TensorRT-LLM's
documents. Drivers: CUDA 13, which their wheels of torch are for, wants 580 ("CUDA Compatibility", NVIDIA).
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from localfirst.runtimes.find import this_system
from localfirst.runtimes.table import normalise_arch
from localfirst.runtimes.variable import Named, read_variable, refuse_problem
from localfirst.types import Runtime

if TYPE_CHECKING:
    from localfirst.types import Format, Placement

CPU_SYSTEMS = ("linux", "darwin", "win32")
NVIDIA_SYSTEMS = ("linux",)


class Program(NamedTuple):
    """A program that serves models."""

    name: str
    """Of the runtime, and of its backend."""
    engine: str
    command: str
    """What it is called on the path."""
    formats: tuple[Format, ...]
    platforms: tuple[str, ...]
    install: str
    """What installing takes, and how it is done."""
    placement: Placement = "cpu"
    variant_devices: tuple[str, ...] = ("cpu",)
    own_formats: tuple[Format, ...] = ()
    """Formats that need no program, because each model is its own."""
    min_driver: float | None = None
    min_compute_capability: float | None = None


PROGRAMS: tuple[Program, ...] = (
    Program(
        "llamafile",
        "llamafile",
        "llamafile",
        ("llamafile", "gguf"),
        CPU_SYSTEMS,
        "one file, from github.com/mozilla-ai/llamafile/releases, 0.10 or newer",
        own_formats=("llamafile",),
    ),
    Program(
        "llama-server",
        "llama.cpp",
        "llama-server",
        ("gguf",),
        CPU_SYSTEMS,
        "an archive from github.com/ggml-org/llama.cpp/releases, or by a package manager",
    ),
    Program(
        "vllm",
        "vLLM",
        "vllm",
        ("safetensors",),
        NVIDIA_SYSTEMS,
        "4 GB to fetch, an NVIDIA GPU of compute capability 7.5 or newer: `uv venv ~/vllm`,"
        " `uv pip install --python ~/vllm/bin/python vllm`, and ~/vllm/bin/vllm in `LF_RUNTIME_VLLM`",
        "gpu",
        ("cuda",),
        min_driver=580,
        min_compute_capability=7.5,
    ),
    Program(
        "sglang",
        "SGLang",
        "sglang",
        ("safetensors",),
        NVIDIA_SYSTEMS,
        "4.4 GB to fetch, an NVIDIA GPU of compute capability 7.5 or newer: `uv venv ~/sglang`,"
        " `uv pip install --python ~/sglang/bin/python sglang`, and ~/sglang/bin/sglang in `LF_RUNTIME_SGLANG`",
        "gpu",
        ("cuda",),
        min_driver=580,
        min_compute_capability=7.5,
    ),
    Program(
        "tensorrt-llm",
        "TensorRT-LLM",
        "trtllm-serve",
        ("safetensors",),
        NVIDIA_SYSTEMS,
        "NVIDIA's container tensorrt-llm/release, or its wheels with CUDA and OpenMPI beside them;"
        " an NVIDIA GPU of compute capability 8.0 or newer; its trtllm-serve in `LF_RUNTIME_TENSORRT_LLM`",
        "gpu",
        ("cuda",),
        min_driver=580,
        min_compute_capability=8.0,
    ),
)


def find_programs(platform: str, arch: str) -> tuple[Runtime, ...]:
    """Every such engine, as it stands for a machine of that platform and architecture.

    `external` where the environment names its program or the path has it, `misnamed` where the environment names
    something else, `brought` where each model is its own; else `unavailable`, with the reason.
    """
    here = (platform, normalise_arch(arch)) == this_system()
    return tuple(_find(program, platform, _look_for(program) if here else Named()) for program in PROGRAMS)


def find_program(program: Program) -> str | None:
    """Where a program is on this machine: what the environment names, else what the path has.

    Raises:
        RuntimeMissingError: the environment names something else.
    """
    named = _look_for(program)
    if named.problem:
        raise refuse_problem(named.problem)
    return named.path


def get_program(name: str) -> Program | None:
    """The program of a runtime's name, `None` where that is none."""
    return next((program for program in PROGRAMS if program.name == name), None)


def _look_for(program: Program) -> Named:
    named = read_variable(program.name, f"a {program.command} program")
    return named if named.path or named.problem else Named(shutil.which(program.command))


def _find(program: Program, platform: str, named: Named) -> Runtime:
    absent = Runtime(
        name=program.name,
        backend=program.name,
        engine=program.engine,
        version="",
        formats=program.formats,
        placement=program.placement,
        variant_devices=program.variant_devices,
        state="unavailable",
        min_driver=program.min_driver,
        min_compute_capability=program.min_compute_capability,
    )
    if platform not in program.platforms:
        return absent._replace(reason=f"it runs on {', '.join(program.platforms)} only")
    if named.problem:
        return absent._replace(state="misnamed", reason=named.problem)
    ready = absent._replace(version="unknown", python=sys.executable)
    if named.path:
        return ready._replace(state="external", program=named.path)
    missing = f"no `{program.command}` on the path; `lf runtime install {program.name}` says what it takes"
    if program.own_formats:
        return ready._replace(state="brought", version="", formats=program.own_formats, reason=missing)
    return absent._replace(reason=missing)

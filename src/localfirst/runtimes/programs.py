"""Engines that are programs of the user's own, found on this machine and never installed: what each is and needs.

Sizes and needs, November 2026: the closure of vllm 0.32.0 and of sglang 0.5.23 for CPython 3.12 on Linux x86-64, as
`uv pip compile` resolves it; "GPU" in vLLM's, "Install SGLang" in SGLang's, "Installing on Linux" in TensorRT-LLM's
documents. Drivers: CUDA 13, which their wheels of torch are for, wants 580 ("CUDA Compatibility", NVIDIA).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.find import this_system, variable_of
from localfirst.runtimes.table import normalise_arch
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

    `external` where the environment names its program or the path has it, or where each model is its own; else
    `unavailable`, with the reason.

    Raises:
        RuntimeMissingError: an `LF_RUNTIME_<NAME>` variable does not name a program.
    """
    here = (platform, normalise_arch(arch)) == this_system()
    return tuple(_find(program, platform, find_program(program) if here else None) for program in PROGRAMS)


def find_program(program: Program) -> str | None:
    """Where a program is on this machine: what the environment names, else what the path has.

    Raises:
        RuntimeMissingError: the environment names something else.
    """
    variable = variable_of(program.name)
    value = os.environ.get(variable)
    if not value:
        return shutil.which(program.command)
    path = Path(value).expanduser().absolute()
    if path.is_file() and os.access(path, os.X_OK):
        return str(path)
    raise RuntimeMissingError(
        f"`{variable}` does not name a program",
        detail=f"{variable}={value}",
        hint=f"Set it to the path of a {program.command}, or unset it",
    )


def get_program(name: str) -> Program | None:
    """The program of a runtime's name, `None` where that is none."""
    return next((program for program in PROGRAMS if program.name == name), None)


def _find(program: Program, platform: str, path: str | None) -> Runtime:
    formats = program.formats if path else program.own_formats
    ready = bool(formats) and platform in program.platforms
    if platform not in program.platforms:
        reason = f"it runs on {', '.join(program.platforms)} only"
    else:
        reason = f"no `{program.command}` on the path; `lf runtime install {program.name}` says what it takes"
    return Runtime(
        name=program.name,
        backend=program.name,
        engine=program.engine,
        version="unknown" if ready else "",
        formats=formats if ready else program.formats,
        placement=program.placement,
        variant_devices=program.variant_devices,
        state="external" if ready else "unavailable",
        reason=None if ready else reason,
        python=sys.executable if ready else None,
        program=path if ready else None,
        min_driver=program.min_driver,
        min_compute_capability=program.min_compute_capability,
    )

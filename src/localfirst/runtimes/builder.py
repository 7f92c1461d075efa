"""ONNX Runtime GenAI's model builder, as data: what it reads, what it writes, what that takes.

Pure but for `ask_version`.

Source: microsoft/onnxruntime-genai 0.18.0, `src/python/py/models/builder.py`; a test compares the tables with it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import EngineError, ModelFileError, UsageError
from localfirst.paths import package_dir
from localfirst.runtimes.command import run_command
from localfirst.runtimes.table import find_row

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "onnx-builder"
TITLE = "ONNX Runtime GenAI model builder"
CHILD = package_dir() / "runtimes" / "builder_child.py"
OPTIONS = ("hf_remote=false", "hf_token=false")
"""No code of a repository's, no token: as the builder's own default, said all the same."""

ARCHITECTURES = (
    "ChatGLMForConditionalGeneration",
    "ChatGLMModel",
    "Ernie4_5ForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "Gemma4ForConditionalGeneration",
    "Gemma4UnifiedForConditionalGeneration",
    "GemmaForCausalLM",
    "GptOssForCausalLM",
    "GraniteForCausalLM",
    "GraniteMoeHybridForCausalLM",
    "HunYuanDenseV1ForCausalLM",
    "InternLM2ForCausalLM",
    "Lfm2ForCausalLM",
    "Lfm2MoeForCausalLM",
    "Lfm2VlForConditionalGeneration",
    "LlamaForCausalLM",
    "Mistral3ForConditionalGeneration",
    "MistralForCausalLM",
    "NemotronForCausalLM",
    "OlmoForCausalLM",
    "Phi3ForCausalLM",
    "Phi3SmallForCausalLM",
    "Phi3VForCausalLM",
    "Phi4MMForCausalLM",
    "PhiForCausalLM",
    "PhiMoEForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3ForCausalLM",
    "Qwen3VLForConditionalGeneration",
    "Qwen3_5ForConditionalGeneration",
    "Qwen3_5MoeForConditionalGeneration",
    "SmolLM3ForCausalLM",
    "VideoChatFlashQwenForCausalLM",
)
"""Values of `architectures` in a `config.json` that it turns into a model of text."""

NOT_OF_TEXT = ("Lfm2AudioForConditionalGeneration", "WhisperForConditionalGeneration")
"""What it knows besides, and no engine here runs: speech."""


class Target(NamedTuple):
    """A device that it builds for."""

    provider: str
    """As the builder calls it."""
    precisions: tuple[str, ...]
    """The usual one first."""


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "cpu": Target("cpu", ("int4", "fp32")),
        "cuda": Target("cuda", ("int4", "fp16", "fp32")),
        "dml": Target("dml", ("int4", "fp16")),
        "webgpu": Target("webgpu", ("int4",)),
        "trt-rtx": Target("NvTensorRtRtx", ("fp16",)),
    }
)
"""What `--for` takes."""

_BASE_BYTES = 550_000_000
_PEAK_BYTES = {"int4": 5.0, "fp32": 0.5, "fp16": 0.5}
_EMBEDDING_PEAK_BYTES = 7.0
_OUTPUT_BYTES = {"int4": 0.63, "fp32": 4.0, "fp16": 2.0}
_TABLE_BYTES = {"int4": 4.0, "fp32": 4.0, "fp16": 2.0}
"""Bytes a parameter at the peak, beside the weights as they are read, and more for each of the embedding; bytes a
parameter in the result, and of the embedding, whose table is quantized only where the output layer shares it.

Fitted from above to 0.18.0 with PyTorch 2.13 on Linux x86-64, of Llamas of random weights with 123, 277 (tied, 151,936
tokens) and 430 million parameters in bfloat16, and 430 in float32, beside 490 MB for the libraries. The time is a range
for two cores, idle and crowded."""


class Cost(NamedTuple):
    """What a build takes, as an estimate from measured ones."""

    memory_bytes: int
    """At the peak."""
    output_bytes: int
    low_s: float
    high_s: float


class Sizes(NamedTuple):
    """What of a checkpoint its cost depends on."""

    parameters: int
    embedding: int
    """Those of the parameters that are the embedding."""
    tied: bool
    """Whether the output layer is the embedding."""
    weights_bytes: int
    """Of its files."""


def estimate(sizes: Sizes, precision: str) -> Cost:
    """What it takes to build a model in a precision."""
    parameters, table = sizes.parameters, 0 if sizes.tied else sizes.embedding
    peak = _PEAK_BYTES[precision] * parameters + _EMBEDDING_PEAK_BYTES * sizes.embedding
    output = _OUTPUT_BYTES[precision] * (parameters - table) + _TABLE_BYTES[precision] * table
    return Cost(
        memory_bytes=_BASE_BYTES + sizes.weights_bytes + round(peak),
        output_bytes=round(output),
        low_s=10 + parameters / 60e6,
        high_s=40 + parameters / 10e6,
    )


def choose_precision(device: str, precision: str | None) -> str:
    """The precision to build in for a device; where nothing was asked for, the usual one.

    Raises:
        UsageError: it builds for no such device, or not in this precision for it.
    """
    target = TARGETS.get(device)
    known = "\n".join(f"--for {name}: {', '.join(one.precisions)}" for name, one in TARGETS.items())
    if target is None:
        raise UsageError(f"The {TITLE} builds for no device `{device}`", detail=known)
    if precision is None:
        return target.precisions[0]
    if precision not in target.precisions:
        raise UsageError(f"The {TITLE} has no {precision} for `{device}`", detail=known)
    return precision


def check_architecture(architecture: str | None, source: str) -> str:
    """The architecture itself, if it can be built.

    Raises:
        ModelFileError: the builder does not know it; the detail lists those that it knows.
    """
    if architecture in ARCHITECTURES:
        return architecture
    what = "a model of speech, which no engine here runs" if architecture in NOT_OF_TEXT else "not one that it knows"
    raise ModelFileError(
        f"The {TITLE} {find_row(NAME).version} cannot build {source}",
        detail=f"{architecture or 'an architecture without a name'}: {what}\nit knows {', '.join(ARCHITECTURES)}",
        hint="Nothing was fetched or built. `lf list` shows the builds that its vendor and others made of a model.",
    )


def make_command(  # noqa: PLR0913 - a word for each thing that the builder is told
    python: str, source: Path, output: Path, cache: Path, *, device: str, precision: str
) -> list[str]:
    """The words that start the builder, in a process that opens no connection and ends when this one does."""
    return [
        python, "-I", str(CHILD), "-i", str(source), "-o", str(output),
        "-c", str(cache), "-p", precision, "-e", TARGETS[device].provider, "--extra_options", *OPTIONS,
    ]  # fmt: skip


def make_settings(work: Path, threads: int) -> dict[str, str]:
    """The variables of its process: no telemetry, no hub, and every stray file in a folder of its own."""
    home = str(work)
    return {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
        "HF_HOME": home, "TMPDIR": home, "TEMP": home, "TMP": home, "TORCHINDUCTOR_CACHE_DIR": home,
        "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads),
        **({} if sys.platform == "win32" else {"XDG_CACHE_HOME": home}),
    }  # fmt: skip


def ask_version(python: str) -> str:
    """The version of the builder in an environment, after it has shown that it can be started.

    Raises:
        EngineError: it cannot; its last lines are in the detail.
    """
    words = (python, "-I", str(CHILD), "--check")
    with tempfile.TemporaryDirectory() as home:
        settings = make_settings(Path(home), threads=1)
        outcome = run_command(words, folder=Path(home), on_line=lambda _: None, settings=settings, tied=True)
    if not outcome.ok or not outcome.lines:
        raise EngineError(f"The {TITLE} does not start", detail="\n".join(outcome.lines[-12:]) or python)
    return outcome.lines[-1]

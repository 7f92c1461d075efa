"""What OpenVINO GenAI needs in memory on the CPU, next to what is predicted: one process per network and context.

Run from the repository's root with the Python of an environment that has it:

    python -m venv /tmp/ov && /tmp/ov/bin/pip install openvino-genai==2026.4.1.0
    PYTHONPATH=src /tmp/ov/bin/python -m benchmarks.fit.measure_openvino [--only TEXT] [--context N]

A process loads a folder of made-up weights, reads a prompt that fills the context in parts of 256 tokens, and counts
what is its own and what it mapped, less the model's own file: pages of that are not read again once the weights are
repacked. Limited to AVX2, so that it computes in 32 bits as most processors do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.fit.networks import NETWORKS, Network
from benchmarks.fit.process import find_mapped, find_memory

from localfirst.catalog.memory import openvino as memory
from localfirst.catalog.memory.build import describe
from localfirst.choices import OPENVINO_PREFILL_TOKENS
from localfirst.types import Model, Variant
from localfirst.units import MIB

CONTEXTS = (1024, 4096)
ANSWER_TOKENS = 8
BLOCK_TOKENS = 32
LAYERS = {
    "smollm2-135m": 30,
    "tinyllama-1.1b": 8,
    "llama-3.2-1b": 4,
    "llama-3.1-8b": 2,
    "llama-2-7b": 2,
    "qwen2.5-1.5b": 6,
    "qwen2.5-7b": 2,
    "qwen3-0.6b": 28,
    "qwen3-4b": 4,
}
NETWORKS_HERE = {name: replace(NETWORKS[name], layers=layers) for name, layers in LAYERS.items()}
"""Dense ones, with as many layers as can be written in seconds."""
VARIANT = Variant(
    "x", "openvino", "int4", "vendor-ptq", "vendor", "import", "", None, (), ("cpu",), None, False, "verified", ""
)
TOKENIZER_MIB = 8
BAR = 0.10
FLOOR_MIB = 32


def main() -> int:
    """Measure, and print a line for each; 1 if a prediction is off by more than 10 % or 32 MiB."""
    parser = argparse.ArgumentParser(description="How well OpenVINO's memory is predicted")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--context", type=int, action="append")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        print(write(*asked.write))
        return 0
    if asked.load:
        print(load(asked.load[0], int(asked.load[1])))
        return 0
    missed = 0
    for name, network in NETWORKS_HERE.items():
        if asked.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            weights_bytes = run_child("--write", name, folder)
            for context in asked.context or CONTEXTS:
                need_bytes, found_bytes = (
                    find_need(network, weights_bytes, context),
                    run_child("--load", folder, str(context)),
                )
                off = need_bytes - found_bytes
                is_missed = abs(off) > max(FLOOR_MIB * MIB, BAR * found_bytes)
                missed += is_missed
                print(
                    f"{name:16} {context:6} predicted {need_bytes / MIB:6.0f}, measured {found_bytes / MIB:6.0f} MiB,"
                    f" off {off / MIB:+6.1f} MiB, {100 * off / found_bytes:+.1f} %{'  MISSED' if is_missed else ''}",
                    flush=True,
                )
    return min(missed, 1)


def run_child(*words: str) -> int:
    """The number that a process of its own prints last."""
    command = [sys.executable, "-m", "benchmarks.fit.measure_openvino", *words]
    environment = os.environ | {"CI": "true", "OV_CPU_MAX_ISA": "AVX2"}  # `CI` keeps its telemetry off
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout.splitlines()[-1])


def write(name: str, folder: str) -> int:
    """Write a folder; the bytes of its weights."""
    from benchmarks.fit.openvino_folder import write_openvino  # noqa: PLC0415 - not where memory is measured

    return write_openvino(Path(folder), NETWORKS_HERE[name])


def load(folder: str, context: int) -> int:
    """Load a folder, fill the context; the bytes that the process then needs."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import numpy as np  # noqa: PLC0415 - telemetry first
    import openvino  # noqa: PLC0415
    import openvino_genai  # noqa: PLC0415

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = OPENVINO_PREFILL_TOKENS
    scheduler.max_num_seqs = 1
    scheduler.num_kv_blocks = -(-context // BLOCK_TOKENS) + 1
    pipeline = openvino_genai.LLMPipeline(folder, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=2)
    config = openvino_genai.GenerationConfig()
    config.ignore_eos, config.max_new_tokens = True, ANSWER_TOKENS
    ids = np.random.default_rng(0).integers(3, 250, (1, context - ANSWER_TOKENS)).astype(np.int64)
    pipeline.generate(openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))), config)
    found = find_memory()
    return found["own_bytes"] + found["file_bytes"] - find_mapped("openvino_model.bin")


def find_need(network: Network, weights_bytes: int, context: int) -> int:
    """Bytes predicted, without the tokenizer that no folder here has."""
    architecture = network.to_architecture(context)
    in_layers = network.layers * (
        2 * network.hidden * network.head_dim * (network.heads + network.kv_heads)
        + 3 * network.hidden * network.feed_forward
    )
    table = network.vocabulary * network.hidden
    model = Model(
        "x",
        "X",
        "x",
        in_layers + table * (1 if network.tied else 2),
        None,
        "chat",
        "mit",
        None,
        "x",
        None,
        (),
        architecture,
        (),
    )
    build = describe(model, VARIANT, weights_bytes)
    need = memory.find_need(build, context, "f16")
    return need.total_bytes - memory.TOKENIZER_BYTES * network.vocabulary - TOKENIZER_MIB * MIB


if __name__ == "__main__":
    sys.exit(main())

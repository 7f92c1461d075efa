"""How well memory is predicted: models of real shapes with made-up weights, in the engines that run here.

    python -m benchmarks.fit_accuracy [--engine NAME] [--only TEXT] [--folder DIR]

Run from the repository's root; Linux. Each model is loaded as lf's worker would load it, in a process of its own. For
llama.cpp the prediction is compared with the engine's own figures (weights, cache, state, compute and output buffers),
the bar is 3 % or 32 MiB; for the others with the peak of the process, the bar is 10 % or 32 MiB. The peak is the most
that was resident, less the file's pages where the engine holds those weights a second time, repacked: the system may
drop the first copy at any time. Sizes are in MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fit.gguf_file import CONTEXT_TOKENS, write_gguf
from benchmarks.fit.networks import NETWORKS, ONNX_NETWORKS
from tests.fixtures.scripted import Shape, make_random_onnx

from localfirst import gguf
from localfirst.catalog.fit import find_context
from localfirst.types import Architecture, CacheType, Model, Need, Variant
from localfirst.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

BARS = {"llama.cpp": 0.03, "onnx": 0.10}
FLOOR_MIB = 32
CONTEXTS = (4096, 16_384)
ONNX_CONTEXTS = (1024, 4096)
CACHED = ("llama-3.2-1b", "gemma-3-1b", "qwen3-0.6b")
"""The networks that are measured with quantized caches, too."""
SHARED = ("smollm2-135m", "gemma-3-270m", "lfm2-350m", "qwen3.5-0.8b")
"""The networks that are measured with several requests at a time, too."""
PARALLEL = 4
MODEL = Model("x", "X", "x", None, None, "chat", "mit", None, "x", None, (), Architecture(), ())
VARIANT = Variant(
    "x", "gguf", "Q4_0", "vendor-ptq", "vendor", "import", "", None, (), ("cpu",), None, False, "verified", ""
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. Bytes are MiB."""

    engine: str
    name: str
    context_tokens: int
    cache: str
    need: Need
    compared: float
    """What the prediction is compared with."""
    predicted: float
    peak: float

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of the bar: up to 1 is good."""
        return abs(self.predicted - self.compared) / max(FLOOR_MIB, BARS[self.engine] * self.compared)


def main() -> int:
    """Print a table for each engine, and the worst error; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="How well memory is predicted")
    parser.add_argument("--engine", choices=list(MEASURES))
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--folder", help="where the models are written, one at a time (2 GB)")
    asked = parser.parse_args()
    missed = 0
    for engine, measure in MEASURES.items():
        if asked.engine not in (None, engine):
            continue
        rows = []
        print(f"{engine}\n{'network':26} context cache predicted  measured     off  off %    whole     peak")
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            for row in measure(Path(folder), asked.only):
                off = row.predicted - row.compared
                print(
                    f"{row.name:26} {row.context_tokens:7} {row.cache:>5} {row.predicted:9.1f} {row.compared:9.1f}"
                    f" {off:+7.1f} {100 * off / row.compared:+6.1f} {row.need.total_bytes / MIB:8.0f} {row.peak:8.0f}"
                    f"{'' if row.error <= 1 else '  MISSED'}",
                    flush=True,
                )
                rows.append(row)
        if rows:
            worst = max(rows, key=lambda row: row.error)
            mean = sum(abs(row.predicted - row.compared) / row.compared for row in rows) / len(rows)
            missed += worst.error > 1
            print(
                f"{len({row.name for row in rows})} networks, {len(rows)} measurements, off by {100 * mean:.2f} % on"
                f" average, worst {worst.name} at {worst.context_tokens}: {worst.predicted - worst.compared:+.1f} MiB"
                f"; bar {100 * BARS[engine]:.0f} % or {FLOOR_MIB} MiB: {'ok' if worst.error <= 1 else 'MISSED'}\n"
            )
    return min(missed, 1)


def measure_llama_cpp(folder: Path, only: str) -> Iterator[Row]:
    """Against the figures that llama.cpp logs; predicted from the file's own header, which must say what we know."""
    path = folder / "model.gguf"
    for name, network in NETWORKS.items():
        if only not in name:
            continue
        write_gguf(path, network)
        with path.open("rb") as file:
            header = gguf.read_header(file, path.stat().st_size)
        cases: list[tuple[int, CacheType, int]] = [(context, "f16", 1) for context in CONTEXTS]
        if name in CACHED:
            cases += [(CONTEXTS[-1], "q8_0", 1), (CONTEXTS[-1], "q4_0", 1)]
        if name in SHARED:
            cases += [(CONTEXTS[0], "f16", PARALLEL)]
        for context, cache, parallel in cases:
            asked = {"context": context, "cache": cache, "parallel": parallel}
            need = predict("gguf", header.to_architecture(), header.weights_bytes, **asked)
            known = predict("gguf", network.to_architecture(CONTEXT_TOKENS), header.weights_bytes, **asked)
            assert need == known, f"{name}: the header is misread: {need} instead of {known}"
            found = run_child("measure_llama_cpp", str(path), str(context), cache, str(parallel))
            buffers = found["buffers"]
            own = sum(buffers.get(kind, 0.0) for kind in ("KV", "RS", "compute", "output"))
            weights = header.weights_bytes / MIB
            peak = found["peak"]["peak_bytes"] / MIB - min(weights, buffers.get("repacked", 0.0))
            predicted = (need.total_bytes - need.runtime_bytes) / MIB
            name_ = name if parallel == 1 else f"{name} x {parallel}"
            yield Row("llama.cpp", name_, context, cache, need, weights + own, predicted, peak)


def measure_onnx(folder: Path, only: str) -> Iterator[Row]:
    """Against the peak of a process that reads a prompt as long as its context."""
    for name, network in ONNX_NETWORKS.items():
        if only not in name:
            continue
        path = folder / name.replace(" ", "-")
        shape = Shape(
            network.hidden, network.layers, network.heads, network.kv_heads, network.feed_forward, max(ONNX_CONTEXTS)
        )
        make_random_onnx(path, shape, vocabulary_size=network.vocabulary, bits=4)
        parameters = shape.parameters(network.vocabulary)
        weights_bytes = sum(file.stat().st_size for file in path.iterdir())
        for context in ONNX_CONTEXTS:
            need = predict("onnx", network.to_architecture(context), weights_bytes, context, "f16", parameters)
            peak = run_child("measure_onnx", str(path), str(context))["peak"]["peak_bytes"] / MIB
            yield Row("onnx", name, context, "f32", need, peak, need.total_bytes / MIB, peak)


MEASURES = {"llama.cpp": measure_llama_cpp, "onnx": measure_onnx}


def predict(  # noqa: PLR0913, PLR0917 - what the resolver knows of a model
    format_: Any,
    architecture: Architecture,
    weights_bytes: int,
    context: int,
    cache: CacheType,
    parameters: int | None = None,
    parallel: int = 1,
) -> Need:
    """What the resolver would say."""
    model = MODEL._replace(architecture=architecture, parameters=parameters)
    variant = VARIANT._replace(format=format_, size_bytes=weights_bytes)
    _, need = find_context(model, variant, context, None, cache, requests=parallel)
    assert need is not None
    return need


def run_child(module: str, *words: str) -> dict[str, Any]:
    """What a measuring process prints."""
    command = [sys.executable, "-m", f"benchmarks.fit.{module}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())

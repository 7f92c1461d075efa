"""What the whole of lf costs per generated token: a worker and its pipe against the bare engine, same model.

    python -m benchmarks.decode [--threads N] [--rounds N]

Run from the repository's root on a quiet machine. 125 M random weights in 4 bits; the text is thrown away, the counting
is exact. Both sides take turns, and the ratio is the median over rounds of two runs next to each other in time, for a
machine's speed drifts by more than what is measured. The bar is 0.95. A server program is compared with the bare engine
on the same file, without any HTTP.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.decode_overhead import ENGINES, PROMPT, SHAPE, TOKENS, VOCABULARY
from tests.contract.backends import llama_bindings

from localfirst.conversation import Answer, Sampling, TextDelta
from localfirst.worker import protocol
from localfirst.worker.client import Worker

BAR = 0.95


def main() -> int:
    """Print a line for each engine; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description="Decode through lf against the bare engine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backend", action="append", choices=ENGINES, help="only this one; may be repeated")
    asked = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    missed = 0
    parameters = SHAPE.parameters(VOCABULARY) / 1e6
    print(f"{parameters:.0f} M parameters, {asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    for backend in asked.backend or ENGINES:
        with tempfile.TemporaryDirectory() as folder:
            path = ENGINES[backend].make_model(Path(folder))
            bare = ENGINES[backend].make_bare(path, asked.threads)
            program = ENGINES[backend].make_program(Path(folder))
            with Worker(find_interpreter(backend)) as worker:
                worker.load(protocol.Load(backend, str(path), SHAPE.context, asked.threads, "cpu", program=program))
                runs = [(bare(), decode(worker)) for _ in range(asked.rounds)]
            ratio = median(bare_s / ours_s for bare_s, ours_s in runs)
            best = [1 / min(column) for column in zip(*runs, strict=True)]
            missed += ratio < BAR
            print(
                f"{backend}: best tokens/s: bare {best[0]:.1f}, through lf {best[1]:.1f}; median ratio {ratio:.3f}"
                f"  bar {BAR}: {'ok' if ratio >= BAR else 'MISSED'}"
            )
    return min(missed, 1)


def find_interpreter(backend: str) -> str:
    """The interpreter that has an engine."""
    return (llama_bindings.find_interpreter() if backend == "llama-cpp-python" else None) or sys.executable


def decode(worker: Worker) -> float:
    """Seconds per token as the parent sees them, from the first piece of text to the end."""
    request = protocol.Complete("".join(map(chr, PROMPT)), Sampling(temperature=0), max_tokens=TOKENS)
    first = None
    for piece in worker.answer(request):
        if first is None and isinstance(piece, TextDelta):
            first = perf_counter()
    assert isinstance(piece, Answer)
    assert first is not None
    assert piece.usage.completion_tokens == TOKENS
    return (perf_counter() - first) / (TOKENS - 1)


if __name__ == "__main__":
    sys.exit(main())

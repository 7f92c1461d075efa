"""What answering several questions at the same time gains: four together against one after the other, same worker.

    python -m benchmarks.parallel [--backend NAME] [--threads N] [--rounds N]

Run from the repository's root on a quiet machine. 639 M random weights in 4 bits, more than a processor's cache holds:
what several answers share is that they are read once. The text is thrown away. Both ways take turns, and the ratio is
the median over rounds. The bar is 1.5; llama.cpp was seen at 2.25 on 2 threads, and at 1.3 with 125 M weights, where it
computes more than it reads.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.overhead import BENCHES, VOCABULARY
from tests.fixtures.scripted.network import Shape

from localfirst.catalog.rules import BATCHING_BACKENDS
from localfirst.conversation import Sampling
from localfirst.worker import protocol
from localfirst.worker.client import Worker

BAR = 1.5
SHAPE = Shape(hidden=1536, layers=16, heads=12, kv_heads=2, feed_forward=6144, context=2048)
PROMPT = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PARALLEL = 4
TOKENS = 64


def main() -> int:
    """Print tokens per second in all, both ways, and the ratio; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description="Four at a time against one after the other")
    parser.add_argument("--backend", choices=BATCHING_BACKENDS, default="xllamacpp")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Worker(sys.executable) as worker:
        bench = BENCHES[asked.backend]
        path = Path(folder, bench.file_name)
        bench.make_random(path, SHAPE, vocabulary_size=VOCABULARY)
        worker.load(protocol.Load(asked.backend, str(path), SHAPE.context, asked.threads, "cpu", requests=PARALLEL))
        answer(worker, 0)
        runs = [(run(worker, 1), run(worker, PARALLEL)) for _ in range(asked.rounds)]
    ratio = median(serial_s / together_s for serial_s, together_s in runs)
    serial, together = (PARALLEL * TOKENS / min(column) for column in zip(*runs, strict=True))
    print(
        f"{asked.backend}, {SHAPE.parameters(VOCABULARY) / 1e6:.0f} M parameters, {asked.threads} threads,"
        f" load {os.getloadavg()[0]:.1f}: best tokens/s: one after the other {serial:.1f},"
        f" {PARALLEL} at a time {together:.1f}; median ratio {ratio:.2f}"
        f"  bar {BAR}: {'ok' if ratio >= BAR else 'MISSED'}"
    )
    return int(ratio < BAR)


def run(worker: Worker, at_once: int) -> float:
    """Seconds for `PARALLEL` answers."""
    began = perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda number: answer(worker, number), range(PARALLEL)))
    return perf_counter() - began


def answer(worker: Worker, number: int) -> None:
    """One whole answer, to a question of its own."""
    prompt = f"{number}{PROMPT}"
    for _ in worker.answer(protocol.Complete(prompt, Sampling(temperature=0), max_tokens=TOKENS)):
        pass


if __name__ == "__main__":
    sys.exit(main())

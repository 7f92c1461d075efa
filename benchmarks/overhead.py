"""What the whole of lf costs: a worker and its pipe beside the engine called directly, same model, prompts and threads.

    python -m benchmarks.overhead [--backend NAME]... [--threads N] [--rounds N]

Run from the repository's root on a quiet machine. 125 M random weights in 4 bits, made on the spot; the text is thrown
away, the counting is exact. Each side is a process of its own (the direct one is `benchmarks/bare.py`), and they take
turns within a round, for a machine's speed drifts by more than what is measured: ratios are medians over rounds of two
runs next to each other in time. Every prompt is a new one, so that no cache helps.

A server program is compared with the engine that it has inside, without any HTTP; it is held to no bar.

Bars: decoding and reading prompts at 0.98 of the direct speed at the least, the first token of a short prompt at most
2 ms later, and at most 20 MB more memory than the direct process has.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import psutil
from tests.contract.backends import llama_bindings
from tests.fixtures.scripted import (
    Shape,
    make_random_gguf,
    make_random_litert,
    make_random_mlx,
    make_random_onnx,
    make_random_openvino,
)
from tests.fixtures.servers import make_program

from localfirst.conversation import Answer, Sampling
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from typing import Self

SHAPE = Shape(hidden=768, layers=12, heads=12, kv_heads=4, feed_forward=2048, context=2048)
VOCABULARY = 32000
LONG, SHORT = 512, 16
"""Tokens of a prompt whose reading is measured, and of one whose first token is."""
TOKENS = 128
LETTERS = range(ord("A"), ord("z") + 1)
"""Characters that are a token each."""
SPEED_BAR, FIRST_BAR_S, MEMORY_BAR_BYTES = 0.98, 0.002, 20_000_000


class Bench(NamedTuple):
    """How an engine's model is made: the name of its file or folder, who writes it, and the program where it is one."""

    file_name: str
    make_random: Callable[..., object]
    script: str | None = None


BENCHES = {
    "xllamacpp": Bench("model.gguf", partial(make_random_gguf, quantization="Q4_0")),
    "llama-server": Bench("model.gguf", partial(make_random_gguf, quantization="Q4_0"), "llama_server.py"),
    "llama-cpp-python": Bench("model.gguf", partial(make_random_gguf, quantization="Q4_0")),
    "onnx": Bench("onnx", partial(make_random_onnx, bits=4)),
    "mlx": Bench("mlx", partial(make_random_mlx, bits=4)),
    "openvino": Bench("openvino", partial(make_random_openvino, bits=4)),
    "litert": Bench("model.litertlm", partial(make_random_litert, bits=4)),
}


class Times(NamedTuple):
    """One side of a round, in seconds: reading a long prompt, the first token after a short one, one token after it."""

    read_s: float
    first_s: float
    token_s: float


class Direct:
    """The engine by itself, in a process of its own."""

    def __init__(self, python: str, backend: str, path: Path, threads: int) -> None:
        command = [python, "-m", "benchmarks.bare", backend, str(path), str(threads), str(SHAPE.context)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.pid = self._process.pid
        self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        """Seconds until the first token, and for the others."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompt": list(prompt), "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        answer = self._receive()
        return answer["first_s"], answer["rest_s"]

    def _receive(self) -> dict[str, float]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, float] = json.loads(line)
                return answer
        raise SystemExit("the direct process ended")


class ThroughLf:
    """The same engine behind a worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        """Seconds until the first token, and for the others, as the parent sees them."""
        request = protocol.Complete("".join(map(chr, prompt)), Sampling(temperature=0), max_tokens=tokens)
        began = perf_counter()
        times, pieces = zip(*((perf_counter(), piece) for piece in self._worker.answer(request)), strict=True)
        piece = pieces[-1]
        assert isinstance(piece, Answer)
        assert piece.usage.completion_tokens == tokens
        assert piece.usage.prompt_tokens - len(prompt) in {0, 1}
        return times[0] - began, times[-1] - times[0]


def main() -> int:
    """Print a line for each engine; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="What lf costs beside the engine called directly")
    parser.add_argument("--backend", action="append", choices=BENCHES, help="only this one; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parameters = SHAPE.parameters(VOCABULARY) / 1e6
    print(f"{parameters:.0f} M parameters, {asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    here = [backend for backend in BENCHES if backend != "llama-cpp-python" or llama_bindings.find_interpreter()]
    missed = [measure(backend, asked.threads, asked.rounds) for backend in asked.backend or here]
    return int(any(missed))


def find_python(backend: str) -> str:
    """The interpreter that has an engine."""
    return (llama_bindings.find_interpreter() if backend == "llama-cpp-python" else None) or sys.executable


def measure(backend: str, threads: int, rounds: int) -> bool:
    """Compare the two sides; whether a bar is missed."""
    bench = BENCHES[backend]
    generator = random.Random(1)  # noqa: S311 - the same prompts in every run
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, bench.file_name)
        bench.make_random(path, SHAPE, vocabulary_size=VOCABULARY)
        program = bench.script and make_program(Path(folder, "program"), bench.script)
        python = find_python(backend)
        inside = "xllamacpp" if program else backend
        with Direct(python, inside, path, threads) as direct, Worker(python) as worker:
            worker.load(protocol.Load(backend, str(path), SHAPE.context, threads, "cpu", program=program))
            sides = (direct, ThroughLf(worker))
            runs = [tuple(go_round(side, generator) for side in sides) for _ in range(rounds + 1)][1:]
            memory = [measure_memory(pid) for pid in (direct.pid, worker.pid)]
    return say(backend, runs, memory) and not program


def go_round(side: Direct | ThroughLf, generator: random.Random) -> Times:
    """One side's turn."""
    read_s, _ = side.run(make_prompt(generator, LONG), 1)
    first_s, _ = side.run(make_prompt(generator, SHORT), 1)
    _, rest_s = side.run(make_prompt(generator, SHORT), TOKENS)
    return Times(read_s, first_s, rest_s / (TOKENS - 1))


def make_prompt(generator: random.Random, tokens: int) -> list[int]:
    """A prompt that nobody has read before."""
    return generator.choices(LETTERS, k=tokens)


def measure_memory(pid: int) -> int:
    """Memory of a process and of those that it started, in bytes, what they share counted once."""
    process = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True)))


def say(backend: str, runs: Sequence[tuple[Times, ...]], memory: Sequence[int]) -> bool:
    """Print what was measured; whether a bar is missed."""
    read, decode = (median(getattr(a, name) / getattr(b, name) for a, b in runs) for name in ("read_s", "token_s"))
    later_s = median(b.first_s - a.first_s for a, b in runs)
    more_bytes = memory[1] - memory[0]
    passed = {
        f"decode {decode:.3f}": decode >= SPEED_BAR,
        f"prefill {read:.3f}": read >= SPEED_BAR,
        f"first token {later_s * 1000:+.1f} ms": later_s <= FIRST_BAR_S,
        f"memory {more_bytes / 1e6:+.0f} MB": more_bytes <= MEMORY_BAR_BYTES,
    }
    speeds = " ".join(f"{1 / median(run[side].token_s for run in runs):.1f}" for side in (0, 1))
    told = ", ".join(f"{text}{'' if ok else ' MISSED'}" for text, ok in passed.items())
    print(f"{backend:13} {told} (tokens/s: {speeds})", flush=True)
    return not all(passed.values())


if __name__ == "__main__":
    sys.exit(main())

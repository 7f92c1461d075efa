"""What `lf serve` costs and gains beside engines' own HTTP servers, with the same file, threads and slots.

    python -m benchmarks.serve [--starts N] [--rounds N] [--clients 1,4,8,16] [--llama-cpp-python PYTHON]

Run from the repository's root on a quiet machine. 125 M random weights in 4 bits; the text is thrown away, and every
prompt is new. The servers are loaded beside each other and take turns; what is printed are medians over all rounds, of
the differences or ratios within each. Every so many rounds they are started anew: where a model comes to lie in memory
makes one start some hundredths faster than the next. `--llama-cpp-python` names an interpreter that has
`llama_cpp.server`, which answers one request at a time. The bars: first words at most 2 ms later than from xllamacpp's
server, as many tokens a second for any number of clients, three times as many as llama-cpp-python's server for 8, and
80 MB for the server's process.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import psutil
from benchmarks.overhead import BENCHES, SHAPE, VOCABULARY

FIRST_BAR_S, MEMORY_BAR_BYTES, OTHER_BAR = 0.002, 80_000_000, 3.0
OTHER_CLIENTS = 8
PROMPT_TOKENS, TOKENS = 16, 64
CONTEXT_TOKENS = 512
FIRSTS, FIRST_TOKENS = 10, 8
"""First tokens that are timed in each turn, and how long their answers are: others follow, as they do in life."""
PAUSE_S = 0.02
"""Before each of them: who was asked before is still clearing up."""
START_S = 120
XLLAMACPP_NAME = "xllamacpp's server"
XLLAMACPP = """
import signal, sys, xllamacpp
path, port, threads, slots, context = sys.argv[1], *map(int, sys.argv[2:])
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = path, ["127.0.0.1"], port
params.n_ctx, params.n_parallel, params.n_gpu_layers, params.n_ubatch = slots * context, slots, 0, 128
params.cpuparams.n_threads, params.cpuparams_batch.n_threads = threads, threads
params.cache_ram_mib, params.cache_idle_slots, params.verbosity = 0, False, 0
server = xllamacpp.Server(params)
signal.pause()
"""


class Pair(NamedTuple):
    """The same of both."""

    ours: float
    theirs: float


class Heard(NamedTuple):
    """A streamed answer: seconds until its first text, and its tokens."""

    first_s: float
    tokens: int


class Server(NamedTuple):
    """Who is asked. Connections are kept, one for each thread that asks, as clients do."""

    name: str
    port: int
    model: str
    process: psutil.Process
    kept: threading.local

    def ask(self, prompt: str, tokens: int) -> Heard:
        """Have a text continued.

        Raises:
            RuntimeError: the server refuses, or says nothing.
        """
        body = {"model": self.model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
        body["stream_options"] = {"include_usage": True}
        began, first_s, counted, events = perf_counter(), 0.0, 0, 0
        response = self._post(json.dumps(body))
        while line := response.readline():
            if not line.startswith(b"data: {"):
                continue
            arrived_s, event = perf_counter() - began, json.loads(line[6:])
            if not first_s and any(choice["text"] for choice in event["choices"]):
                first_s = arrived_s
            events += 1
            counted = (event.get("usage") or {}).get("completion_tokens", counted)
        if not events:
            raise RuntimeError(f"{self.name} said nothing, with status {response.status}")
        return Heard(first_s, counted or events)  # who tells no count sends an event for each token

    def _post(self, body: str) -> http.client.HTTPResponse:
        """The head of an answer; by a new connection where the server has closed the kept one meanwhile."""
        if not hasattr(self.kept, "connection"):
            self.kept.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        for is_last in (False, True):
            try:
                self.kept.connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
                response: http.client.HTTPResponse = self.kept.connection.getresponse()
            except (ConnectionError, http.client.HTTPException):
                self.kept.connection.close()
                if is_last:
                    raise
            else:
                return response
        raise AssertionError("the last one returns or raises")


def main() -> int:
    """Print a line for each figure; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="lf serve beside engines' own servers")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="with each start")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", default="1,4,8,16")
    parser.add_argument("--llama-cpp-python", metavar="PYTHON", help="an interpreter that has llama_cpp.server")
    asked = parser.parse_args()
    clients = [int(text) for text in asked.clients.split(",")]
    print(
        f"{SHAPE.parameters(VOCABULARY) / 1e6:.0f} M parameters, {asked.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    generator = random.Random(1)  # noqa: S311 - the same prompts in every run
    firsts: list[Pair] = []
    rates: dict[tuple[str, int], list[Pair]] = {}
    taken_bytes = []
    for _ in range(asked.starts):
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            folder = Path(scratch)
            path = folder / "random.gguf"
            BENCHES["xllamacpp"].make_random(path, SHAPE, vocabulary_size=VOCABULARY)
            start = partial(_start, stack, folder)
            ours = start_lf(start, path, asked.threads, max(clients))
            theirs = start_xllamacpp(start, path, asked.threads, max(clients))
            firsts += measure_firsts(ours, theirs, generator, asked.rounds)
            for count in clients:
                found = rates.setdefault((theirs.name, count), [])
                found += measure_rates(ours, theirs, generator, count, asked.rounds)
            if asked.llama_cpp_python:
                other = start_llama_cpp_python(start, asked.llama_cpp_python, path, asked.threads)
                found = rates.setdefault((other.name, OTHER_CLIENTS), [])
                found += measure_rates(ours, other, generator, OTHER_CLIENTS, asked.rounds)
            taken_bytes.append(ours.process.memory_full_info().pss)
    later_s = median(pair.ours - pair.theirs for pair in firsts)
    each = " and ".join(f"{median(column) * 1000:.1f}" for column in zip(*firsts, strict=True))
    missed = _say(f"first words {later_s * 1000:+.1f} ms ({each} ms)", later_s <= FIRST_BAR_S)
    for (name, count), pairs in rates.items():
        ratio = median(pair.ours / pair.theirs for pair in pairs)
        each = " and ".join(f"{median(column):.0f}" for column in zip(*pairs, strict=True))
        text = f"{count:2} {'client' if count == 1 else 'clients'}: {ratio:.3f} x {name} ({each} tokens/s)"
        missed |= _say(text, ratio >= (1.0 if name == XLLAMACPP_NAME else OTHER_BAR))
    taken = max(taken_bytes)
    missed |= _say(f"lf serve without its workers: {taken / 1e6:.0f} MB", taken <= MEMORY_BAR_BYTES)
    return int(missed)


def measure_firsts(ours: Server, theirs: Server, generator: random.Random, rounds: int) -> list[Pair]:
    """Seconds until the first words, of both for the same prompts, who is asked first in turns."""
    pairs = []
    for number in range((rounds + 1) * FIRSTS):
        prompt, first_s = _make_prompt(generator), {}
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            time.sleep(PAUSE_S)
            first_s[side.name] = side.ask(prompt, FIRST_TOKENS).first_s
        pairs.append(Pair(first_s[ours.name], first_s[theirs.name]))
    return pairs[FIRSTS:]  # the first round warms up


def measure_rates(ours: Server, theirs: Server, generator: random.Random, clients: int, rounds: int) -> list[Pair]:
    """Tokens a second for so many clients at a time."""
    pairs = []
    for number in range(rounds + 1):
        sides = (ours, theirs) if number % 2 else (theirs, ours)
        tps = {side.name: measure_throughput(side, generator, clients) for side in sides}
        pairs.append(Pair(tps[ours.name], tps[theirs.name]))
    return pairs[1:]


def measure_throughput(side: Server, generator: random.Random, clients: int) -> float:
    """Tokens a second of all answers, from the first question to the last token."""
    prompts = [_make_prompt(generator) for _ in range(clients)]
    began = perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        heard = list(pool.map(lambda prompt: side.ask(prompt, TOKENS), prompts))
    return sum(one.tokens for one in heard) / (perf_counter() - began)


def start_lf(start: partial[subprocess.Popen[str]], path: Path, threads: int, slots: int) -> Server:
    """`lf serve`, with the model imported."""
    lf = [sys.executable, "-m", "localfirst"]
    start([*lf, "model", "import", str(path), "--name", "random"]).wait()
    words = ["--parallel", str(slots), "--ctx", str(CONTEXT_TOKENS), "--queue", "64", "--threads", str(threads)]
    process = start([*lf, "serve", "--port", "0", "--json", *words])
    assert process.stdout is not None
    port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2].partition("/")[0])
    return Server("lf", port, "random", psutil.Process(process.pid), threading.local())


def start_xllamacpp(start: partial[subprocess.Popen[str]], path: Path, threads: int, slots: int) -> Server:
    """llama.cpp's own server, as xllamacpp has it inside."""
    port = _find_port()
    numbers = (port, threads, slots, CONTEXT_TOKENS)
    process = start([sys.executable, "-c", XLLAMACPP, str(path), *map(str, numbers)])
    return _wait_for(Server(XLLAMACPP_NAME, port, "random", psutil.Process(process.pid), threading.local()))


def start_llama_cpp_python(start: partial[subprocess.Popen[str]], python: str, path: Path, threads: int) -> Server:
    """llama-cpp-python's own server."""
    port = _find_port()
    words = ["--model", str(path), "--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(CONTEXT_TOKENS)]
    process = start([python, "-m", "llama_cpp.server", *words, "--n_threads", str(threads)])
    return _wait_for(
        Server("llama-cpp-python's server", port, "random", psutil.Process(process.pid), threading.local())
    )


def _start(stack: ExitStack, folder: Path, command: Sequence[str]) -> subprocess.Popen[str]:
    return stack.enter_context(_running(command, {**os.environ, "LF_HOME": str(folder / "home")}))


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for(server: Server) -> Server:
    deadline = time.monotonic() + START_S
    while True:
        try:
            server.ask("a", 1)
        except (OSError, RuntimeError, http.client.HTTPException):
            if time.monotonic() > deadline or not server.process.is_running():
                raise
            time.sleep(0.2)
        else:
            return server


def _find_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def _make_prompt(generator: random.Random) -> str:
    return "".join(generator.choices(string.ascii_letters, k=PROMPT_TOKENS))


def _say(text: str, passed: bool) -> bool:
    print(text if passed else f"{text} MISSED", flush=True)
    return not passed


if __name__ == "__main__":
    sys.exit(main())

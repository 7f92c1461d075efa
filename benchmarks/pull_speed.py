"""How fast a pull is, verification included: `lf`, `curl -o` and huggingface_hub in turns, from one server on loopback.

    python -m benchmarks.pull_speed [--bytes 1000000000] [--rounds 5]

Run from the repository's root. The server is a process of its own that sends by `sendfile`; each contender is a process
of its own that fetches the same file of random bytes. `lf` reads the listing, fetches, verifies and makes durable what
it has written; `curl` does neither of the last two. Printed are medians: seconds of the fetch itself (a program's
start and imports are not a matter of speed), processor time and peak memory of the whole process. The bars: as fast as
`curl`, three times as fast as huggingface_hub.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT = "0" * 39 + "1"
FILE = "model.gguf"
HUB_FETCH = """
import sys, time
from huggingface_hub import hf_hub_download
begun = time.perf_counter()
hf_hub_download("org/model", "model.gguf", revision=sys.argv[1], cache_dir=sys.argv[2])
print(time.perf_counter() - begun)
"""
LF_FETCH = """
import sys, time
import httpx2, huggingface_hub, urllib3
from huggingface_hub import HfApi
from localfirst.store.pull import pull
from tests.fixtures.hub import make_model
begun = time.perf_counter()
pull(*make_model("org/model", "model.gguf", revision=sys.argv[1]))
print(time.perf_counter() - begun)
"""


class Run(NamedTuple):
    """One fetch."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def main() -> int:
    """Print a line for each contender; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="How fast a pull is, beside curl and huggingface_hub")
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start_server(Path(folder), arguments.bytes) as url:
        runs = compare(url, Path(folder), arguments.rounds)
    return say(runs, arguments.bytes)


@contextmanager
def start_server(folder: Path, size: int) -> Iterator[str]:
    """The address of a hub with a file of so many random bytes."""
    source = folder / "source"
    write_random(source, size)
    command = [sys.executable, "-m", "benchmarks.pull_speed_server", str(source), hash_of(source)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"  # type: ignore[union-attr]
    finally:
        server.kill()
        server.communicate()


def write_random(path: Path, size: int) -> None:
    """A file that compresses to nothing less."""
    generator = random.Random(1)  # noqa: S311 - the same bytes in every run
    with path.open("wb") as file:
        for _ in range(size // 10**6):
            file.write(generator.randbytes(10**6))
        file.write(generator.randbytes(size % 10**6))


def hash_of(path: Path) -> str:
    """Its SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(url: str, folder: Path, rounds: int) -> dict[str, list[Run]]:
    """Run all contenders in turns, so that what disturbs one disturbs all."""
    file = f"{url}/org/model/resolve/{COMMIT}/{FILE}"
    commands = {
        "curl -o": ["curl", "-s", "-o", str(folder / "curl.out"), "-w", "%{time_total}", file],
        "huggingface_hub": [sys.executable, "-c", HUB_FETCH, COMMIT, str(folder / "hub")],
        "lf": [sys.executable, "-c", LF_FETCH, COMMIT],
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    environment = os.environ | {
        "HF_ENDPOINT": url, "LF_HOME": str(folder / "lf"), "HF_HOME": str(folder / "hf"), "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    for _ in range(rounds + 1):  # the first one warms up
        for name, command in commands.items():
            runs[name].append(fetch(command, environment))
            for leftover in ("curl.out", "hub", "lf"):
                path = folder / leftover
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            os.sync()
    return {name: done[1:] for name, done in runs.items()}


def fetch(command: list[str], environment: dict[str, str]) -> Run:
    """Run a contender to its end."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    with process:
        text = process.stdout.read()  # type: ignore[union-attr]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {process.returncode}")
    return Run(float(text), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def say(runs: dict[str, list[Run]], size: int) -> int:
    """Print the medians and the ratios; 1 if a bar is missed."""
    walls = {name: median(run.wall_s for run in done) for name, done in runs.items()}
    for name, done in runs.items():
        cpu_s, peak = median(run.cpu_s for run in done), median(run.peak_bytes for run in done)
        print(f"{name:16} {walls[name]:6.2f} s  {size / walls[name] / 1e6:6.0f} MB/s  "
              f"{cpu_s:5.2f} s of processor  {peak / 2**20:5.0f} MiB at most")  # fmt: skip
    missed = 0
    for other, bar in (("curl -o", 1.0), ("huggingface_hub", 3.0)):
        ratio = walls[other] / walls["lf"]
        missed += ratio < bar
        print(f"lf is {ratio:.2f} times as fast as {other}; bar {bar:g}: {'ok' if ratio >= bar else 'MISSED'}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())

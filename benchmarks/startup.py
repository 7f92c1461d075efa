"""How long commands take, as multiples of an empty Python, measured in one interleaved run.

    python benchmarks/startup.py [--rounds 20]

The ratio travels between machines; milliseconds do not. The least of many rounds is compared, because everything that
disturbs a measurement only ever adds to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LF = str(Path(sys.executable).with_name("lf"))
COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "lf --help": ([LF, "--help"], 6.5),
    "lf --version": ([LF, "--version"], None),
    "lf hw": ([LF, "hw"], None),
    "lf model list --fits": ([LF, "model", "list", "--fits"], 12.0),
    "lf model explain phi-4-mini": ([LF, "model", "explain", "phi-4-mini"], None),
}
"""What is run, and the most that it may cost in multiples of the first."""


def measure(rounds: int) -> dict[str, float]:
    """The least wall-clock seconds of each command, over interleaved rounds."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LF_HOME": home}
        for _ in range(rounds + 1):  # the first round fills the caches
            for name, (command, _bar) in COMMANDS.items():
                begun = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                best[name] = min(best[name], time.perf_counter() - begun)
    return best


def main() -> int:
    """Print the table; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="Start-up time of lf's commands")
    parser.add_argument("--rounds", type=int, default=20)
    best = measure(parser.parse_args().rounds)
    unit = best["python -c pass"]
    missed = 0
    for name, (_, bar) in COMMANDS.items():
        ratio = best[name] / unit
        verdict = "" if bar is None else f"  bar {bar:g}: {'ok' if ratio <= bar else 'MISSED'}"
        missed += bar is not None and ratio > bar
        print(f"{name:30} {best[name] * 1000:7.1f} ms  {ratio:5.1f} x{verdict}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())

"""What the two pure parts of every command take: looking at this machine, and choosing a build of one model.

    python -m benchmarks.core [--rounds N]

Run from the repository's root. Devices whose maker's tool has to be asked are left out: it answers in its own time.
The bars are 5 ms each, on the median of a warm process.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from localfirst.catalog.resolve import find_plans
from localfirst.hwprobe.host import Completed, Host
from localfirst.hwprobe.probe import probe
from localfirst.services.catalogue import load_models
from localfirst.services.planning import find_runtimes_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAR_MS = 5.0
MODEL = "phi-4-mini"


class ToollessHost(Host):
    """This machine without the tools of makers of devices."""

    def run(self, argv: Sequence[str]) -> Completed | None:  # noqa: ARG002 - nothing is asked
        """Nothing answers."""
        return None


def main() -> int:
    """Print a line for each; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="How long the probe and the choice take")
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    host = ToollessHost()
    machine, runtimes = probe(host), find_runtimes_for(probe(host))
    (model,) = (one for one in load_models() if one.name == MODEL)
    parts: dict[str, Callable[[], object]] = {
        "probe": lambda: probe(host),
        f"choose a build of {MODEL}": lambda: tuple(find_plans(model, machine, runtimes)),
    }
    missed = 0
    for name, part in parts.items():
        took_ms = median(measure(part) for _ in range(rounds)) * 1000
        missed += took_ms > BAR_MS
        print(f"{name:30} {took_ms:6.2f} ms  bar {BAR_MS:g}: {'ok' if took_ms <= BAR_MS else 'MISSED'}")
    return min(missed, 1)


def measure(part: Callable[[], object]) -> float:
    """Seconds of one run."""
    begun = perf_counter()
    part()
    return perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())

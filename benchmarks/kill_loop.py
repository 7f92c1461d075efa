"""Kill every command that changes the store at random moments, some hundred times.

    python -m benchmarks.kill_loop [--kills 200] [--seed 1]

Run from the repository's root. What holds after every kill is told and tested in `tests/fixtures/kills.py`; the tests
themselves do the same some twenty times. Printed are the kills of each command, and the bytes that the worst pull or
update fetched as a share of what it needed. The bar is 1.05; what is left after all is gone must be nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.fixtures.hub import Hub
from tests.fixtures.kills import Loop

BAR = 1.05


def main() -> int:
    """Print a line for each round; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="Kill every command that changes the store")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as folder, Hub() as hub:
        loop = Loop(Path(folder), hub, random.Random(arguments.seed))  # noqa: S311 - to be repeated
        while sum(loop.kills.values()) < arguments.kills:
            loop.go_round()
            kills = ", ".join(f"{name} {count}" for name, count in loop.kills.items())
            print(f"killed: {kills}; fetched at most {loop.worst_share:.3f} of what was needed", flush=True)
        left = loop.tidy()
    print(f"left: {', '.join(map(str, left)) or 'nothing'}")
    return int(bool(left) or loop.worst_share > BAR)


if __name__ == "__main__":
    sys.exit(main())

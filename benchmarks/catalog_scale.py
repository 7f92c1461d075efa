"""What the catalog costs as it grows: reading its cache, finding a name, choosing a build, listing everything.

    python benchmarks/catalog_scale.py [--rounds 5]

Catalogs of 1 to 100 times the built-in one are made of copies with other names. What is done once for each model (the
cache, the list) has to grow no faster than the catalog; what concerns one model has not to grow at all, but for the
look-up of its name. Times are the least of some rounds, in milliseconds; the last column is that of the built-in
catalog times the factor, to compare with.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from localfirst.catalog.names import find_model, parse_name
from localfirst.catalog.resolve import find_plans, resolve
from localfirst.catalog.rows import from_json, to_json
from localfirst.services.catalogue import load_models
from localfirst.services.machines import find_machine
from localfirst.services.planning import find_runtimes_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import Model

FACTORS = (1, 3, 10, 30, 100)


def grow(models: tuple[Model, ...], factor: int) -> tuple[Model, ...]:
    """`factor` times as many models; copies have no aliases."""
    copies = (
        model._replace(name=f"{model.name}-x{number}x", family=f"{model.family}-x{number}x", aliases=())
        for number in range(1, factor)
        for model in models
    )
    return (*models, *copies)


def measure(task: Callable[[], object], rounds: int) -> float:
    """The least milliseconds of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - begun)
    return 1000 * best


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    machine, built_in = find_machine("rtx-4090-desktop"), load_models()
    runtimes, asked = find_runtimes_for(machine), parse_name("phi-4-mini")
    titles = ("models", "read cache", "find name", "choose one", "list all", "list, linear")
    sys.stdout.write("  ".join(f"{title:>12}" for title in titles) + "\n")
    first = 0.0
    for factor in FACTORS:
        models = grow(built_in, factor)
        text, phi = to_json(models), find_model(models, asked)
        times = [
            measure(lambda text=text: from_json(text), rounds),
            measure(lambda models=models: find_model(models, asked), rounds),
            measure(lambda phi=phi: resolve(phi, machine, runtimes), rounds),
            measure(lambda models=models: [next(find_plans(model, machine, runtimes)) for model in models], rounds),
        ]
        first = first or times[-1]
        cells = [f"{len(models):>12}", *(f"{value:12.2f}" for value in (*times, first * factor))]
        sys.stdout.write("  ".join(cells) + "\n")


if __name__ == "__main__":
    main()

"""How far foretold speeds are off, before and after `lf bench calibrate`: random weights in the engines that run here.

    python -m benchmarks.speed_accuracy --folder DIR [--make] [--shapes N] [--backend NAME]... [--rounds N] [--limit S]

Run from the repository's root, on a quiet machine. The models are made first (10 GB, some minutes; `--make` does no
more) and stay in the folder, as everything that was measured does, so that a second call goes on where the first ended:
`--limit` ends one after so many seconds. What is foretold is what `lf model list` shows, the middle of its range, for a
model of which only the size, the format and the layers are known; before is without any measurement, after is with
calibrations, which know none of these shapes. Each round calibrates and then measures every shape in every engine, one
engine after the other, so that a machine that changes does so for all; a speed is the best of the rounds, that of a
calibration's networks, too: a cloud's other tenants slow a machine down, and nothing makes it faster than it is.

Bar: off by 10 % or less on average, after. Small networks are told apart from large ones: a processor whose last cache
holds one reads its weights from there, and no model that people run is so small.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from tests.fixtures import scripted

from localfirst.catalog.speed import find_speed
from localfirst.hwprobe.probe import probe
from localfirst.services.bench import calibrate
from localfirst.services.threads import choose_threads
from localfirst.store import measurements, yardsticks
from localfirst.types import Architecture, KvGroup, Model, Variant
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from localfirst.types import Format, Machine, Rates, Runtime

BAR = 0.10
CONTEXT_TOKENS = 256
LARGE_BYTES = 100_000_000
"""What a token reads of a network that counts as large."""
ROUNDS = 2


class Kind(NamedTuple):
    """A format: the name of its file or folder, who writes it, and what the catalog would call it."""

    file_name: str
    make: Callable[..., object]
    quantization: str


KINDS: Mapping[Format, Kind] = {
    "gguf": Kind("model.gguf", partial(scripted.make_random_gguf, quantization="Q4_0"), "Q4_0"),
    "onnx": Kind("onnx", partial(scripted.make_random_onnx, bits=4), "int4"),
    "openvino": Kind("openvino", partial(scripted.make_random_openvino, bits=4), "int4"),
    "litertlm": Kind("model.litertlm", partial(scripted.make_random_litert, bits=4), "int4"),
}


class Network(NamedTuple):
    """A shape. Sizes are in elements."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int

    @property
    def name(self) -> str:
        """Also that of its folder."""
        return f"{self.hidden}x{self.layers}-{self.feed_forward}-{self.vocabulary}"

    @property
    def shape(self) -> scripted.Shape:
        """As the writers take it."""
        return scripted.Shape(self.hidden, self.layers, self.heads, self.kv_heads, self.feed_forward, CONTEXT_TOKENS)

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.shape.parameters(self.vocabulary)


NETWORKS = (
    Network(512, 12, 8, 4, 1408, 512),
    Network(384, 16, 6, 2, 1024, 32000),
    Network(512, 24, 8, 2, 1536, 512),
    Network(640, 16, 10, 2, 2048, 32000),
    Network(640, 24, 10, 2, 1792, 512),
    Network(768, 12, 12, 12, 3072, 512),
    Network(768, 20, 12, 4, 2048, 4096),
    Network(1024, 8, 16, 16, 4096, 512),
    Network(896, 12, 14, 2, 2432, 32000),
    Network(1280, 10, 20, 5, 3456, 512),
    Network(896, 12, 14, 2, 4864, 8192),
    Network(1024, 16, 16, 4, 2816, 512),
    Network(2048, 4, 16, 4, 5632, 4096),
    Network(2048, 4, 32, 8, 8192, 512),
    Network(2560, 3, 32, 8, 9728, 512),
    Network(1536, 10, 12, 4, 4608, 512),
    Network(1536, 6, 12, 2, 8960, 8192),
    Network(3072, 3, 24, 8, 8192, 512),
    Network(1024, 24, 16, 8, 3072, 4096),
    Network(1152, 12, 9, 3, 6912, 8192),
    Network(2048, 8, 16, 4, 6144, 16000),
    Network(2048, 14, 16, 2, 6144, 512),
)
"""35 to 660 M parameters: deep and narrow, shallow and wide, with small and large vocabularies, few and many heads."""


class Row(NamedTuple):
    """One network in one runtime, in tokens per second."""

    network: Network
    runtime: str
    bytes_per_token: int
    measured: float
    before: float
    after: float


def main() -> int:
    """Print a line for each network in each runtime and the mean errors; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description="How far foretold speeds are off")
    parser.add_argument("--folder", type=Path, required=True, help="where models and measurements stay")
    parser.add_argument("--make", action="store_true", help="only make the models")
    parser.add_argument("--shapes", type=int, default=len(NETWORKS), metavar="N", help="so many, spread over all")
    parser.add_argument("--backend", action="append", help="engines or runtimes; all that are here if none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--limit", type=float, default=float("inf"), metavar="S", help="end after so many seconds")
    asked = parser.parse_args()
    networks = NETWORKS[:: max(1, len(NETWORKS) // asked.shapes)][: asked.shapes]
    for network in networks:
        make(asked.folder / network.name, network)
    if asked.make:
        return 0
    until = time.monotonic() + asked.limit
    calibrator = calibrate.Calibrator(tuple(asked.backend or ()))
    calibrator.prepare()
    machine, runtimes = probe(), [row for row in calibrator.runtimes if calibrate.find_format(row) in KINDS]
    speeds: dict[str, list[float]] = {}
    known: dict[tuple[str, str, str], Rates] = {}
    for number in range(asked.rounds):
        if time.monotonic() > until:
            break
        for names, rates in calibrate_round(asked.folder / f"home-{number}", machine, asked.backend).items():
            known[names] = max(rates, known.get(names, rates), key=lambda one: one.decode_tps)
        for name, speed in measure(asked.folder / f"speeds-{number}.json", networks, runtimes, until).items():
            speeds.setdefault(name, []).append(speed)
    rows = [
        Row(
            network,
            runtime.name,
            sum(one.stat().st_size for one in list_files(asked.folder, network, calibrate.find_format(runtime))),
            max(found),
            foretell(asked.folder, network, runtime, machine, {}),
            foretell(asked.folder, network, runtime, machine, known),
        )
        for runtime in runtimes
        for network in networks
        if (found := speeds.get(f"{runtime.name} {network.name}"))
    ]
    return report(rows)


def make(folder: Path, network: Network) -> None:
    """Write the files of a network that are not there yet."""
    for kind, how in KINDS.items():
        done = folder / f"{kind}.done"
        if not done.exists():
            how.make(folder / how.file_name, network.shape, vocabulary_size=network.vocabulary)
            done.touch()


def calibrate_round(
    home: Path, machine: Machine, backends: Sequence[str] | None
) -> Mapping[tuple[str, str, str], Rates]:
    """What a calibration found that keeps its figures in a home of its own; one that is there is not made again."""
    os.environ["LF_HOME"] = str(home)
    if not measurements.find_rates(machine):
        one = calibrate.Calibrator(tuple(backends or ()))
        one.prepare()
        one.measure()
        print(f"calibrated in {one.finish().wall_s:.0f} s", flush=True)
    return measurements.find_rates(machine)


def measure(path: Path, networks: Sequence[Network], runtimes: Sequence[Runtime], until: float) -> dict[str, float]:
    """Tokens per second of each network in each runtime; those that an earlier call left in the file count."""
    found: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    for network in networks:
        for runtime in runtimes:
            name = f"{runtime.name} {network.name}"
            if name not in found and time.monotonic() < until:
                found[name] = measure_one(path.parent, network, runtime)
                path.write_text(json.dumps(found))
    return found


def measure_one(folder: Path, network: Network, runtime: Runtime) -> float:
    """Tokens per second, as a calibration finds them."""
    path = folder / network.name / KINDS[calibrate.find_format(runtime)].file_name
    threads = choose_threads(probe().cpu, None)
    with Worker(runtime.python or "") as worker:
        info = worker.load(protocol.Load(runtime.backend, str(path), CONTEXT_TOKENS, threads, runtime.placement))
        return max(answer.timings.decode_tps or 0.0 for answer in calibrate.ask(worker, info))


def foretell(
    folder: Path, network: Network, runtime: Runtime, machine: Machine, known: Mapping[tuple[str, str, str], Rates]
) -> float:
    """Tokens per second: the middle of the range that `lf model list` would show."""
    kind = calibrate.find_format(runtime)
    size = sum(one.stat().st_size for one in list_files(folder, network, kind))
    architecture = Architecture(
        layers=network.layers,
        hidden_size=network.hidden,
        feed_forward_size=network.feed_forward,
        heads=network.heads,
        vocab_size=network.vocabulary,
        context_tokens=CONTEXT_TOKENS,
        tied=False,
        kv_groups=(KvGroup(network.layers, network.kv_heads, network.shape.head_dim),),
    )
    model = Model("x", "X", "x", network.parameters, None, "chat", "mit", None, "x", None, (), architecture, ())
    variant = Variant(
        "x", kind, KINDS[kind].quantization, "vendor-ptq", "vendor", "import", "", None, (), ("cpu",), size,
        False, "verified", "", context_tokens=CONTEXT_TOKENS if kind in yardsticks.FIXED_CACHE_BYTES else None,
    )  # fmt: skip
    reached = [rates for (*_, name), rates in known.items() if name == runtime.name]
    speed = find_speed(
        model, variant, measurements.with_bandwidth(machine, known), runtime.placement, (), reached=reached
    )
    return ((speed.low_tps or 0.0) + (speed.high_tps or 0.0)) / 2


def list_files(folder: Path, network: Network, kind: Format) -> Iterator[Path]:
    """The files of a network in a format."""
    path = folder / network.name / KINDS[kind].file_name
    yield from [path] if path.is_file() else (one for one in path.rglob("*") if one.is_file())


def report(rows: Sequence[Row]) -> int:
    """Print all, and by runtime how far it is off; 1 if the bar is missed."""
    print(
        f"{'runtime':14}{'network':24}{'MB':>6}{'tok/s':>8}{'before':>8}{'after':>8}{'off before':>12}{'off after':>11}"
    )
    for row in rows:
        before, after = (100 * (one / row.measured - 1) for one in (row.before, row.after))
        print(
            f"{row.runtime:14}{row.network.name:24}{row.bytes_per_token / 1e6:6.0f}{row.measured:8.1f}{row.before:8.1f}"
            f"{row.after:8.1f}{before:+11.0f}%{after:+8.0f}%"
        )
    print(f"\n{'mean error':14}{'networks':>9}{'before':>9}{'after':>9}{'large only':>12}{'before':>9}{'after':>9}")
    for name in [*dict.fromkeys(row.runtime for row in rows), "all"]:
        own = [row for row in rows if name in {row.runtime, "all"}]
        large = [row for row in own if row.bytes_per_token >= LARGE_BYTES]
        print(f"{name:14}{len(own):9}{say_error(own)}{len(large):12}{say_error(large)}")
    off = fmean(abs(row.after / row.measured - 1) for row in rows)
    print(f"\noff by {100 * off:.1f} % on average; bar {100 * BAR:.0f} %: {'ok' if off <= BAR else 'MISSED'}")
    return int(off > BAR)


def say_error(rows: Sequence[Row]) -> str:
    """Mean of the errors before and after, as shares of the measured speed."""
    return "".join(
        f"{100 * fmean(abs(getattr(row, when) / row.measured - 1) for row in rows):8.1f}%" if rows else f"{'':9}"
        for when in ("before", "after")
    )


if __name__ == "__main__":
    sys.exit(main())

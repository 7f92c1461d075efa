"""How fast the builds of an engine decode here: the same small network of random weights, in turns, on a quiet machine.

What they reached is kept with the measurements of ordinary runs, so that the faster build is chosen.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.gain import LARGE, YARDSTICK, find_gain
from localfirst.catalog.rules import READY_STATES
from localfirst.conversation import Answer, Sampling
from localfirst.hwprobe.probe import probe
from localfirst.runtimes.table import RUNTIMES
from localfirst.services import engines
from localfirst.services.threads import find_threads
from localfirst.store import measurements, yardsticks
from localfirst.types import Progress
from localfirst.units import format_tps
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localfirst.types import Rates, Runtime

PROMPT = "A yardstick is as long as it is, whoever holds it. " * 2
TOKENS = 32
ROUNDS = 3
READY_MADE = frozenset(row.name for row in RUNTIMES if not row.compiled)
"""Programs of the user's own are no such builds: nobody knows of what they are made."""


class Gain(NamedTuple):
    """What compiling brought: a compiled runtime and the ready-made one, and what both reached."""

    compiled: str
    ready_made: str
    ours: Rates
    theirs: Rates

    @property
    def times(self) -> float:
        """How many times as fast the compiled one decodes."""
        return self.ours.decode_tps / self.theirs.decode_tps

    @property
    def prefill_times(self) -> float:
        """How many times as fast it reads a prompt; 1 where that is unknown."""
        ours, theirs = self.ours.prefill_tps, self.theirs.prefill_tps
        return ours / theirs if ours and theirs else 1.0

    def say(self) -> str:
        """`against llama-cpu, llama-native decodes 1.73 times as fast here (21.4 tokens/s), and reads a prompt ...`."""
        return (
            f"against {self.ready_made}, {self.compiled} decodes {self.times:.2f} times as fast here "
            f"({format_tps(self.ours.decode_tps)} and {format_tps(self.theirs.decode_tps)} tokens/s), "
            f"and reads a prompt {self.prefill_times:.2f} times as fast"
        )


def find_known(runtimes: Sequence[Runtime]) -> Gain | None:
    """The gain, where both were measured here before."""
    pair = _find_pair(runtimes)
    return _find_gain(*pair, measurements.find_rates(probe())) if pair else None


def compare(runtimes: Sequence[Runtime], report: Callable[[Progress], None]) -> Gain | None:
    """Measure the compiled runtime beside the ready-made one, and keep the speeds; `None` where one is missing.

    Raises:
        LfError: a worker or an engine failed, or there is no place for the network.
    """
    pair = _find_pair(runtimes)
    if pair is None:
        return None
    machine, context_tokens = probe(), yardsticks.SHAPES[LARGE].context_tokens
    with yardsticks.workplace() as folder, ExitStack() as stack:
        made = yardsticks.make(folder, "gguf", LARGE)
        workers = [(one, stack.enter_context(Worker(one.python or ""))) for one in pair]
        loaded = {
            one.name: worker.load(
                protocol.Load(one.backend, str(made.path), context_tokens, find_threads(), one.placement)
            )
            for one, worker in workers
        }
        for number in range(1, ROUNDS + 1):
            for one, worker in workers:
                line = f"measuring {one.name}, {number} of {ROUNDS}"
                report(Progress(pair[0].name, 0, detail={"line": line}))
                *_, answer = worker.answer(protocol.Complete(f"{number}{PROMPT}", Sampling(0), max_tokens=TOKENS))
                if isinstance(answer, Answer) and answer.timings.decode_tps is not None:
                    measurements.record(
                        measurements.Measurement(
                            machine=measurements.find_key(machine),
                            model=YARDSTICK,
                            variant=LARGE,
                            runtime=one.name,
                            engine_version=loaded[one.name].engine_version,
                            device=loaded[one.name].device,
                            context_tokens=context_tokens,
                            prompt_tokens=answer.usage.prompt_tokens - answer.usage.cached_tokens,
                            completion_tokens=answer.usage.completion_tokens,
                            load_s=None,
                            prefill_tps=answer.timings.prefill_tps,
                            decode_tps=answer.timings.decode_tps,
                            bytes_per_token=made.bytes_per_token,
                            layers=yardsticks.SHAPES[LARGE].layers,
                        )
                    )
    return _find_gain(*pair, measurements.find_rates(machine))


def _find_pair(runtimes: Sequence[Runtime]) -> tuple[Runtime, Runtime] | None:
    """The compiled runtime and the ready-made one for the same files and the same kind of device, both ready.

    Of adapters that load no plain model there is none: the yardstick is one.
    """
    ready = [one for one in runtimes if one.state in READY_STATES and one.backend not in engines.TEST_FILES]
    pairs = (
        (one, other)
        for one in ready
        for other in ready
        if one.name in engines.COMPILED
        and other.name in READY_MADE
        and (one.formats, one.placement) == (other.formats, other.placement)
    )
    return next(pairs, None)


def _find_gain(compiled: Runtime, ready_made: Runtime, measured: Mapping[tuple[str, str, str], Rates]) -> Gain | None:
    if find_gain(compiled.name, ready_made.name, measured) is None:
        return None
    ours, theirs = (measured[YARDSTICK, LARGE, one.name] for one in (compiled, ready_made))
    return Gain(compiled.name, ready_made.name, ours, theirs)


def find_offer(runtimes: Sequence[Runtime]) -> str | None:
    """The runtime that could be compiled here and is not yet; `None` where there is none, or nothing to do it with.

    Raises:
        RuntimeMissingError: there is no compiler.
    """
    offered = (one.name for one in runtimes if one.state == "offered" and one.name in engines.COMPILED)
    name = next(offered, None)
    return name if name and engines.find_workshop(name) else None

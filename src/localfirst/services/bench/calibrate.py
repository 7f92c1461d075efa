"""`lf bench calibrate`: a few networks in each engine that is here, kept for estimates to be corrected by.

What was measured stays, whatever ends it: each runtime is kept as soon as it is done.
"""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog.gain import YARDSTICK
from localfirst.catalog.place import explain_missing_device, find_devices
from localfirst.catalog.rules import READY_STATES
from localfirst.catalog.speed import find_line
from localfirst.catalog.wishes import is_backend
from localfirst.conversation import Answer, Sampling
from localfirst.errors import EngineError, LfError, NoFitError, RuntimeMissingError, StoreError, UnknownNameError
from localfirst.hwprobe import memory_speed
from localfirst.hwprobe.conditions import Observer
from localfirst.hwprobe.probe import probe
from localfirst.services import engines
from localfirst.services.bench.marks import BUSY_SHARE
from localfirst.services.bench.run import QUIET_S, name_machine
from localfirst.services.preparing import ignore
from localfirst.services.threads import choose_threads
from localfirst.store import measurements, yardsticks
from localfirst.types import Progress
from localfirst.units import format_bytes
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localfirst.backends.base import LoadedInfo
    from localfirst.bench.values import Conditions
    from localfirst.catalog.pace import Line
    from localfirst.store.yardsticks import Size, Yardstick
    from localfirst.types import Device, Format, Machine, Placement, Rates, Runtime

PROMPT = "A yardstick is as long as it is, whoever holds it. " * 2
"""102 tokens of a vocabulary of bytes."""
TOKENS = 24
ROUNDS = 5
"""More than half of those whose median is a runtime's speed: a second calibration replaces the first."""
SPAN_S = 1.5
"""For how long at the least: five answers of a small network are over in a quarter of a second, maybe a slow one."""
ROUNDS_S: tuple[tuple[int, float], ...] = ((3, 5.0), (1, 15.0))
"""After how many a slow machine is done, and after how many seconds."""
MEMORY_SHARE = 1 / 3
"""Of the free memory that a network may be: engines keep some weights twice while they load."""


class Figure(NamedTuple):
    """What one runtime reached, and what it makes of estimates."""

    runtime: str
    engine_version: str
    device: str
    rates: Mapping[Size, Rates]
    before: Line | None
    """How fast weights were expected to be read, from assumptions or from what was measured earlier."""
    after: Line | None


class Calibration(NamedTuple):
    """All that was found."""

    machine_name: str
    before: Conditions
    memory_bytes_per_s: int | None
    """What all cores read together; `None` where there is too little memory to tell."""
    figures: tuple[Figure, ...]
    failures: tuple[str, ...]
    """Which runtimes could not be measured, and why."""
    notes: tuple[str, ...]
    """Which runtimes are not measured this way."""
    wall_s: float
    complete: bool

    @property
    def busy(self) -> bool:
        """Whether others computed so much when it began that its figures are too low."""
        return self.before.busy_share is not None and self.before.busy_share > BUSY_SHARE


class Calibrator:
    """One calibration. `prepare`, `measure`, and in the end, however it came, `finish`."""

    def __init__(self, backends: Sequence[str] = (), sizes: Sequence[Size] = tuple(yardsticks.SHAPES)) -> None:
        """Of these engines or runtimes, all that are here if none is named, with networks of these sizes."""
        self._backends, self._sizes = backends, sizes
        self.errors: list[LfError] = []
        self._failures: list[str] = []
        self._notes: list[str] = []
        self._figures: list[Figure] = []
        self._memory_bytes_per_s: int | None = None
        self._complete = False
        self._began = time.monotonic()

    def prepare(self) -> Conditions:
        """Look at the machine and its engines, for a second: how busy is it?

        Raises:
            UnknownNameError: there is no engine of a name.
            RuntimeMissingError: none that is here can be measured.
        """
        self._machine = probe()
        self.runtimes = _choose(engines.find_runtimes(), self._backends, self._machine, self._notes)
        self._expected = {one.name: _find_line(self._machine, one) for one in self.runtimes}
        self._before = Observer().look(QUIET_S)
        return self._before

    def measure(self, report: Callable[[Progress], None] = ignore) -> None:
        """Measure the memory, then one runtime after the other; `report` is told between measurements what comes next.

        Raises:
            StoreError: there is no place for a network.
        """
        machine = self._machine
        threads = choose_threads(machine.cpu, None)
        report(_say("memory", "measuring how fast it is read"))
        self._memory_bytes_per_s = memory_speed.measure(threads, machine.memory.available_bytes)
        if self._memory_bytes_per_s is not None:
            measurements.record_bandwidth(machine, self._memory_bytes_per_s)
        with yardsticks.workplace() as folder:
            by_format: dict[Format, list[Runtime]] = {}
            for runtime in self.runtimes:
                by_format.setdefault(find_format(runtime), []).append(runtime)
            for kind, runtimes in by_format.items():
                self._measure_format(folder, kind, runtimes, threads, report)
        self._complete = not self.errors

    def finish(self) -> Calibration:
        """All that was measured."""
        return Calibration(
            machine_name=name_machine(self._machine),
            before=self._before,
            memory_bytes_per_s=self._memory_bytes_per_s,
            figures=tuple(self._figures),
            failures=tuple(self._failures),
            notes=tuple(self._notes),
            wall_s=time.monotonic() - self._began,
            complete=self._complete,
        )

    def _measure_format(
        self, folder: Path, kind: Format, runtimes: Sequence[Runtime], threads: int, report: Callable[[Progress], None]
    ) -> None:
        """Write the networks of a format, measure its runtimes on them, and remove them."""
        made: dict[Size, Yardstick] = {}
        try:
            for size in self._sizes:
                report(_say(runtimes[0].name, f"writing a {size} network of made-up weights"))
                made[size] = yardsticks.make(folder, kind, size)
            for runtime in runtimes:
                try:
                    self._figures.append(self._measure_runtime(runtime, made, threads, report))
                except LfError as error:
                    self._fail(runtime, error)
        except LfError as error:  # there is no place for one of them
            for runtime in runtimes:
                self._fail(runtime, error)
        finally:
            for one in made.values():
                yardsticks.remove(one)

    def _measure_runtime(
        self,
        runtime: Runtime,
        made: Mapping[Size, Yardstick],
        threads: int,
        report: Callable[[Progress], None],
    ) -> Figure:
        machine = self._machine
        rates: dict[Size, Rates] = {}
        info: LoadedInfo | None = None
        for size, yardstick in made.items():
            _require_memory(machine, runtime, yardstick)
            report(_say(runtime.name, f"decoding with the {size} network"))
            with Worker(runtime.python or "") as worker:
                info = worker.load(
                    protocol.Load(
                        runtime.backend,
                        str(yardstick.path),
                        yardsticks.SHAPES[size].context_tokens,
                        threads,
                        _find_place(machine, runtime)[0],
                        program=runtime.program,
                    )
                )
                answers = ask(worker, info)
            rates[size] = _record(runtime, size, yardstick, info, answers)
        assert info is not None  # noqa: S101 - there is a size
        return Figure(
            runtime.name,
            info.engine_version,
            info.device,
            rates,
            self._expected[runtime.name],
            _find_line(machine, runtime),
        )

    def _fail(self, runtime: Runtime, error: LfError) -> None:
        self.errors.append(error)
        detail = (error.detail or "").partition("\n")[0].strip()
        self._failures.append(f"{runtime.name}: {error.message}{f' ({detail})' if detail else ''}")


def find_format(runtime: Runtime) -> Format:
    """The format of the network that a runtime is measured by."""
    return next(one for one in runtime.formats if one in yardsticks.FILES)


def _choose(
    runtimes: Sequence[Runtime], names: Sequence[str], machine: Machine, notes: list[str]
) -> tuple[Runtime, ...]:
    """The runtimes that can be measured; of those that are here and cannot, why is noted."""
    for name in names:
        if not any(is_backend(one, name) for one in runtimes):
            known = ", ".join(one.name for one in runtimes)
            raise UnknownNameError(
                f"No engine or runtime named `{name}`", detail=f"known: {known}", hint="See them: `lf runtime list`"
            )
    asked = [one for one in runtimes if not names or any(is_backend(one, name) for name in names)]
    chosen = []
    for one in asked:
        if one.state not in READY_STATES or explain_missing_device(machine, one):
            continue
        if one.backend in engines.TEST_FILES or not any(kind in yardsticks.FILES for kind in one.formats):
            notes.append(f"{one.name} loads no network of made-up weights; its own runs tell how fast it is")
        else:
            chosen.append(one)
    if not chosen:
        missing = next((one for one in asked if one.state in {"installable", "offered"}), None)
        raise RuntimeMissingError(
            "No engine that is here can be measured" if not names else f"Not here: {', '.join(names)}",
            detail="\n".join(notes) or None,
            hint=f"lf runtime install {missing.name}" if missing else "See which exist: `lf runtime list`",
        )
    return tuple(chosen)


def _find_line(machine: Machine, runtime: Runtime) -> Line | None:
    """How fast a runtime is expected to read weights, by all that was measured until now."""
    measured = measurements.find_rates(machine)
    reached = [rates for (*_, name), rates in measured.items() if name == runtime.name]
    return find_line(measurements.with_bandwidth(machine, measured), *_find_place(machine, runtime), reached)


def _find_place(machine: Machine, runtime: Runtime) -> tuple[Placement, Sequence[Device]]:
    """What a runtime computes on."""
    devices = find_devices(machine, runtime)
    return (devices[0].kind if devices else runtime.placement), devices


def _require_memory(machine: Machine, runtime: Runtime, yardstick: Yardstick) -> None:
    """Refuse a network that would take most of what is free.

    Raises:
        NoFitError: both numbers.
    """
    free = machine.memory.available_bytes
    if free is not None and yardstick.bytes_per_token > MEMORY_SHARE * free:
        raise NoFitError(
            f"Too little memory is free to measure {runtime.name}",
            detail=f"a network of {format_bytes(yardstick.bytes_per_token)}, {format_bytes(free)} free",
            hint="Close other programs, and type it again",
        )


def ask(worker: Worker, info: LoadedInfo) -> list[Answer]:
    """The same prompt a few times, each with another beginning; the first answer warms up and does not count."""
    answers: list[Answer] = []
    began = time.monotonic()
    for number in count():
        asked = protocol.Complete(f"{number}{PROMPT}", Sampling(0), max_tokens=TOKENS, ignore_end=info.ignores_end)
        *_, answer = worker.answer(asked)
        if not isinstance(answer, Answer) or answer.timings.decode_tps is None:
            raise EngineError(f"{info.engine} does not say how long an answer took")
        answers.append(answer)
        seconds = time.monotonic() - began
        if any(number >= least and seconds > limit for least, limit in ((ROUNDS, SPAN_S), *ROUNDS_S)):
            break
    return answers[1:]


def _record(runtime: Runtime, size: Size, yardstick: Yardstick, info: LoadedInfo, answers: Sequence[Answer]) -> Rates:
    """Keep the answers as those of ordinary runs are, each as the fastest of them.

    Whatever else a machine does, and a cloud's other tenants, can only slow an engine down: of the same file the same
    engine reached 136, 204 and 229 tokens a second within a minute, one answer after the other alike.

    Raises:
        StoreError: they cannot be kept.
    """
    machine = probe()
    fastest = max(answers, key=lambda answer: answer.timings.decode_tps or 0.0)
    for answer in [fastest] * ROUNDS:
        measurements.record(
            measurements.Measurement(
                machine=measurements.find_key(machine),
                model=YARDSTICK,
                variant=size,
                runtime=runtime.name,
                engine_version=info.engine_version,
                device=info.device,
                context_tokens=info.context_tokens,
                prompt_tokens=answer.usage.prompt_tokens - answer.usage.cached_tokens,
                completion_tokens=answer.usage.completion_tokens,
                load_s=None,
                prefill_tps=answer.timings.prefill_tps,
                decode_tps=answer.timings.decode_tps or 0.0,
                bytes_per_token=yardstick.bytes_per_token,
                layers=yardsticks.SHAPES[size].layers,
            )
        )
    kept = measurements.find_rates(machine).get((YARDSTICK, size, runtime.name))
    if kept is None:
        raise StoreError("What was measured cannot be kept", detail=str(paths.measurements_file()))
    return kept


def _say(who: str, what: str) -> Progress:
    return Progress("calibrate", 0, detail={"line": f"{who}: {what}"})

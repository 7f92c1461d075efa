"""The course of a bench: contenders by turns, every sample kept at once, so that an end at any time loses nothing.

A B A B and not A A B B: a machine that grows warm, or busy, does so for all. Where memory has no room for all of them
at the same time, each is loaded for its turn and given up after it.
"""

from __future__ import annotations

import platform
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from localfirst import __version__
from localfirst.bench.values import Bench, Load
from localfirst.errors import ContextError, LfError
from localfirst.hwprobe import memory_speed, page_cache
from localfirst.hwprobe.conditions import Observer
from localfirst.hwprobe.energy import find_meter
from localfirst.hwprobe.host import Host
from localfirst.hwprobe.nvml import open_nvml
from localfirst.services.bench import contenders
from localfirst.services.bench.remember import remember
from localfirst.services.bench.repetition import Asker, ShallowError
from localfirst.services.bench.series import UNLOADED, Gathering, read_device_free
from localfirst.services.preparing import ignore
from localfirst.services.threads import choose_threads
from localfirst.store import measurements, results
from localfirst.types import Progress
from localfirst.units import format_bytes
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.backends.base import LoadedInfo
    from localfirst.bench.values import Contender, Workload
    from localfirst.services.bench.asked import Asked
    from localfirst.services.bench.contenders import Elsewhere, Ready
    from localfirst.services.preparing import Allowed
    from localfirst.types import Machine
    from localfirst.worker.holder import Holder

QUIET_S = 1.0
"""How long nothing is done, to see what others do."""


class Run:
    """One bench. `prepare`, `measure`, and in the end, however it came, `finish`."""

    def __init__(
        self, asked: Asked, arguments: tuple[str, ...], allowed: Allowed, elsewhere: Elsewhere | None = None
    ) -> None:
        """`elsewhere`: how to find what a server has loaded, for what is asked for there or does not fit beside it."""
        self._asked, self._arguments, self._allowed, self._elsewhere = asked, arguments, allowed, elsewhere
        self._report: Callable[[Progress], None] = ignore
        self.errors: list[LfError] = []
        """Why contenders could not be measured, or not to the end."""
        self.refusals: list[LfError] = []
        """Why single workloads could not be measured."""
        self._failures: list[str] = []
        self._gatherings: dict[tuple[int, Workload], Gathering] = {}
        self._bandwidths: dict[str, int | None] = {}
        self._complete = False

    def prepare(self, report: Callable[[Progress], None] = ignore) -> None:
        """Fetch what is missing, and look at the machine; `report` is told how far that is.

        Raises:
            LfError: nothing that was asked for can be measured.
        """
        found = contenders.find_contenders(self._asked, self._allowed, report, self._elsewhere)
        self._ready = list(found.ready)
        for name, error in found.failures:
            self._fail(name, error)
        self._failures += found.notes
        nvml = open_nvml() if any(one.load.placement != "cpu" for one in found.ready) else None
        self._machine = found.ready[0].machine
        self._meter = find_meter(Host(), nvml)
        if self._meter.reason:
            self._failures.append(f"energy: {self._meter.reason}")
        self._observer = Observer(nvml=nvml)
        self._before = self._observer.look()

    def measure(self, report: Callable[[Progress], None] = ignore) -> None:
        """Measure everything; what was measured stays, whatever ends it.

        `report` is told between two samples what comes next, and never while one is taken.
        """
        self._report = report
        self._say("looking at how busy the machine is")
        self._before = self._observer.look(QUIET_S)
        self._bandwidths = self._find_bandwidths()
        turns = [_Turn(index, ready) for index, ready in enumerate(self._ready)]
        count = self._asked.repetitions
        rounds = [range(count)] if _fit_together(turns) else [range(number, number + 1) for number in range(count)]
        for repetitions in rounds:
            with ExitStack() as stack:
                for turn in turns:
                    if not turn.failed:
                        self._open(turn, stack)
                    if len(rounds) > 1:
                        self._measure_turns([turn], repetitions)
                        stack.close()
                if len(rounds) == 1:
                    self._measure_turns(turns, repetitions)
        self._complete = not self.errors

    def finish(self) -> Bench:
        """All that was measured."""
        machine = self._machine
        after = self._observer.look()
        series = [one.finish(self._bandwidths, self._before) for one in self._gatherings.values() if one.samples]
        bench = Bench(
            id=results.make_id(),
            machine=measurements.find_key(machine),
            machine_name=name_machine(machine),
            system=f"{platform.system()} {platform.release()}",
            lf_version=__version__,
            arguments=self._arguments,
            before=self._before,
            after=after,
            energy_counter=self._meter.name,
            series=tuple(series),
            complete=self._complete,
            failures=tuple(self._failures),
        )
        if self._asked.threads is None:
            remember(bench)
        return bench

    def _measure_turns(self, turns: list[_Turn], repetitions: range) -> None:
        for workload in self._asked.workloads:
            for number in (*range(-self._asked.warmups, 0), *repetitions):
                for turn in turns:
                    if not turn.failed and workload not in turn.refused:
                        self._repeat(turn, workload, number)

    def _repeat(self, turn: _Turn, workload: Workload, number: int) -> None:
        what = "warming up" if number < 0 else f"{number + 1} of {self._asked.repetitions}"
        self._say(f"{turn.ready.name}: {workload.name}, {what}")
        key = (turn.index, workload)
        gathering = self._gatherings.get(key)
        if gathering is None:
            gathering = self._gatherings[key] = Gathering(turn.ready, turn.contender, workload, turn.info)
        gathering.load = turn.load or UNLOADED
        try:
            if number < 0:
                turn.asker.repeat(workload, number)
            else:
                gathering.take(turn.asker, number, turn.worker.pid, self._observer, turn.device_bytes)
        except (ContextError, ShallowError) as error:
            turn.refused.add(workload)
            self.refusals.append(error)
            self._failures.append(f"{workload.name} of {turn.ready.name}: {error.message}")
        except LfError as error:
            turn.failed = True
            self._fail(f"{turn.ready.name}, {workload.name}", error)

    def _open(self, turn: _Turn, stack: ExitStack) -> None:
        """Start a contender's worker and load its model: from the disk where it can be made to, then from memory."""
        ready = turn.ready
        try:
            if turn.load is None:
                self._say(f"{ready.name}: loading")
                cold_s = None
                if ready.installed is not None and ready.held is None:
                    forgotten = page_cache.forget(ready.paths)
                    with Worker(ready.python) as worker:
                        turn.build = _ask_build(worker, ready)
                        began = time.perf_counter()
                        worker.load(ready.load)
                        cold_s = time.perf_counter() - began if forgotten else None
                turn.load = Load(cold_s, None)
            turn.worker = stack.enter_context(ready.open())
            free_bytes = read_device_free(ready)
            began = time.perf_counter()
            turn.info = turn.worker.load(ready.load)
            if turn.load.warm_s is None and ready.installed is not None and ready.held is None:
                turn.load = turn.load._replace(warm_s=time.perf_counter() - began)
            if free_bytes is not None and ready.held is None:
                turn.device_bytes = free_bytes - (read_device_free(ready) or free_bytes)
            turn.contender = contenders.describe(ready, turn.info, turn.build)
            turn.asker = Asker(
                turn.worker,
                turn.info,
                self._asked,
                self._meter,
                remote=ready.installed is None,
                remembers=ready.held is not None,
            )
            turn.asker.calibrate()
            turn.info = replace(turn.info, ignores_end=turn.asker.endless)
        except LfError as error:
            turn.failed = True
            self._fail(ready.name, error)

    def _find_bandwidths(self) -> dict[str, int | None]:
        """Bytes per second of the memory of each place that is computed in, where it is read for every token."""
        found: dict[str, int | None] = {}
        for ready in self._ready:
            place = ready.load.placement
            if place in found or ready.installed is None:
                continue
            devices = [one for one in ready.machine.devices if one.name == ready.plan.device_name or one.unified]
            told = next((one.bandwidth_bytes_per_s for one in devices if one.bandwidth_bytes_per_s), None)
            if told is None and place == "cpu" and ready.installed.size_bytes > memory_speed.find_cache(Host()):
                self._say("measuring the bandwidth of the memory")
                threads = choose_threads(ready.machine.cpu, None)
                told = memory_speed.measure(threads, ready.machine.memory.available_bytes)
            found[place] = told
        return found

    def _say(self, line: str) -> None:
        self._report(Progress("bench", 0, detail={"line": line}))

    def _fail(self, name: str, error: LfError) -> None:
        self.errors.append(error)
        detail = (error.detail or "").partition("\n")[0].strip()
        self._failures.append(f"{name}: {error.message}{f' ({detail})' if detail else ''}")


class _Turn:
    """A contender while it is measured."""

    worker: Holder
    info: LoadedInfo
    contender: Contender
    asker: Asker

    def __init__(self, index: int, ready: Ready) -> None:
        self.index, self.ready = index, ready
        self.load: Load | None = None
        self.build: str | None = None
        self.device_bytes: int | None = None
        self.failed = False
        self.refused: set[Workload] = set()


def _fit_together(turns: list[_Turn]) -> bool:
    """Whether all can be loaded at the same time; of one that needs nobody knows how much, not beside another."""
    needs = [turn.ready.need_bytes for turn in turns if turn.ready.installed is not None and turn.ready.held is None]
    free = [turn.ready.plan.free_bytes for turn in turns if turn.ready.plan.free_bytes is not None]
    if len(needs) < 2:
        return True
    return bool(free) and None not in needs and sum(need or 0 for need in needs) <= min(free)


def _ask_build(worker: Worker, ready: Ready) -> str | None:
    """What the engine says of its build; nothing where it does not."""
    try:
        return worker.look(ready.load.backend, ready.load.program).build
    except LfError:
        return None


def name_machine(machine: Machine) -> str:
    """`AMD Ryzen 7 7800X3D, 8 cores, 33.6 GB; NVIDIA GeForce RTX 4080`."""
    cores = machine.cpu.cores_physical or machine.cpu.cores_logical
    parts = [
        machine.cpu.name or machine.cpu.arch,
        f"{cores} cores" if cores and cores > 1 else "1 core" if cores else "",
        format_bytes(machine.memory.total_bytes),
    ]
    devices = [device.name for device in machine.devices if device.usable]
    return "; ".join([", ".join(part for part in parts if part), *devices])

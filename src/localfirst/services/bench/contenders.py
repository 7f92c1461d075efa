"""Who is measured: builds in engines that are made ready as a run makes them, and servers elsewhere."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from localfirst.backends.external.http import parse_address
from localfirst.bench import texts
from localfirst.bench.values import Contender
from localfirst.bench.workload import find_context
from localfirst.catalog.names import parse_remote
from localfirst.catalog.place import explain_missing_device
from localfirst.catalog.rules import CHAT_TASKS, READY_STATES
from localfirst.errors import ConsentError, LfError, NetworkError, NoFitError, UnknownNameError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.services import remote
from localfirst.services.library import find_histories
from localfirst.services.planning import describe_model
from localfirst.services.preparing import Prepared, prepare
from localfirst.services.threads import choose_threads
from localfirst.store.disk import hash_file
from localfirst.types import Progress, format_build
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import LoadedInfo
    from localfirst.services.bench.asked import Asked
    from localfirst.services.preparing import Allowed, Held
    from localfirst.types import InstalledModel, Machine, Plan, Wanted
    from localfirst.worker import protocol
    from localfirst.worker.holder import Holder

FEW_TOKENS = 4
"""The prompt of a workload that only generates: as good as none, and no engine begins with none at all."""
SLACK_TOKENS = 16
"""Context besides what the workloads take: a first token of the model's own, one more that an engine keeps free."""
TEMPLATE_TOKENS = 256
"""What a template writes around a question, some with a system text of their own."""
BYTES_PER_TOKEN = 2
"""Of a text whose tokens nobody has counted: as few as text in any script of a vocabulary that knows it."""


class Elsewhere(Protocol):
    """How a model is found that a server has loaded."""

    def __call__(
        self, name: str, wanted: Wanted, allowed: Allowed, report: Callable[[Progress], None], *, longer: bool
    ) -> Held:
        """Find it, as it was asked for; `longer`: or with a longer context.

        Raises:
            LfError: there is none.
        """
        ...


class Ready(NamedTuple):
    """A contender that a worker can be started for."""

    plan: Plan
    python: str
    load: protocol.Load
    machine: Machine
    installed: InstalledModel | None
    """`None`: a server elsewhere."""
    held: Callable[[], Holder] | None = None
    """How to ask a server that has it loaded; else a worker is started for it."""

    @property
    def name(self) -> str:
        """`starter@q4_0 in llama-cpu`, or the server's address."""
        if self.installed is None:
            return self.load.main
        where = " through the server" if self.held else ""
        return f"{self.installed.full_name} in {self.plan.runtime.name if self.plan.runtime else '?'}{where}"

    def open(self) -> Holder:
        """What computes it.

        Raises:
            WorkerCrashError: no worker could be started.
        """
        return self.held() if self.held else Worker(self.python)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files."""
        if self.installed is None:
            return ()
        return tuple(Path(self.installed.root, file.path) for file in self.installed.files)

    @property
    def need_bytes(self) -> int | None:
        """What it takes of the memory that `budget_bytes` counts; `None` where that is unknown."""
        return self.plan.need.total_bytes if self.plan.need else None


class Found(NamedTuple):
    """The contenders, and in words for people who is none, and why."""

    ready: tuple[Ready, ...]
    notes: tuple[str, ...] = ()
    """What could be measured, too, and what has to be typed before."""
    failures: tuple[tuple[str, LfError], ...] = ()


def find_contenders(
    asked: Asked, allowed: Allowed, report: Callable[[Progress], None], elsewhere: Elsewhere | None = None
) -> Found:
    """Make ready all that was asked for; what cannot be is told, and the others are measured all the same.

    Raises:
        UnknownNameError, UsageError: a name or an option is none.
        ConsentError: a licence has to be accepted first.
        LfError: nothing that was asked for can be measured; the first reason.
    """
    ready: dict[tuple[str, str], Ready] = {}
    notes: list[str] = []
    failures: list[tuple[str, LfError]] = []
    for name in asked.models or _find_installed(notes):
        wishes = _find_wishes(name, asked, notes)
        for wanted in wishes:
            who = f"{name} in {wanted.backend}" if wanted.backend else name
            report(Progress(who, 0, detail={"line": "making ready"}))
            try:
                one = _make_ready(name, wanted, asked, allowed, report, elsewhere)
            except (ConsentError, UnknownNameError, UsageError):  # its user has to say something else, or yes
                raise
            except LfError as error:
                failures.append((who, error))
            else:
                ready.setdefault((one.name, one.load.placement), one)
    if not ready:
        if failures:
            raise failures[0][1]
        raise UsageError("Nothing here can be measured", detail="\n".join(notes) or None, hint="lf bench starter")
    return Found(tuple(ready.values()), tuple(dict.fromkeys(notes)), tuple(failures))


def _find_installed(notes: list[str]) -> tuple[str, ...]:
    """Every model on this disk that answers, and that something here can run; why others are left out is noted.

    Raises:
        UsageError: there is none.
    """
    names = []
    for history in find_histories():
        name = history.current.full_name
        try:
            described = describe_model(name, offline=True)
        except LfError as error:
            notes.append(f"{name}: {error.message}")
            continue
        task, best = described.entry.model.task, described.plans[0]
        if task not in CHAT_TASKS and history.current.host != "import":
            notes.append(f"{name} is for {task}, which is not measured")
        elif best.verdict == "no":
            notes.append(f"{name} is not for this machine: {best.reason}")
        else:
            names.append(name)
    if not names and not notes:
        raise UsageError("No model is on this disk", hint="`lf bench starter` needs no download")
    return tuple(names)


def _find_wishes(name: str, asked: Asked, notes: list[str]) -> Iterator[Wanted]:
    """The demands by which one model is made ready, once for each engine."""
    requests = max(one.concurrency for one in asked.workloads)
    wanted = asked.wanted._replace(context_tokens=_find_context(asked), requests=requests, min_tps=0, task="chat")
    if parse_remote(name):
        yield wanted
        return
    if asked.every_backend:
        for plan in _find_present(name, notes):
            runtime = plan.runtime.name if plan.runtime else None
            yield wanted._replace(backend=runtime, quantization=plan.variant.name)
        return
    for backend in asked.backends or (wanted.backend,):
        yield wanted._replace(backend=backend)


def _find_present(name: str, notes: list[str]) -> Iterator[Plan]:
    """The best plan of each engine that is here, with a build that is here; of the others, what is missing is noted."""
    described, machine = describe_model(name, offline=True), probe()
    model = described.entry.model.name
    told: set[str] = set()
    for plan in described.plans:
        runtime = plan.runtime
        if runtime is None or runtime.name in told or explain_missing_device(machine, runtime):
            continue
        ready, present = runtime.state in READY_STATES, plan.installed or plan.variant.host == "builtin"
        if plan.verdict == "no" and ready:
            continue
        if ready and present:
            told.add(runtime.name)
            yield plan
        elif present and runtime.state in {"installable", "offered"}:
            told.add(runtime.name)
            notes.append(f"{runtime.name} could run {model}, too: `lf runtime install {runtime.name}`")
        elif ready and not any(one.runtime == runtime and one.installed for one in described.plans):
            told.add(runtime.name)
            build = format_build(model, plan.variant.name)
            notes.append(f"{runtime.name} has no build of {model} here: `lf pull {build}`")


def _find_context(asked: Asked) -> int:
    """The context that all workloads fit in.

    Raises:
        UsageError: a shorter one was asked for.
    """
    needed = find_context(asked.workloads) + FEW_TOKENS + SLACK_TOKENS
    for one in asked.scenarios:
        text = texts.make_scenario(one.name, "0") if one.text is None else one.text
        needed = max(needed, len(text.encode()) // BYTES_PER_TOKEN + one.generated_tokens + TEMPLATE_TOKENS)
    given = asked.wanted.context_tokens
    if given is not None and given < needed and not asked.scenarios:
        raise UsageError(f"A context of {given} tokens is too short for this: it takes {needed}")
    return given or needed


def _make_ready(  # noqa: PLR0913, PLR0917 - as find_contenders, of one
    name: str,
    wanted: Wanted,
    asked: Asked,
    allowed: Allowed,
    report: Callable[[Progress], None],
    elsewhere: Elsewhere | None,
) -> Ready:
    if server := parse_remote(name):
        if not allowed.network:
            raise NetworkError(f"`{name}` is a server, and the network is switched off")
        load = remote.make_load(*server, wanted)
        parse_address(load.main, load.key)  # a slip of the finger is told before the others are measured
        return Ready(remote.make_plan(name, *server), sys.executable, load, probe(), None)
    if elsewhere is not None and asked.served:
        return _make_held(name, wanted, asked, allowed, report, elsewhere)
    try:
        prepared = prepare(name, wanted, allowed=allowed, report=report)
    except NoFitError as error:  # a server that has it loaded may be what takes the memory
        if elsewhere is None:
            raise
        try:
            held = _make_held(name, wanted, asked, allowed, report, elsewhere)
        except LfError:
            raise error from None
        notice = f"{name} does not fit beside the server that has it loaded, and is measured there"
        report(Progress(name, 0, detail={"notice": notice}))
        return held
    installed = _complete_digests(prepared.installed, report)
    return Ready(prepared.plan, prepared.python, _set_options(prepared, asked), prepared.machine, installed)


def _complete_digests(installed: InstalledModel, report: Callable[[Progress], None]) -> InstalledModel:
    """The model with a digest of every file: of one that is used where it lies, nobody has read them yet.

    Raises:
        LfError: a file cannot be read.
    """
    files = []
    for file in installed.files:
        if file.sha256:
            files.append(file)
            continue
        path = Path(installed.root, file.path)
        report(Progress(installed.full_name, 0, detail={"line": f"reading {file.path} for its digest"}))
        try:
            files.append(file._replace(sha256=hash_file(path, lambda _: None)))
        except OSError as error:
            raise LfError(f"{path} cannot be read: {error.strerror}") from error
    return installed._replace(files=tuple(files))


def _make_held(  # noqa: PLR0913, PLR0917 - as _make_ready
    name: str,
    wanted: Wanted,
    asked: Asked,
    allowed: Allowed,
    report: Callable[[Progress], None],
    elsewhere: Elsewhere,
) -> Ready:
    """A contender in the server, as that has it loaded."""
    if asked.batch_tokens is not None:
        raise UsageError("A server has the batch that it was started with: it has no `--batch`", hint="Leave it out")
    longer = asked.wanted.context_tokens is None
    found = elsewhere(name, wanted._replace(threads=asked.threads), allowed, report, longer=longer)
    prepared = found.prepared
    return Ready(prepared.plan, prepared.python, prepared.load, prepared.machine, prepared.installed, held=found.open)


def _set_options(prepared: Prepared, asked: Asked) -> protocol.Load:
    """The load with the bench's own options; threads do not depend on who else is computing, as those of a run do."""
    from dataclasses import replace

    threads = asked.threads or choose_threads(prepared.machine.cpu, None)
    return replace(prepared.load, threads=threads, batch_tokens=asked.batch_tokens)


def describe(ready: Ready, info: LoadedInfo, build: str | None) -> Contender:
    """What was measured, as the engine says it."""
    plan, load = ready.plan, ready.load
    device = next((one for one in ready.machine.devices if one.name == plan.device_name), None)
    local = ready.installed is not None
    return Contender(
        model=plan.model.name if local else (load.model or "served"),
        variant=plan.variant.name if local else None,
        quantization=plan.variant.quantization if local else None,
        format=plan.variant.format,
        size_bytes=ready.installed.size_bytes if ready.installed else None,
        digest=_find_digest(ready.installed) if ready.installed else None,
        runtime=plan.runtime.name if local and plan.runtime else info.engine,
        engine=info.engine,
        engine_version=info.engine_version,
        build=build,
        device=info.device,
        placement=info.placement,
        driver=device.driver if device else None,
        context_tokens=info.context_tokens or None,
        threads=load.threads if local else None,
        cache=load.cache,
        batch_tokens=load.batch_tokens,
    )


def _find_digest(installed: InstalledModel) -> str:
    """SHA-256 over the files' digests, each in hexadecimal on a line of its own, in the order of their paths."""
    files = sorted(installed.files, key=lambda file: file.path)
    return hashlib.sha256("".join(f"{file.sha256}\n" for file in files).encode()).hexdigest()

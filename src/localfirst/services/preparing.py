"""What comes before a worker: the decision, the licence, the engine and the files, each where it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import LfError, NetworkError, RuntimeMissingError
from localfirst.services import consent, engines
from localfirst.services.planning import plan_draft, plan_fetch, with_draft
from localfirst.services.threads import find_threads
from localfirst.store import derive, layout, pull, revisions, verify
from localfirst.types import Progress
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.services.planning import Planned
    from localfirst.types import InstalledModel, Machine, Plan, Runtime, Wanted
    from localfirst.worker.holder import Holder


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a request may do besides computing, and what the user agrees to."""

    network: bool = True
    install: bool = True
    accept_license: bool = False


class Prepared(NamedTuple):
    """What a worker is started with."""

    plan: Plan
    python: str
    load: protocol.Load
    machine: Machine
    installed: InstalledModel


class Held(NamedTuple):
    """A model that something else has loaded: as it is there, and how to ask it."""

    prepared: Prepared
    open: Callable[[], Holder]


def ignore(_: Progress) -> None:
    """Report progress to nobody."""


def prepare(  # noqa: PLR0913 - one keyword per thing that callers decide
    name: str,
    wanted: Wanted,
    *,
    allowed: Allowed,
    report: Callable[[Progress], None] = ignore,
    chosen: Callable[[Plan], None] | None = None,
    draft: str | None = None,
    see: Callable[[], Machine] | None = None,
) -> Prepared:
    """Plan, install the runtime, fetch the files: all that comes before a worker is started.

    `see`: how to look at this machine; else it is probed.

    Raises:
        LfError: any step's own.
    """
    drafting = None
    if draft is not None:
        drafting = plan_draft(draft, name, wanted, offline=not allowed.network, report=report)
        wanted = with_draft(wanted, drafting)
        if allowed.network:
            consent.require(drafting.resolution.chosen, accepted=allowed.accept_license)
    planned, runtime = _choose(name, wanted, allowed, report, chosen, see)
    plan = planned.resolution.chosen
    installed = _fetch(planned, allowed, report)
    load = protocol.Load(
        backend=runtime.backend,
        main=str(layout.find_loadable(installed)),
        draft=str(layout.find_loadable(_fetch(drafting, allowed, report))) if drafting else None,
        context_tokens=plan.context_tokens,
        threads=wanted.threads or find_threads(),
        placement=plan.placement,
        device_layers=plan.device_layers,
        cache=plan.cache,
        memory_bytes=plan.need.total_bytes if plan.need else None,
        program=runtime.program,
        parallel=wanted.parallel,
        requests=plan.requests,
        pooling=wanted.pooling,
        budget_bytes=plan.free_bytes,
        title=plan.model.title,
    )
    if plan.variant.format == "llamafile":
        verify.allow_to_run(installed)
    return Prepared(plan._replace(runtime=runtime), runtime.python or "", load, planned.machine, installed)


def _fetch(planned: Planned, allowed: Allowed, report: Callable[[Progress], None]) -> InstalledModel:
    """The chosen build, fetched where it is missing, as an engine loads it."""
    variant, installed = planned.resolution.chosen.variant, _find_installed(planned)
    if installed is None:
        installed = pull.pull(planned.entry.model, variant, offline=not allowed.network, report=report)
    else:
        verify.check_quick(installed)
        if (notice := revisions.say_other(installed, variant)) and not planned.entry.is_pinned(installed):
            report(Progress(installed.name, 0, None, None, {"notice": notice}))
    return derive.ensure(installed, variant, report=report)


def _choose(  # noqa: PLR0913, PLR0917 - as prepare
    name: str,
    wanted: Wanted,
    allowed: Allowed,
    report: Callable[[Progress], None],
    chosen: Callable[[Plan], None] | None,
    see: Callable[[], Machine] | None,
) -> tuple[Planned, Runtime]:
    """The plan and its runtime, installed. A device's runtime that cannot be had is done without, out loud."""
    failures: dict[str, RuntimeMissingError | NetworkError] = {}
    while True:
        try:
            missing = {runtime: error.message for runtime, error in failures.items()}
            planned = plan_fetch(
                name, wanted, offline=not allowed.network, report=report, missing=missing, installs=True, see=see
            )
        except LfError:
            if failures:
                raise next(iter(failures.values())) from None
            raise
        plan = planned.resolution.chosen
        refuse_spreading(plan, wanted)
        if chosen is not None:
            chosen(plan)
        if allowed.network:  # else nothing is fetched, and that is said where it is missing
            consent.require(plan, accepted=allowed.accept_license)
        if (installed := _find_installed(planned)) is not None:
            verify.check_quick(installed)  # no engine is fetched for files that are gone
        assert plan.runtime is not None  # noqa: S101 - the resolver chooses no plan without a runtime
        try:
            return planned, engines.ensure(
                plan.runtime, offline=not allowed.network, may_install=allowed.install, report=report
            )
        except (RuntimeMissingError, NetworkError) as error:
            asked = planned.entry.asked
            device = wanted.device or asked.device
            if plan.placement == "cpu" or device not in {None, "auto"} or wanted.backend or asked.backend:
                raise
            failures[plan.runtime.name] = error
            if allowed.network and allowed.install and plan.runtime.state != "misnamed":
                engines.remember_failure(plan.runtime, error)
            notice = f"{error.message}; doing without it"
            report(Progress(plan.runtime.name, 0, detail={"notice": notice}))


def _find_installed(planned: Planned) -> InstalledModel | None:
    chosen = planned.resolution.chosen.variant.name
    return next((model for model in planned.entry.installed if model.variant == chosen), None)


def refuse_spreading(plan: Plan, wanted: Wanted) -> None:
    """Refuse to spread a model where its engine has no option for it.

    Raises:
        UsageError: the engine and the option are in the message.
    """
    from localfirst.backends.external.table import SERVERS, refuse_spreading

    if plan.runtime is not None:
        server = SERVERS.get(plan.runtime.backend)
        refuse_spreading(plan.runtime.engine, server.spreads if server else (), wanted.parallel)

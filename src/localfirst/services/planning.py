"""From a name to a decision: what this machine is, which runtimes there are, and what the resolver makes of them."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog import resolve as resolver
from localfirst.catalog.judge import Disks
from localfirst.catalog.memory.build import CACHE_BYTES
from localfirst.catalog.refuse import refuse_build
from localfirst.catalog.rules import DRAFTING_BACKENDS, TIER_TITLES, TIERS
from localfirst.errors import (
    AmbiguousNameError,
    DeviceError,
    DiskFullError,
    RuntimeMissingError,
    UnknownNameError,
    UsageError,
)
from localfirst.hwprobe.probe import probe
from localfirst.runtimes import find
from localfirst.runtimes.programs import find_programs
from localfirst.services import catalogue
from localfirst.services.library import Entry, Part, find_entries, find_entry, find_parts
from localfirst.services.sight import find_sights
from localfirst.store.disk import find_apart
from localfirst.store.measurements import find_rates, with_bandwidth
from localfirst.types import ALONE, Draft, Resolution, Wanted
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localfirst.services.sight import Sight
    from localfirst.types import Machine, Model, Parallel, Plan, Pooling, Progress, Runtime, Task, Variant, Verdict


DEVICES = ("cpu", "gpu", "npu")
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "last")
NOTHING_WANTED = Wanted()
FITS: Mapping[Verdict, str] = MappingProxyType(
    {
        "gpu": "fits the GPU",
        "split": "fits GPU and CPU together",
        "cpu": "fits",
        "tight": "tight",
        "no": "does not run here",
    }
)
SURE_VERDICTS = frozenset({"gpu", "split", "cpu"})
NOTHING_MISSING: Mapping[str, str] = MappingProxyType({})


class Planned(NamedTuple):
    """A model with the decision for it."""

    entry: Entry
    resolution: Resolution
    machine: Machine


class Described(NamedTuple):
    """A model with a plan for each of its builds, best first; those that cannot run here come last."""

    entry: Entry
    plans: tuple[Plan, ...]
    parts: tuple[Part, ...] = ()
    """Builds whose download has not ended."""


def require_device(machine: Machine, kind: str | None) -> None:
    """Refuse a kind of device that nothing here is, for who loads models later only.

    Raises:
        DeviceError: there is none, or none that can be used.
    """
    there = [one for one in machine.devices if one.kind == kind]
    if kind in {None, "auto", "cpu"} or any(one.usable for one in there):
        return
    found = [f"{one.name} cannot be used: {one.reason or 'its driver is missing'}" for one in there]
    raise DeviceError(
        f"This machine has no {str(kind).upper()} to run models on",
        detail="\n".join(found) or None,
        hint="See what it has: `lf hw`; without `--device` each model runs where it can",
    )


def make_wanted(  # noqa: PLR0913 - one keyword per option
    *,
    context_tokens: int | None = None,
    device: str | None = None,
    backend: str | None = None,
    quantization: str | None = None,
    tier: str | None = None,
    min_tps: float | None = None,
    cache: str | None = None,
    parallel: Parallel = ALONE,
    task: Task | None = None,
    pooling: str | None = None,
    threads: int | None = None,
) -> Wanted:
    """What the options of a command say; `auto` is no demand, also where the model's name makes one.

    A backend and a build may have the mark before them that they have in names.

    Raises:
        UsageError: there is no such kind of device, no such tier, no such way to keep a cache or to pool.
    """
    if device not in (None, "auto", *DEVICES):
        raise UsageError(f"No device `{device}`", detail=f"known: auto, {', '.join(DEVICES)}")
    typed = (tier or "").lower()
    least = next((one for one, title in TIER_TITLES.items() if typed in {one, title}), None)
    if tier is not None and least is None:
        known = "\n".join(f"{one}: {meaning}" for one, meaning in TIERS.items())
        raise UsageError(f"No tier `{tier}`", detail=f"known, best first:\n{known}")
    kept = next((one for one in CACHE_BYTES if one == (cache or "f16").lower()), None)
    if kept is None:
        raise UsageError(f"No cache type `{cache}`", detail=f"known: {', '.join(CACHE_BYTES)}")
    pooled = next((one for one in POOLINGS if one == pooling), None)
    if pooled != pooling:
        raise UsageError(f"No pooling `{pooling}`", detail=f"known: {', '.join(POOLINGS)}")
    marked = (backend and backend.removeprefix("#"), quantization and quantization.removeprefix("@"))
    wanted = Wanted(context_tokens, device, *marked, task=task, pooling=pooled)
    return wanted._replace(
        tier=least,
        min_tps=wanted.min_tps if min_tps is None else min_tps,
        cache=kept,
        parallel=parallel,
        threads=threads,
    )


def plan_model(
    text: str, wanted: Wanted, machine: Machine | None = None, *, offline: bool = False, draft: str | None = None
) -> Planned:
    """Decide how a model would run here, or on `machine`; `draft` as in `plan_draft`.

    Raises:
        UnknownNameError, UsageError, NetworkError: as the name is looked up.
        NoFitError, DeviceError, RuntimeMissingError, DiskFullError: nothing is left to choose.
    """
    if draft is not None:
        drafting = plan_draft(draft, text, wanted, offline=offline, report=lambda _: None, machine=machine)
        wanted = with_draft(wanted, drafting)
    here = Here(machine)
    return _resolve(_find(text, wanted, here, offline=offline), wanted, here)


def _find(text: str, wanted: Wanted, here: Here, *, offline: bool) -> Entry:
    """As `find_entry`; where a name means several models, the error says which of them fit here.

    Raises:
        LfError: as `find_entry`.
    """
    try:
        return find_entry(text, offline=offline)
    except AmbiguousNameError as error:
        plans = [
            next(iter(here.find_plans(entry, wanted)))
            for entry in find_entries()
            if entry.model.name in error.names and entry.model.variants
        ]
        error.detail = "\n".join(map(_say_fit, plans))
        fitting = [plan for plan in plans if plan.verdict in SURE_VERDICTS and plan.need is not None]
        best = max(fitting, key=lambda plan: (plan.installed, plan.model.parameters or 0), default=None)
        if best is not None and error.hint is not None:
            _, _, others = error.hint.partition("; ")
            which = "is on this disk" if best.installed else "is the largest that fits here"
            error.hint = "; ".join(filter(None, (f"Name one of them: {best.model.name} {which}", others)))
        raise


def _say_fit(plan: Plan) -> str:
    """`gemma-3-4b  (Gemma 3 4B, 3.16 GB, fits)`."""
    fits = "size unknown" if plan.need is None and plan.verdict != "no" else FITS[plan.verdict]
    size = "" if plan.variant.size_bytes is None else f", {format_bytes(plan.variant.size_bytes)}"
    return f"{plan.model.name}  ({plan.model.title}{size}, {fits})"


def plan_draft(  # noqa: PLR0913 - as plan_fetch
    draft: str,
    target: str,
    wanted: Wanted,
    *,
    offline: bool,
    report: Callable[[Progress], None],
    machine: Machine | None = None,
) -> Planned:
    """The model that is to draft, for the engine that can.

    Args:
        draft: a model name as typed; `auto` is the one that the catalog names for `target`.
        target: the name of the model that it drafts for.
        wanted: what is asked for `target`: it runs at the same context, on the same device.
        offline: use no network.
        report: told when a hub is asked.
        machine: another machine than this one.

    Raises:
        UsageError: the catalog names none.
        LfError: as `plan_fetch`.
    """
    if draft == "auto":
        model = find_entry(target, offline=offline).model
        if model.draft is None:
            raise UsageError(f"The catalog names no draft for `{model.name}`", hint="Name one: `--draft MODEL`")
        draft = model.draft
    alike = Wanted(wanted.context_tokens, wanted.device, DRAFTING_BACKENDS[0], task="chat")
    return plan_fetch(draft, alike, offline=offline, report=report, machine=machine)


def with_draft(wanted: Wanted, planned: Planned) -> Wanted:
    """The demands, and that this model is to draft."""
    return wanted._replace(draft=Draft(planned.entry.model, planned.resolution.chosen.variant))


def _resolve(entry: Entry, wanted: Wanted, here: Here, missing: Mapping[str, str] = NOTHING_MISSING) -> Planned:
    machine = here.machine
    try:
        resolution = resolver.resolve(
            entry.model,
            machine,
            _without(here.runtimes, missing),
            wanted=wanted._replace(
                quantization=wanted.quantization or entry.asked.quantization,
                backend=wanted.backend or entry.asked.backend,
                device=wanted.device or entry.asked.device,
            ),
            installed=entry.installed_variants,
            disks=here.disks,
            measured=here.measured,
            siblings=_find_siblings(entry.model),
            typed=entry.asked.path and shlex.quote(entry.asked.path),
        )
    except DiskFullError as error:
        here.require_writable()
        detail = "\n".join((error.detail or "", *here.list_folders()))
        raise DiskFullError(error.message, detail=detail, hint=error.hint) from None
    except RuntimeMissingError as error:
        error.hint = _find_remedy(entry) or error.hint
        raise
    chosen, *rejected = (entry.tell_installed(plan) for plan in (resolution.chosen, *resolution.rejected))
    return Planned(entry, Resolution(chosen, tuple(rejected)), machine)


def _find_remedy(entry: Entry) -> str | None:
    """What to type where files of the user's have no engine here, and another build can be made of them."""
    from localfirst.services.checkpoints import find_remedy

    return next((hint for one in entry.installed if one.keeper and (hint := find_remedy(Path(one.root)))), None)


def plan_fetch(  # noqa: PLR0913 - one keyword per thing that callers decide
    text: str,
    wanted: Wanted,
    *,
    offline: bool,
    report: Callable[[Progress], None],
    missing: Mapping[str, str] = NOTHING_MISSING,
    machine: Machine | None = None,
    installs: bool = False,
    see: Callable[[], Machine] | None = None,
) -> Planned:
    """As `plan_model`, but no build is chosen whose size nobody knows: its hub is asked first.

    Offline, a build that is on this disk is chosen where one will do, though a better one could be fetched otherwise.
    `missing` has the runtimes to do without, each with the reason. `installs`: whether an engine that is missing will
    be installed as well, for which there has to be disk. `see`: how to look at this machine;
    else it is probed.

    Raises:
        LfError: as `plan_model`, or as the hub answers.
    """
    from localfirst.store.pull import measure

    here = Here(machine, installs=installs, see=see)
    entry = _find(text, wanted, here, offline=offline)
    if offline and (present := _keep_present(entry)):
        with suppress(UnknownNameError, DeviceError, RuntimeMissingError):  # another build or engine is asked for
            return _resolve(present, wanted, here, missing)
    planned = _resolve(entry, wanted, here, missing)
    while _is_to_be_measured(planned.resolution.chosen) and not offline:
        known = measure(planned.resolution.chosen.variant, report=report)
        model = planned.entry.model
        variants = tuple(known if variant.name == known.name else variant for variant in model.variants)
        planned = _resolve(planned.entry._replace(model=model._replace(variants=variants)), wanted, here, missing)
    return planned


def _keep_present(entry: Entry) -> Entry | None:
    """The entry with only the builds that are on this disk; `None` where there are none."""
    present = entry.installed_variants
    return keep_builds(entry, lambda build: build.name in present or build.host == "builtin")


def keep_builds(entry: Entry, is_kept: Callable[[Variant], bool]) -> Entry | None:
    """The entry with only some of its builds; `None` where there are none."""
    variants = tuple(filter(is_kept, entry.model.variants))
    return entry._replace(model=entry.model._replace(variants=variants)) if variants else None


def _is_to_be_measured(plan: Plan) -> bool:
    return plan.variant.size_bytes is None and plan.variant.host == "huggingface" and not plan.installed


def describe_model(text: str, machine: Machine | None = None, *, offline: bool = False) -> Described:
    """One model with all that can be said of it here, or on `machine`.

    Raises:
        UnknownNameError, UsageError, NetworkError: as the name is looked up, or it names a build that there is not.
    """
    here = Here(machine)
    entry = _find(text, NOTHING_WANTED, here, offline=offline)
    asked = entry.asked
    if unknown := refuse_build(entry.model, asked.quantization):
        raise unknown
    wanted = NOTHING_WANTED._replace(quantization=asked.quantization, backend=asked.backend, device=asked.device)
    return Described(entry, tuple(here.find_plans(entry, wanted)), find_parts(entry.model.name))


class Here:
    """A machine with its disks, its runtimes and what was measured on it, looked up once for many models."""

    def __init__(
        self, machine: Machine | None = None, *, installs: bool = True, see: Callable[[], Machine] | None = None
    ) -> None:
        """Take `machine`, or look at this one, by `see` or else by probing it; its engines then say what they see.

        `installs`: whether an engine that is missing would be installed, and thus take disk.
        """
        self.machine = machine or (see or probe)()
        self._is_recorded = machine is not None
        apart = None if machine else find_apart(paths.runtimes_dir(), paths.models_dir())
        self.disks = Disks(self.machine.disk_free_bytes, apart, installs)
        runtimes = find_runtimes_for(self.machine)
        self.runtimes = runtimes if machine else with_sights(runtimes, find_sights(runtimes, self.machine))
        self.measured = find_rates(self.machine)
        self.machine = with_bandwidth(self.machine, self.measured)

    def require_writable(self) -> None:
        """Tell a data folder that nothing can be written into from a disk that is full; of another machine, nothing.

        Raises:
            StoreError: it is such a folder.
        """
        if not self._is_recorded:
            paths.require_writable()

    def list_folders(self) -> tuple[str, ...]:
        """Where that comes to which would be written, a line each; none for another machine."""
        if self._is_recorded:
            return ()
        engines = (f"engines: {paths.runtimes_dir()}",) if self.disks.installs else ()
        return f"models: {paths.models_dir()}", *engines

    def find_plans(self, entry: Entry, wanted: Wanted = NOTHING_WANTED) -> Iterator[Plan]:
        """Every way to run a model here, best first; those that cannot run come last."""
        plans = resolver.find_plans(
            entry.model,
            self.machine,
            self.runtimes,
            wanted=wanted,
            installed=entry.installed_variants,
            disks=self.disks,
            measured=self.measured,
        )
        return map(entry.tell_installed, plans)


def _without(runtimes: Iterable[Runtime], missing: Mapping[str, str]) -> tuple[Runtime, ...]:
    """The runtimes, some of them not available for a reason."""
    return tuple(
        one._replace(state="unavailable", reason=missing[one.name]) if one.name in missing else one for one in runtimes
    )


def with_sights(runtimes: Iterable[Runtime], sights: Mapping[str, Sight]) -> tuple[Runtime, ...]:
    """The runtimes with what their engines see; one that sees nothing is not available."""
    asked = tuple(one._replace(sees=sights[one.name].devices) if one.name in sights else one for one in runtimes)
    return _without(asked, {name: sight.reason for name, sight in sights.items() if sight.reason})


def find_runtimes_for(machine: Machine) -> tuple[Runtime, ...]:
    """The runtimes that can exist on a machine, and the programs that serve."""
    system = (machine.platform, machine.cpu.arch)
    return find.find_runtimes(*system) + find_programs(*system)


def _find_siblings(model: Model) -> tuple[Model, ...]:
    """The models of its family, and those of its vendor for the same task."""
    kin = (model.vendor, model.task)
    return tuple(
        other
        for other in catalogue.load_models()
        if other.name != model.name and (other.family == model.family or (other.vendor, other.task) == kin)
    )

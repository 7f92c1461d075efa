"""Can a build of a model run here, on a given runtime? The first thing that stands in its way is the answer."""

from __future__ import annotations

from bisect import bisect_right
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.fit import assume_least, find_context, find_engine
from localfirst.catalog.gain import find_expected
from localfirst.catalog.place import (
    explain_missing_device,
    explain_unserved,
    find_budget,
    find_devices,
    find_placement,
    is_device_asked,
    is_served,
)
from localfirst.catalog.rules import (
    DRAFTING_BACKENDS,
    EMBEDDING_BACKENDS,
    FORMAT_ENGINES,
    NAMED_FORMATS,
    PROGRAM_BACKENDS,
    QUANTIZATION_BACKENDS,
    READY_STATES,
    SPREADING_BACKENDS,
    TIERS,
    is_batching,
    is_to_embed,
)
from localfirst.catalog.speed import find_speed
from localfirst.catalog.split import find_split
from localfirst.catalog.wishes import explain_source, is_backend, is_quantization, is_tier
from localfirst.choices import LLAMA_SPARE_TOKENS
from localfirst.types import MIN_TPS_DEFAULT
from localfirst.units import format_bytes, format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from localfirst.catalog.split import Split
    from localfirst.types import Device, Machine, Model, Need, Placement, Rates, Runtime, Speed, Variant, Wanted

LOCAL_HOSTS = ("builtin", "import")
"""Hosts whose files are on this disk already."""


class Stage(IntEnum):
    """How far a candidate got before something stood in its way; a refusal is about the one that got furthest."""

    UNNAMED = 0
    ENGINE = 1
    DEVICE = 2
    DEMAND = 3
    OFFER = 4
    CACHE = 5
    MEMORY = 6
    DISK = 7
    SPEED = 8
    RUNS = 9


class Disks(NamedTuple):
    """Free bytes where what is missing would come to, and whether that is both the files and the engine."""

    models_bytes: int | None
    """`None`: unknown."""
    engines_bytes: int | None = None
    """`None`: engines are installed on the same disk as the models."""
    installs: bool = True
    """Whether an engine that is missing would be installed; else it takes no disk."""


class Ask(NamedTuple):
    """What a model is judged against: the machine and its runtimes, the user's words, and what is there already."""

    machine: Machine
    runtimes: Sequence[Runtime]
    wanted: Wanted
    installed: Collection[str]
    disks: Disks
    measured: Mapping[tuple[str, str, str], Rates]
    typed: str | None = None
    """What its user calls the model where that is not its name: the path of a file."""


class Candidate(NamedTuple):
    """One build on one runtime (`None` where nothing here loads it), with all that is known of how it would run."""

    model: Model
    variant: Variant
    runtime: Runtime | None
    placement: Placement
    devices: tuple[Device, ...]
    """What computes; empty for the CPU alone."""
    device_layers: int | None
    """Layers computed on the devices, where the CPU computes the others; `None` where there is no such split."""
    context_tokens: int
    requests: int
    """Requests answered at the same time."""
    need: Need | None
    """`None` where the size of its weights is unknown."""
    least_bytes: int | None
    """What a build of unknown size needs, were its weights as small as they can be."""
    budget_bytes: int | None
    """Memory that it may take; `None` where the machine does not say."""
    speed: Speed
    installed: bool
    files_bytes: int | None
    """Still to fetch of the variant; `None`: unknown."""
    engine_bytes: int
    """That the runtime would take, where it is not there."""
    stage: Stage = Stage.RUNS
    problem: str | None = None

    @property
    def download_bytes(self) -> int | None:
        """Bytes still to fetch: the variant and the runtime, where they are not there."""
        return None if self.files_bytes is None else self.files_bytes + self.engine_bytes

    @property
    def runs(self) -> bool:
        """Nothing stands in its way."""
        return self.stage is Stage.RUNS


def find_candidates(model: Model, ask: Ask) -> list[Candidate]:
    """Every variant on every runtime that serves it, or on none where none does."""
    found: list[Candidate] = []
    for variant in model.variants:
        serving: list[Runtime | None] = []
        if explain_source(model, variant, ask.wanted) is None:
            serving += [runtime for runtime in find_loaders(variant, ask) if is_served(variant, runtime)]
        found += [judge(model, variant, runtime, ask) for runtime in serving or [None]]
    return found


def find_loaders(variant: Variant, ask: Ask) -> list[Runtime]:
    """The runtimes that load this variant's files, wherever they compute."""
    needed = _find_needed_backend(variant)
    return [
        one
        for one in ask.runtimes
        if variant.format in one.formats
        and (needed == one.backend or (needed is None and one.backend not in QUANTIZATION_BACKENDS.values()))
        and _is_invited(one, variant, ask)
    ]


def _is_invited(runtime: Runtime, variant: Variant, ask: Ask) -> bool:
    """Whether a runtime may be chosen for this variant.

    Only by name: what is installed on demand and is not there, programs that are not here, and some others.
    """
    if is_backend(runtime, ask.wanted.backend or ""):
        return True
    if runtime.on_demand and runtime.state not in (*READY_STATES, "misnamed"):
        return False
    if runtime.backend not in PROGRAM_BACKENDS:
        return True
    return runtime.state != "unavailable" and variant.format not in PROGRAM_BACKENDS[runtime.backend]


def judge(model: Model, variant: Variant, runtime: Runtime | None, ask: Ask) -> Candidate:
    """The candidate with its figures, and with the first problem that keeps it from running."""
    devices = find_devices(ask.machine, runtime, ask.wanted.parallel) if runtime else ()
    placement = devices[0].kind if devices else runtime.placement if runtime else find_placement(variant)
    budget_bytes = find_budget(ask.machine, devices) if devices or placement == "cpu" else None
    sized = assume_least(model, variant)
    if ask.wanted.parallel.ray and devices and runtime and runtime.backend in PROGRAM_BACKENDS:
        budget_bytes = None  # what the other machines have, nobody here knows
    requests = _find_requests(model, sized, runtime, ask.wanted, budget_bytes)
    context_tokens, least = find_context(
        model,
        sized,
        ask.wanted.context_tokens,
        budget_bytes,
        ask.wanted.cache,
        embeds=is_to_embed(model, ask.wanted),
        requests=requests,
        draft=ask.wanted.draft,
    )
    need = None if variant.size_bytes is None else least
    device_layers = None
    if _is_too_large(need, budget_bytes) and (split := _find_split(model, variant, runtime, devices, ask)):
        device_layers, context_tokens, need = split.device_layers, split.context_tokens, split.need
        budget_bytes = (budget_bytes or 0) + (find_budget(ask.machine, ()) or 0)
    reached = [rates for (*_, name), rates in ask.measured.items() if runtime and name == runtime.name]
    speed = find_speed(model, variant, ask.machine, placement, devices, device_layers, reached)
    if is_to_embed(model, ask.wanted):
        speed = speed._replace(low_tps=None, high_tps=None)  # nothing is generated
    if runtime and (rates := ask.measured.get((model.name, variant.name, runtime.name))):
        speed = speed._replace(measured_tps=rates.decode_tps, prefill_measured_tps=rates.prefill_tps)
    elif runtime:
        speed = find_expected(speed, (model.name, variant.name), runtime, ask.runtimes, ask.measured)
    installed = variant.name in ask.installed or variant.host in LOCAL_HOSTS
    candidate = Candidate(
        model=model,
        variant=variant,
        runtime=runtime,
        placement=placement,
        devices=devices,
        device_layers=device_layers,
        context_tokens=context_tokens,
        requests=requests,
        need=need,
        least_bytes=least.total_bytes if least and need is None else None,
        budget_bytes=budget_bytes,
        speed=speed,
        installed=installed,
        files_bytes=0 if installed else variant.size_bytes,
        engine_bytes=_find_engine_size(runtime),
    )
    for stage, check in CHECKS:
        problem = check(candidate, ask)
        if problem is not None:
            return candidate._replace(stage=stage, problem=problem)
    return candidate


def _find_requests(
    model: Model, variant: Variant, runtime: Runtime | None, wanted: Wanted, budget_bytes: int | None
) -> int:
    """How many requests are answered at the same time: as many as there is memory for without a shorter context."""
    if not is_batching(runtime, wanted.cache) or is_to_embed(model, wanted):
        return 1

    def is_too_many(requests: int) -> bool:
        _, need = find_context(
            model, variant, wanted.context_tokens, None, wanted.cache, requests=requests, draft=wanted.draft
        )
        return _is_too_large(need, budget_bytes)

    return 1 + bisect_right(range(2, wanted.requests + 1), False, key=is_too_many)  # more need more


def _is_too_large(need: Need | None, budget_bytes: int | None) -> bool:
    return need is not None and budget_bytes is not None and need.total_bytes > budget_bytes


def _find_split(
    model: Model, variant: Variant, runtime: Runtime | None, devices: tuple[Device, ...], ask: Ask
) -> Split | None:
    """A split between the devices and the CPU, for engines that do that; unified memory is one pool already."""
    if runtime is None or runtime.backend not in SPREADING_BACKENDS or not devices or devices[0].unified:
        return None
    device_bytes, main_bytes = find_budget(ask.machine, devices), find_budget(ask.machine, ())
    return find_split(model, variant, ask.wanted, device_bytes=device_bytes, main_bytes=main_bytes)


def _check_name(candidate: Candidate, ask: Ask) -> str | None:
    wanted = ask.wanted
    if not is_quantization(candidate.variant, wanted.quantization):
        return f"you asked for @{wanted.quantization}"
    if not is_tier(candidate.variant, wanted.tier):
        return f"{TIERS[candidate.variant.tier]}; you asked for --tier {wanted.tier}"
    if wanted.backend is None:
        return None
    runtimes = [candidate.runtime] if candidate.runtime else find_loaders(candidate.variant, ask)
    if not any(is_backend(runtime, wanted.backend) for runtime in runtimes):
        return f"you asked for #{wanted.backend}"
    return None


def _check_engine(candidate: Candidate, ask: Ask) -> str | None:
    runtime, variant = candidate.runtime, candidate.variant
    if runtime is not None:
        if is_to_embed(candidate.model, ask.wanted) and runtime.backend not in EMBEDDING_BACKENDS:
            return f"{runtime.engine} computes no embeddings here"
        if runtime.state == "unavailable":
            return f"{runtime.name} is not available here: {runtime.reason or 'no build for this system'}"
        named = ask.wanted.quantization or ask.wanted.backend or variant.host in LOCAL_HOSTS
        if variant.format in NAMED_FORMATS and not named:
            return f"it is a program, which runs only where you name it: `@{variant.name}`"
        return None
    return _explain_unloaded(candidate.model, variant, ask)


def _explain_unloaded(model: Model, variant: Variant, ask: Ask) -> str | None:
    """Why nothing loads a build, for one that no runtime was found for; `None` where one would, on another device."""
    source = explain_source(model, variant, ask.wanted)
    if source is not None or find_loaders(variant, ask):
        return source
    needed = _find_needed_backend(variant)
    if needed is not None:
        return f"no runtime of this release loads it: {variant.quantization} needs the {needed} runtime"
    if any(variant.format in one.formats and one.backend in PROGRAM_BACKENDS for one in ask.runtimes):
        return f"{variant.format} needs {FORMAT_ENGINES[variant.format]}, and none of them is here"
    return f"no runtime of this release loads it: {variant.format} needs {FORMAT_ENGINES[variant.format]}"


def _check_draft(candidate: Candidate, ask: Ask) -> str | None:
    draft, runtime = ask.wanted.draft, candidate.runtime
    if draft is None:
        return None
    if runtime is None or runtime.backend not in DRAFTING_BACKENDS:
        return f"its engine takes no draft; you asked for --draft {draft.model.name}"
    ours, theirs = candidate.model.architecture.vocab_size, draft.model.architecture.vocab_size
    if ours and theirs and abs(ours - theirs) > LLAMA_SPARE_TOKENS:
        return f"{draft.model.name} cannot draft for it: its vocabulary has {theirs:,} tokens, not {ours:,}"
    return None


def _check_device(candidate: Candidate, ask: Ask) -> str | None:
    if candidate.runtime is None:
        return explain_unserved(ask.machine, candidate.variant)
    return explain_missing_device(ask.machine, candidate.runtime)


def _check_demand(candidate: Candidate, ask: Ask) -> str | None:
    if is_device_asked(ask.wanted.device, candidate.placement):
        return None
    return f"computes on the {candidate.placement.upper()}; you asked for --device {ask.wanted.device}"


def _check_offer(candidate: Candidate, _ask: Ask) -> str | None:
    runtime = candidate.runtime
    if runtime is None or runtime.state != "offered":
        return None
    return f"{runtime.name} is installed only when you say so: `lf runtime install {runtime.name}`"


def _check_cache(candidate: Candidate, ask: Ask) -> str | None:
    if ask.wanted.cache in find_engine(candidate.variant).caches:
        return None
    return f"its engine does not quantize its cache; you asked for --kv-cache {ask.wanted.cache}"


def _check_memory(candidate: Candidate, _ask: Ask) -> str | None:
    needed_bytes = candidate.need.total_bytes if candidate.need else candidate.least_bytes
    if needed_bytes is None or candidate.budget_bytes is None or needed_bytes <= candidate.budget_bytes:
        return None
    needs = "needs" if candidate.need else "its size is unknown, but it needs at least"
    return (
        f"{needs} {format_bytes(needed_bytes)} of memory at a context of {candidate.context_tokens:,} tokens, "
        f"{format_bytes(candidate.budget_bytes)} is free for it"
    )


def _check_disk(candidate: Candidate, ask: Ask) -> str | None:
    files_bytes, free_bytes = candidate.files_bytes or 0, ask.disks.models_bytes
    engine_bytes = candidate.engine_bytes if ask.disks.installs else 0
    if is_engine_short(candidate, ask):
        files_bytes, free_bytes = 0, ask.disks.engines_bytes
    elif ask.disks.engines_bytes is not None:
        engine_bytes = 0
    if free_bytes is None or files_bytes + engine_bytes <= free_bytes:
        return None
    what = "needs" if files_bytes else "its engine needs"
    more = " with its engine" if files_bytes and engine_bytes else ""
    return f"{what} {format_bytes(files_bytes + engine_bytes)} of disk{more}, {format_bytes(free_bytes)} is free"


def is_engine_short(candidate: Candidate, ask: Ask) -> bool:
    """Whether engines have a disk of their own, on which there is no room for the one that would be installed."""
    _, free_bytes, installs = ask.disks
    return installs and free_bytes is not None and candidate.engine_bytes > free_bytes


def _check_speed(candidate: Candidate, ask: Ask) -> str | None:
    speed = candidate.speed
    tps = speed.high_tps if speed.measured_tps is None else speed.measured_tps
    if speed.measured_tps is not None and ask.wanted.min_tps <= MIN_TPS_DEFAULT:
        tps = max(speed.measured_tps, speed.high_tps or 0)  # else one slow run would keep it from ever running again
    if tps is None or tps >= ask.wanted.min_tps:
        return None
    return f"{format_tps(tps)} tokens/s at best, the least wanted is {format_tps(ask.wanted.min_tps)}"


CHECKS: tuple[tuple[Stage, Callable[[Candidate, Ask], str | None]], ...] = (
    (Stage.UNNAMED, _check_name),
    (Stage.ENGINE, _check_engine),
    (Stage.ENGINE, _check_draft),
    (Stage.DEVICE, _check_device),
    (Stage.DEMAND, _check_demand),
    (Stage.OFFER, _check_offer),
    (Stage.CACHE, _check_cache),
    (Stage.MEMORY, _check_memory),
    (Stage.DISK, _check_disk),
    (Stage.SPEED, _check_speed),
)
"""In this order; each answers with what is wrong, or `None`."""


def _find_needed_backend(variant: Variant) -> str | None:
    quantization = variant.quantization.lower()
    return next((backend for word, backend in QUANTIZATION_BACKENDS.items() if word in quantization), None)


def _find_engine_size(runtime: Runtime | None) -> int:
    if runtime is None or runtime.state in READY_STATES:
        return 0
    return runtime.installed_bytes or runtime.download_bytes or 0

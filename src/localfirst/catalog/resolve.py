"""Which build of a model runs here, and why: every variant on every runtime that could load it, judged and ordered.

Pure: the same input gives the same plan. The order is the table RULES, applied from the top; the first rule that tells
two candidates apart is the reason that is given.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.judge import Ask, Candidate, Disks, find_candidates
from localfirst.catalog.memory.build import CONTEXT_DEFAULT_TOKENS
from localfirst.catalog.names import format_name
from localfirst.catalog.refuse import make_refusal
from localfirst.catalog.rules import (
    DEVICE_DEMANDS,
    DEVICE_WORDS,
    ORIGIN_RANKS,
    ORIGINS,
    TIERS,
    TIGHT_SHARE,
    find_bits,
    is_batching,
)
from localfirst.types import Plan, Resolution, Wanted
from localfirst.units import format_bytes, format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from localfirst.types import CacheType, Device, Machine, Model, Rates, Runtime, Speed, Verdict

NOTHING_MEASURED: Mapping[tuple[str, str, str], Rates] = MappingProxyType({})
NOTHING_WANTED = Wanted()
FAR_FASTER = 3
ROOMY = 2
"""Times what a build of unknown size needs at least: with so much memory it fits all the same.
Of the 368 builds in the catalog whose size is known, 13 need more."""
UNCONFIRMED = "nobody has confirmed that this build exists"

TIER_RANKS = {tier: rank for rank, tier in enumerate(TIERS)}


class Rule(NamedTuple):
    """One step of the order: the lower key wins; `say` tells a candidate's side of it."""

    key: Callable[[Candidate], float]
    say: Callable[[Candidate], str]


def _find_tps(candidate: Candidate) -> float:
    """Measured where it was measured, else the middle of the estimate, else 0; tokens per second."""
    speed = candidate.speed
    if speed.measured_tps is not None:
        return speed.measured_tps
    return ((speed.low_tps or 0) + (speed.high_tps or 0)) / 2


def _say_bits(candidate: Candidate) -> str:
    bits = find_bits(candidate.variant)
    return f"{bits}-bit, {ORIGINS[candidate.variant.origin]}" if bits else "of unknown precision"


def _find_place(candidate: Candidate) -> int:
    """Where a built-in build stands in the catalog: all hold the same weights, the first has the smallest engine."""
    built_in = [variant for variant in candidate.model.variants if variant.host == "builtin"]
    return built_in.index(candidate.variant) if candidate.variant in built_in else 0


def say_basis(speed: Speed) -> str:
    """From where a speed is known."""
    if speed.measured_tps is not None:
        return "measured"
    return "expected from what others reached here" if speed.corrected else "estimated"


def _say_tps(candidate: Candidate) -> str:
    tps = _find_tps(candidate)
    if not tps:
        return "of unknown speed"
    return f"{format_tps(tps)} tokens/s {say_basis(candidate.speed)}"


def _is_native(candidate: Candidate) -> bool:
    """Whether the runtime speaks to its device in the maker's own interface (CUDA, Metal) and not in a general one."""
    return not candidate.runtime or all(DEVICE_WORDS[word].native for word in candidate.runtime.variant_devices)


def _is_whole_on_gpu(candidate: Candidate) -> bool:
    """Whether a GPU holds all layers: no publisher and no more bits make up for those that the CPU has to compute."""
    return candidate.placement in DEVICE_DEMANDS["gpu"] and candidate.device_layers is None


def _may_not_fit(candidate: Candidate) -> bool:
    """Whether its size is unknown, and the memory not far more than what it needs at least."""
    least_bytes, budget_bytes = candidate.least_bytes, candidate.budget_bytes
    return candidate.need is None and not (least_bytes and budget_bytes and ROOMY * least_bytes <= budget_bytes)


def _say_size(candidate: Candidate) -> str:
    doubt = ", and may not fit" if _may_not_fit(candidate) else ""
    return "of known size" if candidate.need else f"of unknown size{doubt}"


def _say_place(candidate: Candidate) -> str:
    if candidate.device_layers is not None:
        return "split between the GPU and the CPU"
    return f"computed on the {candidate.placement.upper()}"


def _say_interface(candidate: Candidate) -> str:
    name = candidate.runtime.name if candidate.runtime else "nothing"
    return f"{name}, {'made for this kind of device' if _is_native(candidate) else 'which serves all kinds alike'}"


def _say_confidence(candidate: Candidate) -> str:
    return UNCONFIRMED if candidate.variant.confidence == "memory" else "known from a public source"


def _say_built_in(candidate: Candidate) -> str:
    place = _find_place(candidate)
    size = f"engine number {place + 1} by size" if place else "the smallest engine"
    return f"the same weights for {candidate.runtime.engine if candidate.runtime else 'no engine'}, {size}"


RULES: tuple[Rule, ...] = (
    Rule(lambda one: one.variant.confidence == "memory", _say_confidence),
    Rule(_may_not_fit, _say_size),
    Rule(lambda one: not _is_whole_on_gpu(one), _say_place),
    Rule(lambda one: one.need is None, _say_size),
    Rule(lambda one: TIER_RANKS[one.variant.tier], lambda one: TIERS[one.variant.tier]),
    Rule(lambda one: -find_bits(one.variant), _say_bits),
    Rule(lambda one: ORIGIN_RANKS[one.variant.origin], _say_bits),
    Rule(_find_place, _say_built_in),
    Rule(lambda one: -_find_tps(one), _say_tps),
    Rule(lambda one: one.placement == "cpu", _say_place),
    Rule(lambda one: not _is_native(one), _say_interface),
    Rule(lambda one: not one.installed, lambda one: "on this disk" if one.installed else "not downloaded yet"),
    Rule(
        lambda one: inf if one.download_bytes is None else one.download_bytes,
        lambda one: f"{format_bytes(one.download_bytes)} to download",
    ),
)
"""The order among what runs and is what the user named: what is confirmed to exist and sure to fit, whether a GPU
holds it whole, publisher, precision, for built-in builds the catalog's order, speed, then what is nearer."""


def resolve(  # noqa: PLR0913 - one keyword per kind of fact; a bundle of them would hide what is used
    model: Model,
    machine: Machine,
    runtimes: Sequence[Runtime],
    *,
    wanted: Wanted = NOTHING_WANTED,
    installed: Collection[str] = (),
    disks: Disks | None = None,
    measured: Mapping[tuple[str, str, str], Rates] = NOTHING_MEASURED,
    siblings: Sequence[Model] = (),
    typed: str | None = None,
) -> Resolution:
    """Choose the build, runtime, device and context.

    Args:
        model: the catalog's entry.
        machine: what the probe found.
        runtimes: the engine builds of this release as they stand on this machine.
        wanted: the user's demands: quantization, backend, device, context, least speed.
        installed: names of the variants that are on disk.
        disks: where downloads go; the machine's own disk for all if not given.
        measured: what runs reached by (model, variant, runtime) name; they replace estimates.
        siblings: models to suggest from when this one does not fit, its own family's before others.
        typed: what to call the model in a command, where that is not its name.

    Raises:
        UnknownNameError: no variant or runtime has the name asked for.
        RuntimeMissingError: nothing in this release loads any of the builds here.
        DeviceError: `--device` cannot be met.
        NoFitError: memory, or speed, is not enough.
        DiskFullError: what has to be fetched is larger than the free disk.
    """
    ask = Ask(machine, runtimes, wanted, installed, disks or Disks(machine.disk_free_bytes), measured, typed)
    ranked = list(_rank(model, ask))
    if not ranked or not ranked[0][0].runs:
        raise make_refusal(model, list(chain(*ranked)), ask, smaller=_find_smaller(model, siblings, ask))
    chosen, *rejected = _make_plans(ranked, ask)
    return Resolution(chosen, tuple(rejected))


def find_plans(  # noqa: PLR0913 - as resolve
    model: Model,
    machine: Machine,
    runtimes: Sequence[Runtime],
    *,
    wanted: Wanted = NOTHING_WANTED,
    installed: Collection[str] = (),
    disks: Disks | None = None,
    measured: Mapping[tuple[str, str, str], Rates] = NOTHING_MEASURED,
) -> Iterator[Plan]:
    """Every candidate's plan, best first, those that cannot run (`verdict` `no`) last; arguments as in `resolve`.

    Each is made when it is asked for: most lists want only the best of each model.
    """
    ask = Ask(machine, runtimes, wanted, installed, disks or Disks(machine.disk_free_bytes), measured)
    return _make_plans(_rank(model, ask), ask)


def _rank(model: Model, ask: Ask) -> Iterator[list[Candidate]]:
    """All candidates by how far they got, what runs first; those that got equally far by the rules, best first."""
    found = find_candidates(model, ask)
    for stage in sorted({candidate.stage for candidate in found}, reverse=True):
        yield sorted((candidate for candidate in found if candidate.stage is stage), key=_find_rank)


def _find_rank(candidate: Candidate) -> tuple[float | str, ...]:
    names = candidate.variant.name, candidate.runtime.name if candidate.runtime else ""
    return (*(rule.key(candidate) for rule in RULES), *names)


def _find_smaller(model: Model, siblings: Sequence[Model], ask: Ask) -> Model | None:
    """The largest smaller one that is known to fit here, whatever its quantization; of the family where there is one.

    A family by a longer name, as phi-4-mini is of phi-4, comes next.
    """
    plain = ask._replace(wanted=ask.wanted._replace(quantization=None), installed=())
    smaller = [one for one in siblings if (one.parameters or 0) < (model.parameters or 0)]

    def order(one: Model) -> tuple[bool, bool, int, str]:
        return one.family != model.family, not one.name.startswith(model.family), -(one.parameters or 0), one.name

    for sibling in sorted(smaller, key=order):
        best = next(chain.from_iterable(_rank(sibling, plain)), None)
        if best is not None and best.runs and best.need is not None:
            return sibling
    return None


def _make_plans(ranked: Iterable[Sequence[Candidate]], ask: Ask) -> Iterator[Plan]:
    groups = iter(ranked)
    if best := next(groups, None):
        first, *others = best
        yield _make_plan(first, _explain_winner(first, others, ask), ask.wanted)
        for loser in chain(others, *groups):
            yield _make_plan(loser, _explain_loser(loser, first), ask.wanted)


def _make_plan(candidate: Candidate, reason: str, wanted: Wanted) -> Plan:
    return Plan(
        model=candidate.model,
        variant=candidate.variant,
        runtime=candidate.runtime,
        placement=candidate.placement,
        device_name=_name_devices(candidate.devices),
        context_tokens=candidate.context_tokens,
        need=candidate.need,
        free_bytes=candidate.budget_bytes,
        verdict=_find_verdict(candidate),
        speed=candidate.speed,
        installed=candidate.installed,
        reason=reason,
        device_layers=candidate.device_layers,
        cache=wanted.cache,
        requests=candidate.requests,
        draft=wanted.draft,
    )


def _name_devices(devices: Sequence[Device]) -> str | None:
    """`NVIDIA GeForce RTX 3090`, `2 x NVIDIA GeForce RTX 3090`, or different names with commas."""
    counts = Counter(device.name for device in devices)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items()) or None


def _find_verdict(candidate: Candidate) -> Verdict:
    if not candidate.runs:
        return "no"
    need, budget_bytes = candidate.need, candidate.budget_bytes
    if need and budget_bytes is not None and budget_bytes - need.total_bytes < TIGHT_SHARE * budget_bytes:
        return "tight"
    if candidate.device_layers is not None:
        return "split"
    return "cpu" if candidate.placement == "cpu" else "gpu"


def _find_deciding_rule(winner: Candidate, loser: Candidate) -> Rule | None:
    return next((rule for rule in RULES if rule.key(winner) != rule.key(loser)), None)


def _explain_winner(winner: Candidate, others: Sequence[Candidate], ask: Ask) -> str:
    if not winner.runs:
        return winner.problem or ""
    next_best = others[0] if others else None
    if next_best is None:
        named = ask.wanted.quantization or ask.wanted.backend or ask.wanted.device not in {None, "auto"}
        reason = "the only build that runs here of what you asked for" if named else "the only build that runs here"
    elif rule := _find_deciding_rule(winner, next_best):
        reason = f"{rule.say(winner)}; the next best is {rule.say(next_best)}"
    else:
        reason = "equal to the next best in everything, first by name"
    return "; ".join([reason, *_find_remarks(winner, ask), *_find_faster(winner, others)])


def _find_faster(winner: Candidate, others: Sequence[Candidate]) -> list[str]:
    """Where the rules prefer a build for its publisher and another one is far faster, the user should know."""
    fastest = max(others, key=_find_tps, default=winner)
    if _find_tps(fastest) < FAR_FASTER * (_find_tps(winner) or inf):
        return []
    times, name = _find_tps(fastest) / _find_tps(winner), format_name(fastest.model, fastest.variant)
    place = "GPU" if fastest.placement != "cpu" else "CPU"
    return [f"{name}, {TIERS[fastest.variant.tier]}, is about {times:.0f} times as fast, on the {place}"]


def _find_remarks(winner: Candidate, ask: Ask) -> list[str]:
    """What the user has to know besides: nothing is shortened or left unchecked in silence."""
    remarks = [UNCONFIRMED] if winner.variant.confidence == "memory" and not winner.installed else []
    wanted_tokens = ask.wanted.context_tokens
    limit = winner.variant.context_tokens or winner.model.architecture.context_tokens
    if wanted_tokens and limit and wanted_tokens > limit:
        remarks.append(f"its context is {limit:,} tokens, less than the {wanted_tokens:,} you asked for")
    full_tokens = min(wanted_tokens or CONTEXT_DEFAULT_TOKENS, limit or inf)
    if winner.context_tokens < full_tokens:
        remarks.append(f"context shortened from {full_tokens:,} to {winner.context_tokens:,} tokens so that it fits")
    if winner.requests < ask.wanted.requests:
        why = _explain_requests(winner.runtime, ask.wanted.cache)
        remarks.append(f"answers {winner.requests} at a time, not the {ask.wanted.requests} asked for, {why}")
    if winner.need is None or winner.budget_bytes is None:
        unknown = "its size" if winner.need is None else "the free memory"
        remarks.append(f"{unknown} is unknown, so whether it fits was not checked")
    elif winner.device_layers is not None:
        layers = winner.model.architecture.layers
        remarks.append(f"{winner.device_layers} of its {layers} layers fit on the GPU, the CPU computes the others")
    elif _find_verdict(winner) == "tight":
        remarks.append("less than a tenth of the free memory will be left")
    return remarks


def _explain_requests(runtime: Runtime | None, cache: CacheType) -> str:
    """Why not as many requests at the same time as were asked for."""
    if is_batching(runtime, cache):
        return "so that it fits"
    return f"as its engine does with `--kv-cache {cache}`" if is_batching(runtime, "f16") else "as its engine does"


def _explain_loser(loser: Candidate, winner: Candidate) -> str:
    if not loser.runs:
        return loser.problem or ""
    rule = _find_deciding_rule(winner, loser)
    if rule is None:
        return "equal to the chosen one in everything, later by name"
    return f"{rule.say(loser)}; the chosen one is {rule.say(winner)}"

"""What to say when no candidate runs: the error of the one that got furthest, with the reasons that tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.judge import Ask, Candidate, Stage, is_engine_short
from localfirst.catalog.rules import BACKEND_FAMILIES
from localfirst.catalog.wishes import explain_task, is_backend, is_quantization
from localfirst.errors import (
    DeviceError,
    DiskFullError,
    LfError,
    NoFitError,
    RuntimeMissingError,
    UnknownNameError,
    UsageError,
)
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import Memory, Model

SHOW_FITTING = "`lf model list --fits` shows what runs here"
MORE_SPACE = "Free some space (`lf store gc`, `lf rm`), or put the store on a larger disk: `lf store move DIR`"
MORE_ENGINE_SPACE = "Free some space where engines are installed, or set LF_HOME to a folder on a larger disk"


def make_refusal(model: Model, candidates: Sequence[Candidate], ask: Ask, *, smaller: Model | None) -> LfError:
    """The error to raise: none of the `candidates` runs, the first got furthest; `smaller` is a sibling that does."""
    if not candidates:
        return RuntimeMissingError(f"`{model.name}` has no builds in the catalog")
    furthest = candidates[0]
    if furthest.stage >= Stage.MEMORY:  # an engine here loads these; that none loads the others is not why
        candidates = [candidate for candidate in candidates if candidate.stage is furthest.stage]
    detail = "\n".join(dict.fromkeys(map(describe, candidates)))
    if furthest.stage is Stage.UNNAMED:
        return _refuse_name(model, ask, detail)
    if furthest.stage in {Stage.ENGINE, Stage.DEVICE, Stage.DEMAND, Stage.OFFER}:
        reasons = {candidate.problem for candidate in candidates}
        return _refuse_device(model, ask, furthest, detail, reason=reasons.pop() if len(reasons) == 1 else None)
    if furthest.stage is Stage.CACHE:
        return RuntimeMissingError(
            f"Nothing here runs `{model.name}` with a cache in {ask.wanted.cache}: {furthest.problem}",
            detail=detail,
            hint="leave out `--kv-cache`",
        )
    if furthest.stage is Stage.DISK:
        return DiskFullError(
            f"Not enough free disk for `{model.name}`: {furthest.problem}",
            detail=detail,
            hint=MORE_ENGINE_SPACE if is_engine_short(furthest, ask) else MORE_SPACE,
        )
    return _refuse_fit(model, furthest, detail, smaller, ask.machine.memory)


def refuse_build(model: Model, quantization: str | None, detail: str | None = None) -> UnknownNameError | None:
    """The error to raise where `@quantization` selects no build of a model; `None` where it does."""
    if any(is_quantization(variant, quantization) for variant in model.variants):
        return None
    known = ", ".join(f"@{variant.name}" for variant in model.variants)
    message = f"`{model.name}` has no build `@{quantization}`"
    return UnknownNameError(message, detail=detail, hint=f"one of: {known}")


def describe(candidate: Candidate) -> str:
    """One line for a candidate that does not run: what it is, and why not."""
    if candidate.stage is Stage.UNNAMED:  # whatever would load it
        return f"{candidate.variant.name} ({candidate.variant.format}): {candidate.problem}"
    where = candidate.runtime.name if candidate.runtime else candidate.variant.format
    return f"{candidate.variant.name} ({where}, {candidate.placement}): {candidate.problem}"


def _refuse_task(model: Model, ask: Ask, problem: str, detail: str) -> LfError:
    message = f"`{model.name}` has no embeddings of its own: {problem}"
    hint = "`lf list --task embedding` shows such models; `--pooling mean`, `cls` or `last` takes vectors of any"
    if ask.wanted.task == "chat":
        message, hint = f"`{model.name}` does not answer: {problem}", f"`lf embed {ask.typed or model.name} TEXT`"
    return UsageError(message, detail=detail, hint=hint)


def _refuse_name(model: Model, ask: Ask, detail: str) -> LfError:
    wanted = ask.wanted
    if unknown := refuse_build(model, wanted.quantization, detail):
        return unknown
    if not any(is_backend(runtime, wanted.backend or "") for runtime in ask.runtimes):
        backends = {one.backend for one in ask.runtimes}
        families = {name for name, members in BACKEND_FAMILIES.items() if backends.intersection(members)}
        message = f"No backend named `{wanted.backend}` in this release"
        return UnknownNameError(message, hint=f"one of: {', '.join(sorted(backends | families))}")
    quantization = f" `@{wanted.quantization}`" if wanted.quantization else ""
    return UnknownNameError(f"`{model.name}` has no build{quantization} that `{wanted.backend}` loads", detail=detail)


def _refuse_device(model: Model, ask: Ask, furthest: Candidate, detail: str, *, reason: str | None) -> LfError:
    if problem := explain_task(model, ask.wanted):
        return _refuse_task(model, ask, problem, detail)
    if furthest.stage is Stage.OFFER and furthest.runtime is not None:
        return RuntimeMissingError(
            f"The runtime `{furthest.runtime.name}` is not installed, and only is when you say so",
            detail=detail,
            hint=f"Type `lf runtime install {furthest.runtime.name}`",
        )
    device = ask.wanted.device
    if furthest.stage is not Stage.ENGINE and device not in {None, "auto"}:
        hint = f"`lf run {ask.typed or model.name}` runs it where it can" if furthest.stage is Stage.DEMAND else None
        return DeviceError(f"`{model.name}` cannot run on the {device} of this machine", detail=detail, hint=hint)
    why = f": {reason}" if reason else ""
    hint = SHOW_FITTING if ask.wanted.draft is None else "Leave out `--draft`, or name another model with it"
    return RuntimeMissingError(f"Nothing here can run `{model.name}`{why}", detail=detail, hint=hint)


def _refuse_fit(model: Model, furthest: Candidate, detail: str, smaller: Model | None, memory: Memory) -> LfError:
    need, budget_bytes = furthest.need, furthest.budget_bytes
    message = f"`{model.name}` does not fit this machine: {furthest.problem}"
    if furthest.stage is Stage.SPEED:
        message = f"`{model.name}` would be too slow here: {furthest.problem}"
        detail += "\n`--min-tps 0` runs it all the same"
    if smaller is not None:
        kin = "the same family" if smaller.family == model.family else smaller.vendor
        hint = f"a smaller one of {kin} fits: `lf model run {smaller.name}`"
    elif furthest.stage is Stage.MEMORY and need and budget_bytes is not None and _can_be_freed(furthest, memory):
        short = format_bytes(need.total_bytes - budget_bytes)
        hint = f"free {short} more by ending other programs, or see `lf model list --fits`"
    else:
        hint = SHOW_FITTING
    return NoFitError(message, detail=detail, hint=hint)


def _can_be_freed(candidate: Candidate, memory: Memory) -> bool:
    """Whether all of the memory that it may use would hold it if nothing else were there; yes where that is unknown."""
    devices = candidate.devices
    pools = [device.memory_total_bytes for device in devices if not device.unified]
    if not devices or candidate.device_layers is not None or any(device.unified for device in devices):
        pools.append(memory.limit_bytes or memory.total_bytes)
    known = [pool for pool in pools if pool is not None]
    return len(known) < len(pools) or candidate.need is None or candidate.need.total_bytes <= sum(known)

"""One thing in full: the machine, a model, the choice of a build with everything that lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.resolve import say_basis
from localfirst.catalog.rules import EXPERIMENTS
from localfirst.cli.screen import line, measure, pad, wrap
from localfirst.cli.views import listing, revisions, words
from localfirst.store.keepers import is_tool, say_keeper
from localfirst.store.names import say_revision
from localfirst.store.revisions import say_other
from localfirst.store.verify import find_remedy
from localfirst.units import format_bytes, format_count, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.check import Check
    from localfirst.services.library import Part
    from localfirst.services.pins import PinCheck, PinState
    from localfirst.store.revisions import History
    from localfirst.types import Cpu, Device, Machine, Making, Memory, Model, Plan, Resolution, Variant

Fact = tuple[str, str]
"""A label and its value. An empty label continues the fact before, on a line of its own; an empty value is left out."""


def render_facts(facts: Iterable[Fact], screen: Screen) -> Iterator[str]:
    """Labels in a column, values beside them, broken at the width."""
    shown = [(label, value) for label, value in facts if value]
    indent = max((measure(label) for label, _ in shown), default=0) + 2
    for label, value in shown:
        first, *others = wrap(value, screen.width, " " * indent)
        yield screen.paint(pad(label, indent), "dim") + first[indent:]
        yield from others


_MARKS = {"ok": ("ok", "bold green"), "note": ("--", "dim"), "warning": ("!!", "bold yellow")}
_MARKS |= {"problem": ("NO", "bold red")}
_PIN_MARKS: dict[PinState, tuple[str, str]] = {
    "same": ("same", "bold green"),
    "moved": ("moved", "dim"),
    "changed": ("changed", "bold yellow"),
    "gone": ("gone", "bold red"),
    "gated": ("gated", "dim"),
    "unknown": ("unknown", "bold yellow"),
}
_PIN_WIDTH = max(map(len, _PIN_MARKS)) + 2


def render_check(check: Check, screen: Screen, *, verbose: bool = False) -> Iterator[str]:
    """What one check of `lf doctor` saw; the evidence where it matters, or where everything is asked for."""
    mark, style = _MARKS[check.state]
    indent = " " * len(f"{mark}  ")
    first, *others = wrap(f"{check.name}: {line(check.summary)}", screen.width, indent)
    yield screen.paint(mark, style) + "  " + first[len(indent) :]
    yield from others
    if verbose or check.state in {"warning", "problem"}:
        for text in check.evidence:
            yield from wrap(line(text), screen.width, indent + "  ")
    if check.hint and (verbose or check.state != "ok"):
        yield from (screen.paint(text, "dim") for text in wrap(line(check.hint), screen.width, indent + "  "))


def render_pin_check(check: PinCheck, screen: Screen) -> Iterator[str]:
    """What one comparison of a build with its repository found."""
    mark, style = _PIN_MARKS[check.state]
    yield f"{screen.paint(mark, style)}{' ' * (_PIN_WIDTH - len(mark))}{check.model.name}@{check.variant.name}"
    for finding in check.findings:
        yield from wrap(line(finding), screen.width, " " * _PIN_WIDTH)


def render_machine(machine: Machine, screen: Screen) -> Iterator[str]:
    """What the probe found."""
    yield from render_facts(_machine_facts(machine), screen)
    if machine.warnings:
        yield ""
    for warning in machine.warnings:
        first, *others = wrap(f"warning: {line(warning)}", screen.width)
        yield screen.paint("warning:", "bold yellow") + first.removeprefix("warning:")
        yield from others


def _machine_facts(machine: Machine) -> Iterator[Fact]:
    yield from _cpu_facts(machine.cpu)
    yield from _memory_facts(machine.memory)
    for device in machine.devices:
        yield from _device_facts(device)
    if not machine.devices:
        yield "GPU", "none found"
    if machine.disk_free_bytes is not None:
        yield "Disk", f"{format_bytes(machine.disk_free_bytes)} free"
    inside = f", inside {line(machine.container)}" if machine.container else ""
    yield "System", line(machine.platform) + inside + (", under WSL" if machine.wsl else "")


def _cpu_facts(cpu: Cpu) -> Iterator[Fact]:
    yield "Processor", f"{line(cpu.name) or 'unknown'} ({line(cpu.arch)})"
    counts = ((cpu.cores_physical, "cores"), (cpu.cores_logical, "threads"), (cpu.cores_usable, "to compute with"))
    yield "", ", ".join(f"{count} {what}" for count, what in counts if count is not None)
    yield "", line(" ".join(cpu.features))


def _memory_facts(memory: Memory) -> Iterator[Fact]:
    yield "Memory", f"{format_bytes(memory.total_bytes)}, {format_bytes(memory.available_bytes)} free"
    if memory.bandwidth_bytes_per_s is not None:
        yield "", f"{format_bytes(memory.bandwidth_bytes_per_s)}/s, measured"
    if memory.limit_bytes is not None:
        yield "", f"limited to {format_bytes(memory.limit_bytes)} by the container"


_DEVICE_LABELS = {"gpu": "GPU", "igpu": "GPU", "npu": "NPU"}


def _device_facts(device: Device) -> Iterator[Fact]:
    name = line(device.name)
    if line(device.vendor).lower() not in name.lower():
        name = f"{line(device.vendor)} {name}"
    yield _DEVICE_LABELS[device.kind], name
    memory = []
    if device.memory_total_bytes is not None:
        memory.append(format_bytes(device.memory_total_bytes))
    if device.memory_free_bytes is not None:
        memory.append(f"{format_bytes(device.memory_free_bytes)} free")
    if device.unified:
        memory.append("shared with the CPU")
    yield "", ", ".join(memory)
    more = (("driver", device.driver), ("compute capability", device.compute_capability))
    yield "", ", ".join(f"{label} {line(value)}" for label, value in more if value)
    reason = line(device.reason)
    yield "", reason if device.usable else f"not usable: {reason or 'unknown reason'}"


def render_model(
    model: Model, plans: Sequence[Plan], histories: Sequence[History], parts: Sequence[Part], screen: Screen
) -> Iterator[str]:
    """A model: what it is, how it would run here, and its builds. `plans` are best first."""
    yield screen.paint(line(model.name), "bold") + (f"  {line(model.title)}" if model.title != model.name else "")
    yield ""
    yield from render_facts(_model_facts(model, plans, histories, parts), screen)
    yield ""
    yield from listing.render_variants(model.variants, _list_present(plans, histories), screen)


def _model_facts(
    model: Model, plans: Sequence[Plan], histories: Sequence[History], parts: Sequence[Part]
) -> Iterator[Fact]:
    yield "Vendor", line(model.vendor)
    asked = " (asks to be accepted, once)" if model.terms else ""
    yield "License", f"{line(model.license)} {line(model.license_url)}".rstrip() + asked
    active = f", {format_count(model.active_parameters)} active" if model.active_parameters else ""
    yield "Parameters", f"{format_count(model.parameters)}{active}"
    yield "Context", f"{format_tokens(model.architecture.context_tokens)} tokens"
    yield "Task", line(model.task)
    yield "Also named", line(", ".join(model.aliases))
    variants = {variant.name: variant for variant in model.variants}
    gone = {plan.variant.name for plan in plans if plan.gone}
    for history in histories:
        yield from _disk_facts(history, variants.get(history.current.variant))
        if history.current.variant in gone:
            keeper = history.current.keeper
            lost = f"deleted by {say_keeper(keeper)}" if is_tool(keeper) else "moved, or deleted"
            yield "", f"{lost}: {find_remedy(history.current)}"
    for part in parts:
        so_far = f"{line(part.variant)}, {format_bytes(part.size_bytes)} so far"
        yield "In part", f"{so_far}; `lf pull {line(part.full_name)}` goes on with it"
    if not plans:
        yield "Here", "no engine that can be had on this machine loads one of its builds"
    elif (best := plans[0]).verdict == "no":
        yield "Here", f"does not run: {words.say_shortfall(best) or line(best.reason)}"
    else:
        yield "Here", f"{name_build(best)} {_say_run(best)}"
        yield "", _say_cost(best)
        yield "Experimental", _say_experiment(best)


def _list_present(plans: Sequence[Plan], histories: Sequence[History]) -> list[str]:
    """The builds on this disk whose files are there."""
    gone = {plan.variant.name for plan in plans if plan.gone}
    return [history.current.variant for history in histories if history.current.variant not in gone]


def _disk_facts(history: History, variant: Variant | None) -> Iterator[Fact]:
    """What of one build is on this disk: its current revision, the others, and the one that the catalog names."""
    one = history.current
    if len(history.models) == 1 and not history.pinned:
        at = f", revision {say_revision(one.revision)}" if one.revision else ""
        kept = f", kept by {say_keeper(one.keeper)}" if is_tool(one.keeper) else ""
        yield "On disk", f"{line(one.variant)}, {format_bytes(one.size_bytes)}{at}{kept}, {line(one.root)}"
    else:
        yield "On disk", f"{line(one.variant)}, {line(one.root)}"
        for text in revisions.list_revisions(history):
            yield "", text
    if one.derived is not None:
        yield "", f"with {format_bytes(one.derived.size_bytes)} made of it, which an engine loads"
    if one.recipe is not None:
        yield from _list_recipe(one.recipe)
    if variant is not None and (other := say_other(one, variant)):
        yield "", other


def _list_recipe(recipe: Making) -> Iterator[Fact]:
    """How a build on this disk was made."""
    yield (
        "Made here",
        f"by {line(recipe.tool)} {line(recipe.version)}, {line(recipe.precision)} for {line(recipe.device)}",
    )
    yield "", f"of {line(recipe.source)}, {len(recipe.files)} files"


def name_build(plan: Plan) -> str:
    """`onnx int4 from microsoft/Phi-4-mini-instruct-onnx (vendor)`."""
    source = "" if plan.variant.host == "builtin" else f" from {line(plan.variant.repo)}"
    return f"{plan.variant.format} {line(plan.variant.quantization)}{source} ({words.TIERS[plan.variant.tier]})"


def render_choice(plan: Plan, screen: Screen) -> Iterator[str]:
    """A chosen plan: the build, where it runs, what it costs, and the reason."""
    yield screen.paint(words.name_plan(plan), "bold")
    facts = [
        ("  Build", name_build(plan)),
        ("  Revision", words.say_revisions(plan)),
        ("  Runs", _say_run(plan)),
        ("  Draft", words.say_draft(plan)),
        ("  Needs", _say_cost(plan)),
        ("  Why", line(plan.reason)),
        ("  Experimental", _say_experiment(plan)),
        ("  Fetches", _say_downloads(plan)),
    ]
    yield from render_facts(facts, screen)


def _say_run(plan: Plan) -> str:
    """Where it runs, and with the context that its memory is for."""
    return ", ".join(filter(None, (words.say_place(plan), words.say_context(plan))))


def _say_experiment(plan: Plan) -> str:
    return EXPERIMENTS.get(plan.runtime.backend, "") if plan.runtime else ""


def _say_cost(plan: Plan) -> str:
    memory = words.say_memory(plan)
    speed, prefill = words.say_speed(plan.speed), words.say_prefill(plan.speed)
    parts = [f"{memory} free" if memory and plan.free_bytes is not None else memory or "memory unknown"]
    parts.append("speed unknown" if speed == "?" else f"{speed} tokens/s ({say_basis(plan.speed)})")
    if prefill != "?":
        parts.append(f"{prefill} reading a prompt")
    return ", ".join(parts)


def _say_downloads(plan: Plan) -> str:
    """What has to be fetched before the first run."""
    steps = []
    if plan.runtime is not None and plan.runtime.state == "installable":
        steps.append(f"{plan.runtime.name} ({format_bytes(plan.runtime.download_bytes)})")
    if not plan.installed and plan.variant.host != "builtin":
        gate = ""
        if plan.variant.gated:
            gate = "; its publisher asks you to accept a licence first"
        elif plan.model.terms:
            gate = f"; its licence, {line(plan.model.license)}, has to be accepted"
        steps.append(f"the model ({format_bytes(plan.variant.size_bytes)}){gate}")
    return ", ".join(steps)


def render_explanation(resolution: Resolution, screen: Screen) -> Iterator[str]:
    """The chosen plan, then every candidate that lost, each with its numbers and its reason."""
    yield from render_choice(resolution.chosen, screen)
    if not resolution.rejected:
        return
    yield ""
    yield screen.paint("Not chosen", "bold")
    for plan in resolution.rejected:
        yield from _render_rejected(plan, screen)


def _render_rejected(plan: Plan, screen: Screen) -> Iterator[str]:
    """`q4_k_m: gguf Q4_K_M, llama-cpu on CPU, community, 4.15 of 14.2 GB, ~3-6 tok/s`, and why below."""
    name, speed = line(plan.variant.name), words.say_speed(plan.speed)
    facts = (
        f"{name}: {plan.variant.format} {words.shorten(plan.variant.quantization)}",
        f"{plan.runtime.name if plan.runtime else 'no runtime'} on {_DEVICE_LABELS.get(plan.placement, 'CPU')}",
        words.TIERS[plan.variant.tier],
        words.say_memory(plan),
        "" if speed == "?" else f"{speed} tok/s",
    )
    first, *others = wrap(", ".join(fact for fact in facts if fact), screen.width, "  ")
    yield f"  {screen.paint(name, 'bold')}{screen.paint(first[2 + len(name) :], 'dim')}"
    yield from (screen.paint(f"  {text}", "dim") for text in others)
    yield from wrap(line(plan.reason), screen.width, "    ")

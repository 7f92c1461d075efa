"""Many things in columns: models by where they run, the builds of one model, runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from localfirst.cli.screen import clip, line, wrap
from localfirst.cli.views import words
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.store.names import say_revision
from localfirst.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.catalogue import Catalog
    from localfirst.types import Machine, Plan, Runtime, Variant, Verdict

INDENT = "  "
_GROUPS: dict[Verdict | Literal["unknown"], tuple[str, str]] = {
    "gpu": ("Runs on the GPU", "bold green"),
    "split": ("Runs on GPU and CPU together", "bold green"),
    "cpu": ("Runs on the CPU", "bold green"),
    "tight": ("Tight: runs with little memory to spare", "bold yellow"),
    "unknown": ("Of unknown size: whether it fits is known once the hub is asked", "bold yellow"),
    "no": ("Not here", "bold"),
}
"""Groups in the order in which they are shown, each with its title and style."""
_NAMES = (Column("NAME"), Column("PARAMS", 5, right=True), Column("VARIANT", 4), Column("SIZE", 2, right=True))
_MODELS = (
    *_NAMES,
    Column("NEEDS", 1, right=True),
    Column("TOK/S", right=True),
    Column("FROM", 6),
    Column("STATE", 3),
    Column("REVISION", 7),
)
_REFUSED = (*_NAMES, Column("NEEDS", 1, right=True), Column("WHY NOT"))
_VARIANTS = (
    Column("VARIANT"),
    Column("FORMAT", 2),
    Column("QUANTIZATION", 1),
    Column("SIZE", 1, right=True),
    Column("FOR", 4),
    Column("FROM", 3),
    Column("STATE", 2),
)
_RUNTIMES = (
    Column("NAME"),
    Column("ENGINE", 1),
    Column("LOADS", 3),
    Column("ON", 4),
    Column("FETCH", 2, right=True),
    Column("STATE"),
    Column("REMARK", 5),
)
_CATALOGS = (
    Column("NAME"),
    Column("MODELS", 1, right=True),
    Column("BUILDS", 2, right=True),
    Column("FILE", 3),
)
_MACHINES = (
    Column("NAME"),
    Column("PROCESSOR", 1),
    Column("MEMORY", right=True),
    Column("DEVICES"),
)
_STATES = {
    "installed": "installed",
    "importable": "ready (in lf's own Python)",
    "external": "ready (your own)",
    "brought": "each model brings it",
    "misnamed": "wrong variable",
    "installable": "not installed",
    "offered": "only if you ask",
    "unavailable": "not for this machine",
}


def render_models(plans: Sequence[Plan], screen: Screen) -> Iterator[str]:
    """The best plan of each model, grouped by where it runs."""
    runs = [plan for plan in plans if plan.verdict != "no"]
    yield from _render_groups(runs, _MODELS, [_model_row(plan) for plan in runs], screen)
    refused = [plan for plan in plans if plan.verdict == "no"]
    if runs and refused:
        yield ""
    yield from _render_groups(refused, _REFUSED, [_refused_row(plan, screen) for plan in refused], screen)
    if others := len({plan.model.name for plan in plans if words.is_of_another_revision(plan)}):
        yield ""
        text = f"{others} of another revision than the catalog names now: lf model outdated"
        yield from (screen.paint(row, "dim") for row in wrap(text, screen.width))


def _render_groups(
    plans: Sequence[Plan], columns: Sequence[Column], rows: Sequence[Mapping[str, str]], screen: Screen
) -> Iterator[str]:
    """Groups that share their columns; the headings stand once, under the first title."""
    widths = fit(columns, rows, _inner_width(screen))
    first = True
    for group, (title, style) in _GROUPS.items():
        members = [(plan, row) for plan, row in zip(plans, rows, strict=True) if _find_group(plan) == group]
        if not members:
            continue
        if not first:
            yield ""
        yield screen.paint(title, style) + _say_free([plan for plan, _ in members])
        if first:
            yield screen.paint(INDENT + format_header(widths), "dim")
        yield from (INDENT + format_row(widths, row) for _, row in members)
        first = False


def _find_group(plan: Plan) -> Verdict | Literal["unknown"]:
    return "unknown" if plan.need is None and plan.verdict != "no" else plan.verdict


def _say_free(plans: Sequence[Plan]) -> str:
    """The memory that the needs of a group are to be compared with, where it is one for all."""
    free = {plan.free_bytes for plan in plans}
    only = free.pop()
    return f", {format_bytes(only)} free" if not free and only is not None else ""


def _name_cells(plan: Plan) -> dict[str, str]:
    variant = plan.variant
    return {
        "NAME": line(plan.model.name),
        "PARAMS": format_count(plan.model.parameters),
        "VARIANT": f"{variant.format} {words.shorten(variant.quantization)}".removesuffix(" unknown"),
        "SIZE": format_bytes(variant.size_bytes),
        "NEEDS": format_bytes(plan.need.total_bytes) if plan.need else "?",
    }


def _model_row(plan: Plan) -> dict[str, str]:
    return _name_cells(plan) | {
        "TOK/S": words.say_speed(plan.speed),
        "FROM": words.TIERS[plan.variant.tier],
        "STATE": words.say_state(
            plan.variant, installed=plan.installed, keeper=plan.keeper, gone=plan.gone, terms=plan.model.terms
        ),
        "REVISION": say_revision(plan.revision),
    }


def _refused_row(plan: Plan, screen: Screen) -> dict[str, str]:
    return _name_cells(plan) | {"WHY NOT": words.say_shortfall(plan) or _fit_remark(plan.reason, screen)}


def _fit_remark(text: str, screen: Screen) -> str:
    """A reason as the last column of a table; cut on a terminal, where `lf model explain` has the whole."""
    return line(text) if screen.width is None else clip(line(text), max(24, screen.width - 36))


def render_variants(variants: Sequence[Variant], installed: Sequence[str], screen: Screen) -> Iterator[str]:
    """The builds of one model; `installed` holds the names of those on this disk."""
    roomy = screen.width is None or screen.width >= 100
    rows = [
        {
            "VARIANT": line(variant.name),
            "FORMAT": variant.format,
            "QUANTIZATION": line(variant.quantization) if roomy else words.shorten(variant.quantization),
            "SIZE": format_bytes(variant.size_bytes),
            "FOR": line(", ".join(variant.devices)),
            "FROM": words.TIERS[variant.tier],
            "STATE": words.say_state(variant, installed=variant.name in installed),
        }
        for variant in variants
    ]
    yield from _render_plain(_VARIANTS, rows, screen)


def render_runtimes(runtimes: Sequence[Runtime], screen: Screen) -> Iterator[str]:
    """The engines of this machine and whether they are there."""
    rows = [
        {
            "NAME": runtime.name,
            "ENGINE": line(f"{runtime.engine} {runtime.version}"),
            "LOADS": ", ".join(runtime.formats),
            "ON": runtime.placement.upper(),
            "FETCH": format_bytes(runtime.download_bytes) if runtime.state in {"installable", "offered"} else "",
            "STATE": _say_state(runtime),
            "REMARK": line(runtime.reason),
        }
        for runtime in runtimes
    ]
    yield from _render_plain(_RUNTIMES, rows, screen)


def _say_state(runtime: Runtime) -> str:
    """Whether it is there; of one that nothing here could use, that, where the remark has no room."""
    return "no such device here" if runtime.state == "installable" and runtime.reason else _STATES[runtime.state]


def render_machines(machines: Mapping[str, Machine], screen: Screen) -> Iterator[str]:
    """Recorded machines by name, each in a line."""
    rows = [
        {
            "NAME": name,
            "PROCESSOR": line(machine.cpu.name or machine.cpu.arch),
            "MEMORY": format_bytes(machine.memory.limit_bytes or machine.memory.total_bytes),
            "DEVICES": ", ".join(line(device.name) for device in machine.devices if device.kind != "npu") or "no GPU",
        }
        for name, machine in machines.items()
    ]
    yield from _render_plain(_MACHINES, rows, screen)


def render_catalogs(catalogs: Sequence[Catalog], screen: Screen) -> Iterator[str]:
    """Catalogs, each in a line, and under them what is wrong in any: the models that it is in are left out."""
    rows = [
        {
            "NAME": catalog.name,
            "MODELS": str(len(catalog.models)),
            "BUILDS": str(sum(len(model.variants) for model in catalog.models)),
            "FILE": line(str(catalog.path)),
        }
        for catalog in catalogs
    ]
    yield from _render_plain(_CATALOGS, rows, screen)
    for mistake in (mistake for catalog in catalogs for mistake in catalog.mistakes):
        yield ""
        first, *others = wrap(f"mistake: {line(mistake)}", screen.width, INDENT)
        yield INDENT + screen.paint("mistake:", "bold yellow") + first.removeprefix(f"{INDENT}mistake:")
        yield from others


def _render_plain(columns: Sequence[Column], rows: Sequence[Mapping[str, str]], screen: Screen) -> Iterator[str]:
    widths = fit(columns, rows, _inner_width(screen))
    yield screen.paint(INDENT + format_header(widths), "dim")
    yield from (INDENT + format_row(widths, row) for row in rows)


def _inner_width(screen: Screen) -> int | None:
    return None if screen.width is None else screen.width - len(INDENT)

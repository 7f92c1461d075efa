"""The models that there are, how each would run, and which of them were asked for."""

from __future__ import annotations

import difflib
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.names import is_called
from localfirst.catalog.rules import FORMAT_ENGINES
from localfirst.errors import UsageError
from localfirst.services.library import find_entries
from localfirst.services.planning import NOTHING_WANTED, Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localfirst.services.library import Entry
    from localfirst.types import Machine, Plan, Variant, Wanted


class Filter(NamedTuple):
    """Which models and builds to list; `None` and False leave nothing out."""

    fits: bool = False
    """Only what runs, and is known to fit."""
    installed: bool = False
    vendor: str | None = None
    task: str | None = None
    license: str | None = None
    format: str | None = None
    max_size_bytes: int | None = None
    words: tuple[str, ...] = ()
    """Only models that have each of them in what they are called."""


def _find_tps(plan: Plan) -> float:
    return plan.speed.measured_tps or plan.speed.low_tps or 0.0


def _find_need(plan: Plan) -> float:
    return inf if plan.need is None else plan.need.total_bytes


_DEVICES: dict[str, tuple[tuple[str, ...], str]] = {"gpu": (("gpu", "igpu"), "GPU"), "npu": (("npu",), "NPU")}
_DEMANDS = {"context_tokens": "ctx", "device": "device", "tier": "tier", "min_tps": "min-tps", "cache": "kv-cache"}
"""What is asked of a plan, and the option that says it."""
SORTS: dict[str, Callable[[Plan], tuple[float | str, ...]]] = {
    "best": lambda plan: (not plan.installed, -(plan.model.parameters or 0)),
    "name": lambda _: (),
    "params": lambda plan: (-(plan.model.parameters or 0),),
    "size": lambda plan: (inf if plan.variant.size_bytes is None else plan.variant.size_bytes,),
    "need": lambda plan: (_find_need(plan),),
    "speed": lambda plan: (-_find_tps(plan),),
}
"""How lists are ordered, by the word for it: what is on this disk and the largest, by name, ...; ties by name."""


def list_models(
    machine: Machine | None = None,
    *,
    only: Filter | None = None,
    wanted: Wanted = NOTHING_WANTED,
    sort: str = "best",
    every_build: bool = False,
) -> tuple[Plan, ...]:
    """The best plan here, or on `machine`, of every known model.

    Args:
        machine: another machine than this one.
        only: leave out what it does not name.
        wanted: judge each model by these demands.
        sort: a key of `SORTS`.
        every_build: all plans of each model, not only the best.

    Raises:
        UsageError: nothing is known by a word of the filter or of the order.
    """
    only = only or Filter()
    here = Here(machine)
    entries = find_entries()
    _check_words(only, sort, entries)
    plans: list[Plan] = []
    for entry in entries:
        if (kept := _keep_builds(entry, only)) is not None:
            asked = (plan for plan in here.find_plans(kept, wanted) if _is_asked_for(plan, only))
            plans += asked if every_build else islice(asked, 1)
    return tuple(sorted(plans, key=lambda plan: (*SORTS[sort.lower()](plan), plan.model.name)))


def explain_nothing(only: Filter, wanted: Wanted, machine: Machine) -> str:
    """Why a list has nothing in it, and what to type instead."""
    device = wanted.device or "auto"
    kinds, name = _DEVICES.get(device, ((), ""))
    there = [one for one in machine.devices if one.kind in kinds]
    if kinds and not any(one.usable for one in there):
        which = "; ".join(f"{one.name}: {one.reason or 'cannot be used'}" for one in there)
        why = f"no {name} that can be used ({which})" if there else f"no {name}"
        return f"No models to show: this machine has {why}; leave out `--device {device}`"
    if only == Filter(installed=True) and wanted == NOTHING_WANTED:
        return "No models are on this disk; `lf list --fits` shows what to pull"
    given = [
        f"`--{field.replace('max_size_bytes', 'max_size').replace('_', '-')}`"
        for field, value in only._asdict().items()
        if value and field != "words"
    ]
    given += [
        f"`--{option}`"
        for field, option in _DEMANDS.items()
        if getattr(wanted, field) != getattr(NOTHING_WANTED, field)
    ]
    if only.words:
        called = f"No models to show: none is called `{' '.join(only.words)}`"
        return f"{called}{f' within {_join(given)}' if given else ''}; `lf list` shows every one"
    if not given:
        return "No models to show: there are none in the catalogs"
    return f"No models to show: nothing is within {_join(given)}; `lf list` shows every one"


def _join(options: Iterable[str]) -> str:
    return " and ".join(options)


def _check_words(only: Filter, sort: str, entries: Iterable[Entry]) -> None:
    models = [entry.model for entry in entries]
    known: dict[str, tuple[str | None, set[str]]] = {
        "--sort": (sort, set(SORTS)),
        "--format": (only.format, set(FORMAT_ENGINES)),
        "--vendor": (only.vendor, {model.vendor.lower() for model in models}),
        "--task": (only.task, {model.task for model in models}),
        "--license": (only.license, {model.license for model in models}),
    }
    for option, (word, words) in known.items():
        if word is not None and word.lower() not in {known.lower() for known in words}:
            near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.7)
            raise UsageError(
                f"`{option}` does not know `{word}`",
                detail=f"known: {', '.join(sorted(words))}",
                hint=f"Did you mean `{near[0]}`?" if near else None,
            )


def _keep_builds(entry: Entry, only: Filter) -> Entry | None:
    """The entry with the builds that were asked for, or `None` where it is not among the models asked for."""
    model = entry.model
    asked = ((only.vendor, model.vendor), (only.task, model.task), (only.license, model.license))
    if any(word is not None and word.lower() != has.lower() for word, has in asked):
        return None
    if not is_called(model, only.words):
        return None
    variants = tuple(variant for variant in model.variants if _is_asked(variant, only))
    return entry._replace(model=model._replace(variants=variants)) if variants else None


def _is_asked(variant: Variant, only: Filter) -> bool:
    if only.format is not None and variant.format != only.format.lower():
        return False
    limit = only.max_size_bytes
    return limit is None or (variant.size_bytes is not None and variant.size_bytes <= limit)


def _is_asked_for(plan: Plan, only: Filter) -> bool:
    return (plan.installed or plan.gone or not only.installed) and (_is_known_to_fit(plan) or not only.fits)


def _is_known_to_fit(plan: Plan) -> bool:
    return plan.verdict != "no" and plan.need is not None

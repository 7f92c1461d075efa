"""The models that there are, how each would run, and which of them were asked for."""

from __future__ import annotations

import difflib
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

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


def _find_tps(plan: Plan) -> float:
    return plan.speed.measured_tps or plan.speed.low_tps or 0.0


def _find_need(plan: Plan) -> float:
    return inf if plan.need is None else plan.need.total_bytes


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
            near = difflib.get_close_matches(word.lower(), words, n=1)
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

"""Whether a model that a server has loaded answers as one would that is loaded anew. Pure."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst.types import format_build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localfirst.types import Plan
    from localfirst.worker.protocol import Load


class Loading(NamedTuple):
    """How a model is loaded, or would be."""

    runtime: str
    device: str
    load: Load


def describe(plan: Plan, load: Load) -> Loading:
    """How a plan comes to be loaded."""
    return Loading(plan.runtime.name if plan.runtime else "", plan.device_name or plan.placement, load)


def name_build(plan: Plan) -> str:
    """A build, by a name under which it may be asked for; of an import there is one."""
    variant = plan.variant
    return plan.model.name if variant.host == "import" else format_build(plan.model.name, variant.name)


ASPECTS: Mapping[str, Callable[[Loading], object]] = MappingProxyType(
    {
        "build": lambda one: Path(one.load.main).name,
        "revision": lambda one: one.load.main,
        "runtime": lambda one: one.runtime,
        "program": lambda one: one.load.program or "its own",
        "device": lambda one: one.device,
        "part on the device": lambda one: _count(one.load.device_layers, "layers", "all"),
        "KV cache": lambda one: one.load.cache,
        "draft": lambda one: Path(one.load.draft).name if one.load.draft else "none",
        "spread": lambda one: "{} x {}".format(*one.load.parallel),
        "cluster": lambda one: one.load.parallel.ray or "none",
    }
)
"""What has to be the same for the same answers at the same speed, of what was asked for."""


def find_difference(here: Loading, there: Loading, *, context: bool, threads: bool) -> str | None:
    """What keeps a model that is loaded `there` from standing in for one as it would be loaded `here`, in words.

    Args:
        here: how it would be loaded.
        there: how it is loaded.
        context: whether the user named a context; else a longer one will do.
        threads: whether the user named the threads; else any number will do.
    """
    for name, find in ASPECTS.items():
        if find(here) != find(there):
            return f"its {name} is {find(there)}, not {find(here)}"
    ours, theirs = here.load.context_tokens, there.load.context_tokens
    is_longer = ours is not None and theirs is not None and theirs > ours
    if ours != theirs and (context or not is_longer):
        own = "the model's own"
        return f"its context is {_count(theirs, 'tokens', own)}, not {_count(ours, 'tokens', own)}"
    if threads and here.load.threads != there.load.threads:
        return f"its threads are {there.load.threads}, not {here.load.threads}"
    return None


def _count(number: int | None, unit: str, unknown: str = "") -> str:
    return unknown if number is None else f"{number:,} {unit}"

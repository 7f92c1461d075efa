"""Model files on this disk: fetch, remove, verify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localfirst.errors import UnknownNameError, UsageError
from localfirst.services import consent
from localfirst.services.catalogue import load_models
from localfirst.services.imported import describe
from localfirst.services.library import Entry, find_entry, find_on_disk
from localfirst.services.planning import plan_fetch
from localfirst.store import builtin, manifest, pull, revisions, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.store.verify import FileProblem
    from localfirst.types import InstalledModel, Model, Progress, Wanted


@dataclass(frozen=True, slots=True)
class Verified:
    """A model whose bytes were read again, and what was wrong with them."""

    model: InstalledModel
    problems: tuple[FileProblem, ...]
    repaired: bool = False
    """Whether the problems are no more."""

    @property
    def is_mendable(self) -> bool:
        """Whether there are problems still, and a hub has the bytes."""
        return bool(self.problems) and not self.repaired and self.model.host == "huggingface" and not self.model.keeper

    @property
    def remedy(self) -> str | None:
        """What to type, where there are problems still."""
        return verify.find_remedy(self.model) if self.problems and not self.repaired else None


@dataclass(frozen=True, slots=True)
class Removal:
    """What `lf model rm` did: the models that are gone, those that stay in shared stores, and bytes on the disk."""

    models: tuple[InstalledModel, ...]
    shared: tuple[InstalledModel, ...]
    freed_bytes: int
    kept_bytes: int
    """Of files that another model needs."""


def pull_model(
    name: str,
    wanted: Wanted,
    *,
    offline: bool = False,
    accept_license: bool = False,
    report: Callable[[Progress], None],
) -> InstalledModel:
    """Fetch the build that would run here.

    Raises:
        LfError: as the plan or the transfer says.
    """
    planned = plan_fetch(name, wanted, offline=offline, report=report)
    chosen = planned.resolution.chosen
    if not offline:
        consent.require(chosen, accepted=accept_license)
    return pull.pull(chosen.model, chosen.variant, offline=offline, report=report)


def remove_model(name: str, *, report: Callable[[Progress], None]) -> Removal:
    """Remove every installed build that the name means, in all its revisions; files that others keep stay.

    Raises:
        StoreError: it is only in a shared store, or the store cannot be written.
        UnknownNameError: the model is not on this disk.
        UsageError: the name asks for an engine or a device, which says nothing of what is on the disk.
    """
    _, found = find_on_disk(name, "lf rm")
    every = [model for history in found for model in history.models]
    own = [model for model in every if model.shared is None] or every
    gone = {(model.name, model.variant) for model in own}
    removed = [manifest.remove(model, report=report) for model in own]
    for history in found:
        revisions.forget(history.current)
    return Removal(
        models=tuple(own),
        shared=tuple(model for model in manifest.find_shared() if (model.name, model.variant) in gone),
        freed_bytes=sum(one.freed_bytes for one in removed),
        kept_bytes=sum(one.kept_bytes for one in removed),
    )


def verify_models(  # noqa: PLR0913 - one keyword per option
    name: str | None,
    *,
    every: bool,
    quick: bool = False,
    repair: bool = False,
    offline: bool = False,
    report: Callable[[Progress], None],
) -> tuple[Verified, ...]:
    """Read every byte of a model, or of all, and compare it with its digest.

    Args:
        name: the model; `None` with `every`.
        every: all models on this disk.
        quick: read only what was written to since it was recorded.
        repair: fetch what is wrong, where it can be fetched.
        offline: use no network.
        report: hears how far it is.

    Raises:
        UsageError: neither a model nor all were asked for, or both.
        UnknownNameError: the model is not on this disk.
        LfError: something is to be repaired and cannot be fetched. Offline it stays as it is.
    """
    if (name is None) != every:
        raise UsageError("Name one model or say `--all`", hint="See what is on this disk: `lf list --installed`")
    models = _find_everything() if name is None else _find_installed(find_entry(name, offline=True))
    if name is not None and not models:
        raise UnknownNameError(f"`{name}` is not on this disk", hint="See what is: `lf list --installed`")
    checked = (Verified(model, verify.verify(model, quick=quick, report=report)) for model in models)
    return tuple(_repair(one, offline=offline, report=report) if repair else one for one in checked)


def _repair(checked: Verified, *, offline: bool, report: Callable[[Progress], None]) -> Verified:
    model = checked.model
    if offline or not checked.is_mendable:
        return checked
    damaged = [problem.path for problem in checked.problems]
    return replace(checked, model=pull.repair(model, describe(model), damaged, report=report), repaired=True)


def _find_everything() -> tuple[InstalledModel, ...]:
    built_in = (model for model in load_models() if any(variant.host == "builtin" for variant in model.variants))
    return (*manifest.find_all(), *(installed for model in built_in for installed in _find_built_in(model)))


def _find_installed(entry: Entry) -> tuple[InstalledModel, ...]:
    return (*entry.installed, *_find_built_in(entry.model))


def _find_built_in(model: Model) -> tuple[InstalledModel, ...]:
    return tuple(builtin.find_builtin(model, variant) for variant in model.variants if variant.host == "builtin")

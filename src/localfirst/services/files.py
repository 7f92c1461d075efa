"""Model files on this disk: fetch, remove, verify."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from localfirst.errors import LfError, NetworkError, UsageError
from localfirst.services import consent
from localfirst.services.catalogue import load_models
from localfirst.services.imported import describe
from localfirst.services.library import find_entry, find_on_disk
from localfirst.services.planning import plan_fetch
from localfirst.store import builtin, derive, manifest, pull, removal, revisions, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.store.revisions import History
    from localfirst.store.verify import FileProblem
    from localfirst.types import InstalledModel, Model, Progress, Wanted


@dataclass(frozen=True, slots=True)
class Verified:
    """A model whose bytes were read again, and what was wrong with them."""

    model: InstalledModel
    problems: tuple[FileProblem, ...]
    repaired: bool = False
    """Whether the problems are no more."""
    error: LfError | None = None
    """Why they were not mended, though they were to be."""

    @property
    def is_mendable(self) -> bool:
        """Whether there are problems still, and a hub has the bytes, or they are made here."""
        fetched = self.model.host == "huggingface" and not self.model.keeper
        return bool(self.problems) and not self.repaired and (fetched or self.needs_no_network)

    @property
    def needs_no_network(self) -> bool:
        """Whether all that is wrong was made here of files that are right."""
        return all(verify.is_derived(self.model, problem) for problem in self.problems)

    @property
    def remedy(self) -> str | None:
        """What to type, where there are problems still."""
        if not self.problems or self.repaired:
            return None
        if self.needs_no_network and self.model.shared is None:
            return f"`lf model verify {self.model.name} --repair` makes it again from the other, without a network."
        return verify.find_remedy(self.model)


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


def remove_models(names: Sequence[str], *, report: Callable[[Progress], None]) -> Removal:
    """Remove every installed build that the names mean, in all its revisions; files that others keep stay.

    Nothing is removed where one of the names means nothing.

    Raises:
        StoreError: one is only in a shared store, or the store cannot be written.
        UnknownNameError: a model is not on this disk.
        UsageError: a name asks for an engine or a device, which says nothing of what is on the disk.
    """
    found = {name: find_on_disk(name, "lf rm")[1] for name in names}
    targets = dict.fromkeys(model for name in names for model in _find_removable(found[name]))
    own = sorted(targets, key=lambda model: model.shared is None)  # what cannot be removed is said before anything is
    gone = {(model.name, model.variant) for model in own}
    removed = [removal.remove(model, report=report) for model in own]
    for model in own:
        verify.remember(model, ())
    for history in chain.from_iterable(found.values()):
        revisions.forget(history.current)
    return Removal(
        models=tuple(own),
        shared=tuple(model for model in manifest.find_shared() if (model.name, model.variant) in gone),
        freed_bytes=sum(one.freed_bytes for one in removed),
        kept_bytes=sum(one.kept_bytes for one in removed),
    )


def _find_removable(found: Sequence[History]) -> list[InstalledModel]:
    """All revisions of builds, without those in shared stores unless there are no others."""
    every = [model for history in found for model in history.models]
    return [model for model in every if model.shared is None] or every


def verify_models(  # noqa: PLR0913 - one keyword per option
    names: Sequence[str],
    *,
    every: bool,
    quick: bool = False,
    repair: bool = False,
    offline: bool = False,
    report: Callable[[Progress], None],
) -> tuple[Verified, ...]:
    """Read every byte of models, or of all, and compare it with its digest.

    Args:
        names: as typed; none with `every`.
        every: all models on this disk.
        quick: read only what was written to since it was recorded.
        repair: fetch what is wrong, where it can be fetched.
        offline: use no network.
        report: hears how far it is.

    Raises:
        UsageError: neither models nor all were asked for, or both, or a name asks for an engine or a device.
        UnknownNameError: a model is not on this disk.
        LfError: the only one is to be repaired and cannot be fetched; of several, each has its own error. Offline they
            stay as they are.
    """
    if bool(names) == every:
        raise UsageError("Name models or say `--all`", hint="See what is on this disk: `lf list --installed`")
    models = tuple(dict.fromkeys(one for name in names for one in _find_named(name))) or _find_everything()
    verified = []
    for model in models:
        one = Verified(model, verify.verify(model, quick=quick, report=report))
        verify.remember(model, one.problems)
        if repair and one.is_mendable and (one.needs_no_network or not offline):
            one = _repair(one, alone=len(models) == 1, report=report)
        verified.append(one)
    return tuple(verified)


def _repair(checked: Verified, *, alone: bool, report: Callable[[Progress], None]) -> Verified:
    model = checked.model
    damaged = [problem.path for problem in checked.problems]
    try:
        if model.derived and checked.needs_no_network:
            mended = derive.remake(model, model.derived.recipe, report=report)
        else:
            mended = pull.repair(model, describe(model), damaged, report=report)
        verify.remember(mended, ())
        return replace(checked, model=mended, repaired=True)
    except LfError as error:
        if alone:
            raise
        return replace(checked, error=error)


def _find_everything() -> tuple[InstalledModel, ...]:
    built_in = (model for model in load_models() if any(variant.host == "builtin" for variant in model.variants))
    return (*manifest.find_all(), *(installed for model in built_in for installed in _find_built_in(model)))


def _find_named(name: str) -> tuple[InstalledModel, ...]:
    with suppress(NetworkError):  # a repository's name, of which nothing is here
        if built_in := _find_built_in(find_entry(name, offline=True).model):
            return built_in
    return tuple(history.current for history in find_on_disk(name, "lf model verify")[1])


def _find_built_in(model: Model) -> tuple[InstalledModel, ...]:
    return tuple(builtin.find_builtin(model, variant) for variant in model.variants if variant.host == "builtin")

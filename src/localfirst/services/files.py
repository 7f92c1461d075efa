"""Model files on this disk: fetch, remove, import, verify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.errors import UnknownNameError, UsageError
from localfirst.services.library import find_entry
from localfirst.services.planning import plan_fetch
from localfirst.store import imports, manifest, pull, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localfirst.store.verify import FileProblem
    from localfirst.types import InstalledModel, Progress, Wanted


@dataclass(frozen=True, slots=True)
class Verified:
    """A model whose bytes were read again, and what was wrong with them."""

    model: InstalledModel
    problems: tuple[FileProblem, ...]


def pull_model(
    name: str, wanted: Wanted, *, offline: bool = False, report: Callable[[Progress], None]
) -> InstalledModel:
    """Fetch the build that would run here.

    Raises:
        LfError: as the plan or the transfer says.
    """
    planned = plan_fetch(name, wanted, offline=offline, report=report)
    chosen = planned.resolution.chosen
    return pull.pull(chosen.model, chosen.variant, offline=offline, report=report)


def remove_model(name: str) -> int:
    """Remove every installed build that the name means; the bytes freed (0 for imports, whose files stay).

    Raises:
        UnknownNameError: the model is not on this disk.
    """
    entry = find_entry(name, offline=True)
    wanted = entry.asked.quantization
    found = [model for model in entry.installed if wanted is None or model.variant == wanted]
    if not found:
        raise UnknownNameError(
            f"`{name}` is not on this disk",
            hint="`starter` is part of lf itself" if entry.model.name == "starter" else "See what is: `lf model list`",
        )
    return sum(manifest.remove(model) for model in found)


def import_model(path: Path, name: str | None) -> InstalledModel:
    """Make a file or folder of the user's known by a name, without copying it.

    Raises:
        ModelFileError: it is no model that an engine of ours loads.
        UsageError: the name is taken.
    """
    return imports.import_path(path, name=name)


def verify_models(name: str | None, *, every: bool, report: Callable[[Progress], None]) -> tuple[Verified, ...]:
    """Read every byte of a model, or of all, and compare it with its digest.

    Raises:
        UsageError: neither a model nor all were asked for, or both.
        UnknownNameError: the model is not on this disk.
    """
    if (name is None) != every:
        raise UsageError("Name one model or say `--all`", hint="See what is on this disk: `lf model list`")
    models = manifest.find_all() if name is None else find_entry(name, offline=True).installed
    if name is not None and not models:
        raise UnknownNameError(f"`{name}` is not on this disk", hint="See what is: `lf model list`")
    return tuple(Verified(model, verify.verify(model, report=report)) for model in models)

"""A model of the user's own made known by a name: where it lies, or as a copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.names import find_keys, make_key
from localfirst.catalog.rules import FORMAT_ENGINES
from localfirst.errors import UsageError
from localfirst.services.catalogue import load_models
from localfirst.services.checkpoints import find_remedy
from localfirst.services.imported import describe
from localfirst.services.library import find_entry
from localfirst.services.planning import Here
from localfirst.store import imports

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import InstalledModel, Model, Progress


class Imported(NamedTuple):
    """An imported model, what its files tell, and what it still lacks."""

    installed: InstalledModel
    model: Model
    engine: str | None
    """The engine that it needs, where there is none for this machine that loads its format."""
    obstacle: str | None
    """Why it does not run here; `None` where it does."""
    remedy: str | None = None
    """What to type for a build of it that does; `None` where none can be made."""


def import_model(path: Path, name: str | None, *, copy: bool = False, report: Callable[[Progress], None]) -> Imported:
    """Make a file or folder of the user's known by a name.

    Raises:
        ModelFileError: it is no model, or a damaged one.
        UsageError: it is no path, or the name is taken, by another import or by the catalog.
        DiskFullError, StoreError: as the import says.
    """
    scheme, _, rest = str(path).partition(":")
    if scheme == "remote":
        raise UsageError("A server has no files to import", hint="Only `lf run` speaks to it")
    if scheme == "hf":
        raise UsageError("A repository is no path", hint=f"Fetch it: `lf pull hf:{rest}`")
    installed = imports.import_path(path, name=name, copy=copy, is_taken=is_in_catalog, report=report)
    here = Here()
    loaded = {kind for one in here.runtimes if one.state != "unavailable" for kind in one.formats}
    engine = None if installed.format in loaded else FORMAT_ENGINES[installed.format]
    obstacle = find_obstacle(installed.name, here)
    remedy = find_remedy(Path(installed.root)) if obstacle else None
    return Imported(installed, describe(installed), engine, obstacle, remedy)


def find_obstacle(name: str, here: Here | None = None) -> str | None:
    """Why a model of the user's does not run on this machine; `None` where it does."""
    here = here or Here()
    best = next(here.find_plans(find_entry(name, offline=True)))
    return None if best.verdict != "no" else best.reason


def is_in_catalog(name: str) -> bool:
    """Whether a catalog's model is called so, in any spelling."""
    key = make_key(name)
    return any(key in find_keys(model) or key == make_key(model.family) for model in load_models())

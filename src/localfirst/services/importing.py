"""A model of the user's own made known by a name: where it lies, or as a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.names import find_keys, make_key
from localfirst.catalog.rules import FORMAT_ENGINES, READY_STATES
from localfirst.runtimes.find import this_system
from localfirst.runtimes.programs import find_programs
from localfirst.runtimes.table import RUNTIMES
from localfirst.services.catalogue import load_models
from localfirst.services.imported import describe
from localfirst.store import imports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localfirst.types import InstalledModel, Model, Progress


class Imported(NamedTuple):
    """An imported model, what its files tell, and what it still lacks."""

    installed: InstalledModel
    model: Model
    lacking: str | None
    """The engine that it needs, where none here loads its format."""


def import_model(path: Path, name: str | None, *, copy: bool = False, report: Callable[[Progress], None]) -> Imported:
    """Make a file or folder of the user's known by a name.

    Raises:
        ModelFileError: it is no model, or a damaged one.
        UsageError: the name is taken, by another import or by the catalog.
        DiskFullError, StoreError: as the import says.
    """
    installed = imports.import_path(path, name=name, copy=copy, is_taken=is_in_catalog, report=report)
    ready = {kind for one in find_programs(*this_system()) if one.state in READY_STATES for kind in one.formats}
    loaded = installed.format in ready.union(*(row.formats for row in RUNTIMES))
    return Imported(installed, describe(installed), None if loaded else FORMAT_ENGINES[installed.format])


def is_in_catalog(name: str) -> bool:
    """Whether a catalog's model is called so, in any spelling."""
    key = make_key(name)
    return any(key in find_keys(model) or key == make_key(model.family) for model in load_models())

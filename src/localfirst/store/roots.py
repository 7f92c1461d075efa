"""Stores of others, for machines that share one: their models count as installed, and nothing there is ever written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class Root(NamedTuple):
    """A shared store: as `LF_SHARED_STORES` names it, where its models are, and why it has none to offer."""

    named: Path
    models: Path
    problem: str | None = None


def find_roots() -> tuple[Root, ...]:
    """The shared stores, in the order in which they are named. Never raises: one that cannot be read has a problem."""
    return tuple(_look(named) for named in paths.shared_dirs())


def _look(named: Path) -> Root:
    try:
        if not named.is_dir():
            return Root(named, named, "there is no such folder")
        has_store = (named / "models").is_dir() or (named / "store.json").is_file()
        models = paths.find_models(named) if has_store else named
        if not models.is_dir():
            return Root(named, models, f"its models were moved to {models}, which is not there")
    except (OSError, StoreError) as error:
        return Root(named, named, str(error))
    return Root(named, models, None if os.access(models, os.R_OK | os.X_OK) else "it cannot be read")

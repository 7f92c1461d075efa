"""Where the store is and what it takes on the disk, with the engines and caches beside it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst import paths
from localfirst.store import manifest, pointer
from localfirst.store.disk import explained
from localfirst.store.foreign import find_foreign_files
from localfirst.store.roots import find_roots
from localfirst.store.upkeep import usage
from localfirst.store.upkeep.gc import find_garbage, is_busy_now
from localfirst.store.upkeep.survey import measure, survey
from localfirst.store.upkeep.usage import Share

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localfirst.store.roots import Root
    from localfirst.store.upkeep.usage import Duplicate
    from localfirst.types import InstalledModel

Decided = Literal["move", "LF_HOME", "default"]


@dataclass(frozen=True, slots=True)
class SharedStore:
    """A store of others, and the models in it."""

    root: Root
    models: tuple[InstalledModel, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """Where the store is, why there, and which others are read."""

    models: Path
    decided_by: Decided
    data: Path
    exists: bool
    writable: bool
    free_bytes: int | None
    source: Path | None
    """Where it was, if the move from there has not come to its end."""
    target: Path | None
    """Where it is to be, if a move was begun and has not got to the switch."""
    shared: tuple[SharedStore, ...]


class Place(NamedTuple):
    """A folder of this program's, and the bytes of the disk that it is on."""

    folder: Path
    share: Share
    device: int
    free_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on the disk by kind. `kept` are models whose files others keep: bytes elsewhere, not part of the total."""

    models: Path
    kinds: Mapping[str, Share]
    kept: Share
    runtimes: Place
    caches: Place
    garbage_bytes: int
    """What `lf store gc` would free in the store; it leaves alone what a process works on."""
    device: int
    """The disk that the models are on."""
    free_bytes: int
    disk_bytes: int
    shared: tuple[SharedStore, ...]
    duplicates: tuple[Duplicate, ...]

    @property
    def elsewhere(self) -> tuple[Place, ...]:
        """Engines and caches that are on another disk than the models."""
        return tuple(one for one in (self.runtimes, self.caches) if one.device != self.device and one.share.size_bytes)

    @property
    def total_bytes(self) -> int:
        """All that `lf` has on the models' disk."""
        shares = [
            *self.kinds.values(),
            *(one.share for one in (self.runtimes, self.caches) if one not in self.elsewhere),
        ]
        return sum(share.size_bytes for share in shares)


def find_location() -> Location:
    """Where the store is; also where it cannot be used.

    Raises:
        StoreError: the note of where it was moved to is damaged.
    """
    note = pointer.read_note()
    models = note.models
    moved = models != pointer.find_default()
    exists = pointer.is_store(models) if moved else models.is_dir()
    nearest = next((folder for folder in (models, *models.parents) if folder.is_dir()), models)
    return Location(
        models=models,
        decided_by="move" if moved else "LF_HOME" if paths.home() else "default",
        data=paths.data_dir(),
        exists=exists,
        writable=(exists or not moved) and os.access(nearest, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(nearest).free if exists or not moved else None,
        source=note.source,
        target=note.target,
        shared=_find_shared(),
    )


def _find_shared() -> tuple[SharedStore, ...]:
    models = manifest.find_shared()
    return tuple(
        SharedStore(root, tuple(model for model in models if model.shared == str(root.models))) for root in find_roots()
    )


def measure_usage(now: float) -> Usage:
    """Count the bytes of everything that `lf` has on this disk; a file of several names counts once.

    Args:
        now: the time, in seconds since 1970.

    Raises:
        StoreError: the store cannot be read, or is on a disk that is not there.
    """
    models = paths.models_dir()
    installed = manifest.find_own()
    seen: set[tuple[int, int]] = set()
    with explained(models):
        found = survey(models)
        kinds = usage.measure_kinds(found, seen)
        garbage = [item for item in find_garbage(found, models, older_s=0, now=now) if not is_busy_now(item)]
    runtimes = [folder for folder in _list(paths.runtimes_dir()) if folder.is_dir()]
    number = sum(not folder.name.startswith(".") for folder in runtimes)
    store = _look(models, Share())
    kept = [model for model in installed if model.keeper]
    return Usage(
        models=models,
        kinds=kinds,
        kept=Share(len(kept), sum(model.size_bytes for model in kept)),
        runtimes=_look(paths.runtimes_dir(), Share(number, measure(paths.runtimes_dir(), seen).size_bytes)),
        caches=_look(paths.cache_dir(), Share(0, measure(paths.cache_dir(), seen).size_bytes)),
        garbage_bytes=sum(item.size_bytes for item in garbage),
        device=store.device,
        free_bytes=store.free_bytes,
        disk_bytes=store.disk_bytes,
        shared=_find_shared(),
        duplicates=usage.find_duplicates(usage.find_copies(installed), _find_copies_of_others()),
    )


def _look(folder: Path, share: Share) -> Place:
    """A folder, which need not be there yet, on its disk."""
    nearest = next(one for one in (folder, *folder.parents) if one.is_dir())
    disk = shutil.disk_usage(nearest)
    return Place(folder, share, nearest.stat().st_dev, disk.free, disk.total)


def _find_copies_of_others() -> tuple[usage.Copy, ...]:
    """Files of shared stores, and of other tools as far as these say their digests."""
    foreign = (
        usage.Copy(file.tool, file.path, file.size_bytes, file.sha256_announced, file.tool)
        for file in find_foreign_files()
        if file.sha256_announced is not None
    )
    return (*usage.find_copies(manifest.find_shared()), *foreign)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # there is none, or it cannot be read
        return []

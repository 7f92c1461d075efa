"""What nothing needs in the store, and removing it: decided by a look, decided again under the folder's lock.

Lock files stay: the first releases do not notice that a file has gone which they wait for, and they are a few bytes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst import paths
from localfirst.lock import is_busy
from localfirst.store import layout, manifest, removal
from localfirst.store.disk import explained
from localfirst.store.lock import try_hold
from localfirst.store.upkeep.survey import Extent, find_parts, find_temporary, is_superseded, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localfirst.store.upkeep.survey import Survey
    from localfirst.types import InstalledModel

WRITING_S = 3600.0
"""A temporary file or an empty folder younger than this may be in use: nobody locks for the moment that it lives."""

Kind = Literal["partial", "revision", "leftover", "runtime", "move"]


class Garbage(NamedTuple):
    """Something that nothing needs."""

    kind: Kind
    name: str
    path: Path
    size_bytes: int
    newest_at: float
    """When the newest of it was written, in seconds since 1970."""
    lock: Path | None = None
    """The lock file under which it may go."""


def find_garbage(found: Survey, models: Path, *, older_s: float, now: float) -> tuple[Garbage, ...]:
    """What of a store nothing needs and nobody has touched within `older_s` seconds, before any lock is asked.

    Args:
        found: what is in the store.
        models: the store.
        older_s: what is younger is spared; what is dated in the future is young.
        now: the time, in seconds since 1970.
    """
    items = [*_find_in_folders(found), *_find_workplaces(models), *_find_temporary(found, models)]
    return tuple(item for item in items if _is_old(item, older_s, now))


def is_busy_now(item: Garbage) -> bool:
    """Whether a process works on it."""
    return item.lock is not None and is_busy(item.lock)


def remove_garbage(item: Garbage) -> int | None:
    """Remove it if it still is what it was; the bytes freed, `None` where a process works on it.

    Raises:
        StoreError: it cannot be removed.
    """
    if item.lock is None:
        return _remove(item)
    with try_hold(item.lock) as free:
        return _remove(item) if free else None


def _remove(item: Garbage) -> int:
    with explained(item.path):
        if item.kind == "revision":
            return _remove_revision(item.path)
        if item.path.name == layout.PARTIAL and not (item.path.parent / layout.MANIFEST).exists():
            return 0  # of a download, meanwhile: an interrupted repair has taken the manifest away
        if item.path.name.startswith(".") or not item.path.is_dir():
            return _remove_part(item.path)
        if (item.path / layout.MANIFEST).exists():  # a model again, meanwhile
            return 0
        freed = sum(_remove_part(part) for part in find_parts(item.path))
        for folder in (item.path, item.path.parent, item.path.parent.parent):
            with suppress(OSError):  # something else is in it
                folder.rmdir()
        return freed


def _remove_revision(folder: Path) -> int:
    if not is_superseded(manifest.read_manifest(folder / layout.MANIFEST)):
        return 0
    return manifest.clear(folder) + removal.remove_folder(folder).freed_bytes


def _remove_part(path: Path) -> int:
    """A file, or a tree but for what an import has its files from."""
    if path.is_dir():
        return removal.remove_tree(path, _find_needed(manifest.find_own())).freed_bytes
    size = measure(path, set()).size_bytes
    path.unlink(missing_ok=True)
    return size


def _find_needed(models: Iterable[InstalledModel]) -> set[str]:
    return {os.path.realpath(Path(model.root) / file.path) for model in models for file in model.files}


def _is_old(item: Garbage, older_s: float, now: float) -> bool:
    unlocked = item.lock is None or not item.size_bytes
    spared_s = max(older_s, WRITING_S if unlocked else 0)
    return spared_s <= 0 or item.newest_at <= now - spared_s


def _find_in_folders(found: Survey) -> Iterator[Garbage]:
    kept = [leaf.model for leaf in found.leaves if leaf.model and leaf.model.keeper]
    needed = _find_needed(kept)
    unfinished = [leaf.full_name for leaf in found.leaves if leaf.model is None]
    for leaf in found.leaves:
        folder, lock = leaf.folder, layout.find_lock(leaf.folder)
        several = leaf.kind == "revision" or unfinished.count(leaf.full_name) > 1
        name = leaf.long_name if several else leaf.full_name
        if leaf.kind == "revision":
            yield Garbage("revision", name, folder, *_measure_unneeded([folder], needed), lock)
        elif leaf.kind in {"partial", "leftover"}:
            parts = find_parts(folder)
            extent = _measure_unneeded(parts or [folder], needed)
            if (parts and extent.size_bytes) or not _has_files(folder):
                yield Garbage("partial" if leaf.kind == "partial" else "leftover", name, folder, *extent, lock)
        elif leaf.kind == "model" and (partial := folder / layout.PARTIAL).is_dir():
            yield Garbage("leftover", name, partial, *measure(partial, set()), lock)


def _has_files(folder: Path) -> bool:
    """Whether there is more than empty folders, which a removal leaves that was killed at its very end."""
    return any(names for _, _, names in os.walk(folder))


def _measure_unneeded(parts: Iterable[Path], needed: set[str]) -> Extent:
    """How much of some trees can go: all but what imports have their files from."""
    seen = set[tuple[int, int]]()
    for path in map(Path, needed):
        with suppress(OSError):
            status = path.lstat()
            seen.add((status.st_dev, status.st_ino))
    extents = [measure(part, seen) for part in parts]
    return Extent(sum(one.size_bytes for one in extents), max(one.newest_at for one in extents))


def _find_workplaces(models: Path) -> Iterator[Garbage]:
    for name in layout.WORKPLACES:
        if (folder := models / f".{name}").is_dir():
            yield Garbage("leftover", name, folder, *measure(folder, set()), layout.find_record_lock(models, name))


def _find_temporary(found: Survey, models: Path) -> Iterator[Garbage]:
    """What writers that were killed left beside the files that they were to replace."""
    folders = [leaf.folder for leaf in found.leaves if leaf.kind == "model"]
    derived = [folder / layout.DERIVED for folder in folders]
    for folder in (*folders, *derived, models, paths.data_dir()):
        for path in find_temporary(folder):
            yield Garbage("leftover", path.name, path, *measure(path, set()))

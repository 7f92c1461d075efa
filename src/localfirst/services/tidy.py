"""Order in the store: removing what nothing needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.runtimes import unused
from localfirst.store import manifest, pointer, revisions
from localfirst.store.disk import explained, free_bytes
from localfirst.store.upkeep import gc, move
from localfirst.store.upkeep.gc import Garbage
from localfirst.store.upkeep.survey import measure, prune, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localfirst.errors import LfError
    from localfirst.types import Progress


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed, or (`dry_run`) would be. Sizes are bytes on the disk."""

    dry_run: bool
    removed: tuple[Garbage, ...]
    busy: tuple[Garbage, ...]
    """What a process works on."""
    unknown: tuple[Path, ...]
    """Files and folders in the store that are not this program's."""
    problems: tuple[LfError, ...]
    """Manifests that cannot be read: nothing of theirs is removed."""
    free_bytes: int
    """On the store's disk, now."""

    @property
    def freed_bytes(self) -> int:
        """The sum of what is removed."""
        return sum(item.size_bytes for item in self.removed)


def collect(*, older_s: float, dry_run: bool, now: float, report: Callable[[Progress], None]) -> Collected:
    """Remove what nothing needs and nobody works on.

    Args:
        older_s: spare what was touched within that many seconds.
        dry_run: remove nothing, only say what would go.
        now: the time, in seconds since 1970.
        report: told of waiting.

    Raises:
        StoreError: the store cannot be written, or is on a disk that is not there.
    """
    models = paths.models_dir()
    pointer.require_present(models)
    ended = _end_move(older_s=older_s, dry_run=dry_run, now=now, report=report)
    with explained(models):
        found = survey(models)
        items = gc.find_garbage(found, models, older_s=older_s, now=now)
    busy = [item for item in items if gc.is_busy_now(item)]
    removed = [item for item in items if item not in busy]
    if not dry_run:
        outcomes = [(item, gc.remove_garbage(item)) for item in removed]
        prune(models, until=now - gc.WRITING_S)
        revisions.forget_missing(manifest.find_own())
        busy += [item for item, freed in outcomes if freed is None]
        removed = [item._replace(size_bytes=freed) for item, freed in outcomes if freed is not None]
    removed += _remove_runtimes(older_s=older_s, dry_run=dry_run, now=now)
    return Collected(
        dry_run=dry_run,
        removed=(*ended, *removed),
        busy=tuple(busy),
        unknown=found.unknown,
        problems=manifest.find_damaged(),
        free_bytes=free_bytes(models),
    )


def _end_move(*, older_s: float, dry_run: bool, now: float, report: Callable[[Progress], None]) -> list[Garbage]:
    """What a killed move has left: after its switch the old place, before it the copies in the new one."""
    note = pointer.read_note()
    left = note.source or (note.target if note.fresh else None)
    if left is None or move.is_moving():
        return []
    extent = measure(left, set())
    if extent.newest_at > now - older_s and older_s > 0:
        return []
    if not dry_run:
        move.finish(report=report)
        extent = extent._replace(size_bytes=extent.size_bytes - measure(left, set()).size_bytes)
    return [Garbage("move", "a move that was not ended", left, *extent)]


def _remove_runtimes(*, older_s: float, dry_run: bool, now: float) -> list[Garbage]:
    items = []
    for folder in unused.find_unused():
        extent = measure(folder, set())
        if older_s > 0 and extent.newest_at > now - older_s:
            continue
        if dry_run or unused.remove_unused(folder):
            items.append(Garbage("runtime", folder.name.lstrip("."), folder, *extent))
    return items

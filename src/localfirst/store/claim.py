"""A model's folder for one process alone, in the store where it is now: it may be moved while a lock is waited for."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.store import layout, pointer
from localfirst.store.lock import hold
from localfirst.store.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localfirst.lock import Lease
    from localfirst.types import Progress


@contextmanager
def claim(
    find_folder: Callable[[], Path], what: str, report: Callable[[Progress], None], *, beating: bool = False
) -> Iterator[tuple[Path, Lease]]:
    """Hold the lock of the folder that `find_folder` gives, if it still gives it then; else it is asked again.

    Whoever holds this lock may write into the folder, even if the store is moved meanwhile: what is written there after
    the others is taken along when the lock is free.

    Args:
        find_folder: where the model belongs, while the store is where it is now.
        what: the model, for who waits.
        report: hears of waiting.
        beating: promise signs of life (see `lock.hold`).

    Raises:
        StoreError: the lock cannot be made, or the store is on a disk that is not there.
    """
    with _claim(find_folder, layout.find_lock, what, report, beating=beating) as claimed:
        yield claimed


@contextmanager
def claim_record(name: str, report: Callable[[Progress], None] = ignore) -> Iterator[Path]:
    """Hold the lock of a record of the store (`layout.RECORDS`) or another name's, and give the store where it is then.

    Raises:
        StoreError: the lock cannot be made, or the store is on a disk that is not there.
    """
    with _claim(paths.models_dir, lambda models: layout.find_record_lock(models, name), name, report) as (models, _):
        yield models


@contextmanager
def _claim(
    find_place: Callable[[], Path],
    find_lock: Callable[[Path], Path],
    what: str,
    report: Callable[[Progress], None],
    *,
    beating: bool = False,
) -> Iterator[tuple[Path, Lease]]:
    while True:
        place = find_place()
        path = find_lock(place)
        pointer.require_present(path.parent.parent)
        with ExitStack() as held:
            try:
                lease = held.enter_context(hold(path, what, report, beating=beating))
            except StoreError:
                if find_place() == place:
                    raise
                continue  # the old place has gone while its lock was waited for
            if find_place() == place:
                yield place, lease
                return

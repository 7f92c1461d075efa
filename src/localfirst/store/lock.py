"""One process at a time per model folder."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from localfirst import lock
from localfirst.store.disk import explained
from localfirst.types import Progress
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, what: str, report: Callable[[Progress], None], *, beating: bool = False) -> Iterator[lock.Lease]:
    """Hold the lock file `path`; while another process has it, wait and say which one.

    With `beating` the holder promises signs of life (see `lock.hold`). The store may be moved meanwhile: who has to be
    where it is uses `claim`.

    Raises:
        StoreError: the file cannot be made or locked.
    """

    def notice(text: str) -> None:
        report(Progress(what, 0, None, None, {"notice": text}))

    with ExitStack() as held:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting = "waiting for process {}, which works on it"
            told = lock.hold(path, lambda owner: notice(waiting.format(owner)), beating=beating, stale_s=lock.STALE_S)
            lease = held.enter_context(told)
        if lease.taken_over:
            notice(f"that process gave no sign of life for {format_seconds(lock.STALE_S)}; taking over")
        yield lease


@contextmanager
def try_hold(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if that takes no waiting; yields whether it does.

    Raises:
        StoreError: the file cannot be made or locked.
    """
    with ExitStack() as held:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            free = held.enter_context(lock.try_hold(path))
        yield free

"""One process at a time per model folder."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from localfirst import lock, paths
from localfirst.errors import StoreError
from localfirst.store.disk import explained
from localfirst.store.layout import LOCKS
from localfirst.types import Progress
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, what: str, report: Callable[[Progress], None], *, beating: bool = False) -> Iterator[lock.Lease]:
    """Hold the lock file `path`; while another process has it, wait and say which one.

    With `beating` the holder promises signs of life (see `lock.hold`).

    Raises:
        StoreError: the file cannot be made or locked, or the store was moved meanwhile.
    """
    _require_here(path)
    with hold_anywhere(path, what, report, beating=beating) as lease:
        _require_here(path)
        yield lease


def _require_here(path: Path) -> None:
    if path.parent.name == LOCKS and path.parent.parent != (models := paths.models_dir()):
        raise StoreError(
            "The store was moved to another place meanwhile", detail=str(models), hint="Run the same command again."
        )


@contextmanager
def hold_anywhere(
    path: Path, what: str, report: Callable[[Progress], None], *, beating: bool = False
) -> Iterator[lock.Lease]:
    """The same, wherever the store is: for who moves it, and who looks again where it is.

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

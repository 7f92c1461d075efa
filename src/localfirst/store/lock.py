"""One process at a time per model folder."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from localfirst import lock
from localfirst.store.disk import explained
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, what: str, report: Callable[[Progress], None]) -> Iterator[None]:
    """Hold the lock file `path`; while another process has it, wait and say which one.

    Raises:
        StoreError: the file cannot be made or locked.
    """

    def say_waiting(owner: str) -> None:
        report(Progress(what, 0, None, None, {"notice": f"waiting for process {owner}, which is fetching it"}))

    with ExitStack() as held:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock.hold(path, say_waiting))
        yield

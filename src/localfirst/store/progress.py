"""Progress of long steps, handed out at a pace that a terminal can draw."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

from localfirst.types import FileProgress, Progress
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Report = Callable[[Progress], None]

INTERVAL_S = 0.1
RATE_WINDOW_S = 3.0


def ignore(_: Progress) -> None:
    """Report to nobody."""


class Meter:
    """Bytes done of a known total; reports at most ten times a second, and notices at once.

    For several threads: what it reports comes one after another, so that whoever draws it needs no lock.
    """

    def __init__(
        self,
        what: str,
        total: int,
        report: Report,
        *,
        files: Mapping[str, int] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at nothing.

        Args:
            what: the name of the step, such as the model's.
            total: bytes in all.
            report: told of every progress and notice.
            files: the size of each file in bytes, in the order in which they come; where it is known.
            clock: seconds that never go back, whatever is done to the time of day.
        """
        self.what = what
        self.total = total
        self.done = 0
        self.retries = 0
        self._report = report
        self._clock = clock
        self._sizes = files
        self._numbers = {path: number for number, path in enumerate(files, start=1)}
        self._files: dict[str, int] = {}
        self._moved = 0
        """Bytes that came since the start; never less, even where some are thrown away."""
        self._samples: deque[tuple[float, int]] = deque()
        self._reported_at = float("-inf")
        self._lock = threading.RLock()  # a signal may end a report and report itself

    def add(self, count: int, file: str) -> None:
        """Count bytes of a file as they come; negative where bytes had to be thrown away."""
        with self._lock:
            self._moved += max(0, count)
            self._count(count, file)

    def found(self, count: int, file: str) -> None:
        """Count bytes of a file that were on this disk already: they are done, and say nothing of the speed."""
        with self._lock:
            self._count(count, file)

    def _count(self, count: int, file: str) -> None:
        self.done += count
        self._files[file] = self._files.get(file, 0) + count
        now = self._clock()
        ends = self.done == self.total or self._files[file] == self._sizes.get(file)
        if now - self._reported_at < INTERVAL_S and not ends:
            return
        self._reported_at = now
        self._samples.append((now, self._moved))
        while len(self._samples) > 2 and now - self._samples[1][0] > RATE_WINDOW_S:
            self._samples.popleft()
        self._report(self._make(self._find_rate(), file=self._find_file(file)))

    def notice(self, text: str) -> None:
        """Say something that the user should know: a substitution, another revision."""
        with self._lock:
            self._report(self._make(None, {"notice": text}))

    def retry(self, cause: str, wait_s: float | None = None) -> None:
        """Say that something failed and is tried again, in `wait_s` seconds where that is said."""
        again = "" if wait_s is None else f"; trying again in {format_seconds(wait_s)}"
        with self._lock:
            self.retries += 1
            self._samples.clear()  # the pause is not the connection's speed
            self._report(self._make(None, {"notice": cause + again, "cause": cause}, wait_s=wait_s or 0.0))

    def stall(self, quiet_s: float) -> None:
        """Say that nothing has come for a while."""
        with self._lock:
            self._report(
                self._make(None, {"notice": f"no data for {format_seconds(quiet_s)}; still waiting"}, wait_s=0.0)
            )

    def _make(
        self,
        rate_per_s: float | None,
        detail: Mapping[str, str] = MappingProxyType({}),
        *,
        file: FileProgress | None = None,
        wait_s: float | None = None,
    ) -> Progress:
        return Progress(self.what, self.done, self.total, rate_per_s, detail, file, self.retries, wait_s)

    def _find_file(self, path: str) -> FileProgress:
        size, number = self._sizes.get(path), self._numbers.get(path)
        return FileProgress(path, self._files[path], size, number, len(self._sizes) or None)

    def _find_rate(self) -> float | None:
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s and last > first else None

"""Progress of long steps, handed out at a pace that a terminal can draw."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[Progress], None]

INTERVAL_S = 0.1
RATE_WINDOW_S = 3.0


def ignore(_: Progress) -> None:
    """Report to nobody."""


class Meter:
    """Bytes done of a known total; reports at most ten times a second, and notices at once."""

    def __init__(self, what: str, total: int, report: Report) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._report = report
        self._reported_at = float("-inf")
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, count: int, file: str) -> None:
        """Count bytes of a file; negative where bytes had to be thrown away."""
        self.done += count
        now = time.monotonic()
        if now - self._reported_at < INTERVAL_S and self.done != self.total:
            return
        self._reported_at = now
        self._samples.append((now, self.done))
        while now - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()
        self._report(Progress(self.what, self.done, self.total, self._rate(), {"file": file}))

    def notice(self, text: str) -> None:
        """Say something that the user should know while waiting: a retry, a wait, a substitution."""
        self._report(Progress(self.what, self.done, self.total, None, {"notice": text}))

    def retry(self, cause: str) -> None:
        """Say that something failed and is tried again."""
        self.notice(cause)

    def _rate(self) -> float | None:
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s and last > first else None

"""Long steps, drawn while they last, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localfirst.cli.screen import clip, line, stderr_screen
from localfirst.cli.views.words import say_share
from localfirst.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from localfirst.cli.screen import Screen
    from localfirst.types import Progress

    Report = Callable[[Progress], None]

LINE_INTERVAL_S = 5.0


@contextmanager
def show_progress(*, quiet: bool, screen: Screen | None = None) -> Iterator[Report]:
    """Give a function to report to; what it drew as a bar is gone afterwards, what it wrote as lines stays."""
    screen = screen or stderr_screen()
    if quiet:
        yield lambda _: None
    elif screen.terminal:
        bar = _Bar(screen)
        try:
            yield bar.report
        finally:
            bar.stop()
    else:
        yield LineProgress(screen).report


def say_progress(progress: Progress) -> str:
    """`1.23 of 2.49 GB, 49 %, 12.3 MB/s, 1:42 left`: as much of it as is known."""
    parts = [_say_done(progress)]
    if progress.total:
        parts.append(f"{100 * progress.done // progress.total} %")
    if progress.rate_per_s:
        parts.append(f"{format_bytes(round(progress.rate_per_s))}/s")
        if progress.total:
            parts.append(f"{format_seconds(round((progress.total - progress.done) / progress.rate_per_s))} left")
    return ", ".join(part for part in parts if part)


def _say_done(progress: Progress) -> str:
    if progress.total is None:
        return format_bytes(progress.done) if progress.done else line(progress.detail.get("line"))
    return say_share(format_bytes(progress.done), format_bytes(progress.total))


class LineProgress:
    """A line for each notice, and one every few seconds for the step that goes on."""

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._next_at: dict[str, float] = {}

    def report(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        name = line(progress.what)
        if notice := progress.detail.get("notice"):
            self._screen.write_lines([f"{name}: {line(notice)}"])
            return
        now, text = self._clock(), say_progress(progress)
        if text and (now >= self._next_at.get(name, now) or progress.done == progress.total):
            self._screen.write_lines([f"{name}: {text}"])
            self._next_at[name] = now + LINE_INTERVAL_S


class _Bar:
    """A bar for each step; Rich is imported when the first report comes, since most commands never have one."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def report(self, progress: Progress) -> None:
        from rich.text import Text

        bars = self._bars or self._start()
        name = line(progress.what)
        if notice := progress.detail.get("notice"):
            bars.console.print(Text(f"{name}: {line(notice)}"), soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = bars.add_task(name, total=None, state="")
        room = (self._screen.width or 80) // 2
        bars.update(
            self._tasks[name],
            completed=progress.done,
            total=progress.total,
            state=clip(say_progress(progress), room),
        )

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _start(self) -> Bars:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        bar = BarColumn(bar_width=None, style="dim", complete_style="green", finished_style="green", pulse_style="dim")
        columns = (
            TextColumn("{task.description}", markup=False),
            bar,
            TextColumn("{task.fields[state]}", markup=False),
        )
        console = Console(file=self._screen.stream, markup=False, highlight=False, emoji=False)
        self._bars = Progress(*columns, console=console, transient=True, expand=True)
        self._bars.start()
        return self._bars

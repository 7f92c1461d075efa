"""Long steps, drawn while they last: a bar on a terminal, a line every few seconds elsewhere, events for programs."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localfirst.cli.screen import clip, line, stderr_screen, stdout_screen, wrap
from localfirst.cli.views.progress import Moment, progress_to_json, render_moment, say_log_line, say_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType
    from rich.live import Live

    from localfirst.cli.screen import Screen
    from localfirst.store.progress import Report
    from localfirst.types import Progress

__all__ = [
    "EventProgress",
    "LineProgress",
    "measure_until_stopped",
    "say_progress",
    "show_events",
    "show_progress",
    "show_status",
]

LINE_INTERVAL_S = 5.0
EVENT_INTERVAL_S = 0.25
_FRAMES_PER_S = 8


@contextmanager
def show_progress(*, quiet: bool, screen: Screen | None = None) -> Iterator[Report]:
    """Give a function to report to; what it drew as a bar is gone afterwards, what it wrote as lines stays."""
    screen = screen or stderr_screen()
    if quiet:
        yield lambda _: None
    elif screen.cursor:
        bar = BarProgress(screen)
        try:
            yield bar.report
        finally:
            bar.stop()
    else:
        yield LineProgress(screen).report


@contextmanager
def show_status(*, quiet: bool, screen: Screen | None = None) -> Iterator[Report]:
    """Give a function to report to that writes what comes next over what came before, and does nothing in between.

    For measurements: a bar that is drawn eight times a second takes from what is measured.
    """
    screen = screen or stderr_screen()
    if quiet:
        yield lambda _: None
        return
    if not screen.cursor:
        yield LineProgress(screen).report
        return

    def report(progress: Progress) -> None:
        screen.write(f"\r\x1b[K{clip(line(progress.detail.get('line')), (screen.width or 80) - 1)}")

    try:
        yield report
    finally:
        screen.write("\r\x1b[K")


def measure_until_stopped(measure: Callable[[Report], None], *, quiet: bool) -> int:
    """Measure, and show what comes next; the exit code of the signal that ended it (Ctrl-C, SIGTERM), else 0.

    What was measured until then is the measurement's to keep.
    """
    try:
        with show_status(quiet=quiet) as report:
            measure(report)
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:  # by SIGTERM
        return int(ended.code or 0)
    return 0


@contextmanager
def show_events() -> Iterator[Report]:
    """Give a function to report to that writes a JSON object for each event, on a line of its own."""
    yield EventProgress(stdout_screen()).report


class EventProgress:
    """An object for each notice, and one a few times a second for the step that goes on."""

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._next_at = float("-inf")

    def report(self, progress: Progress) -> None:
        """Write an event if it is time for one."""
        now = self._clock()
        if "notice" not in progress.detail:
            if now < self._next_at and progress.done != progress.total:
                return
            self._next_at = now + EVENT_INTERVAL_S
        self._screen.write(json.dumps(progress_to_json(progress)) + "\n")


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
        now, text = self._clock(), say_log_line(progress)
        if text and (now >= self._next_at.get(name, now) or progress.done == progress.total):
            self._screen.write_lines([f"{name}: {text}"])
            self._next_at[name] = now + LINE_INTERVAL_S


class BarProgress:
    """The step that goes on, drawn several times a second; Rich is imported when the first report comes.

    A notice stays above it; one that is over when the step goes on is shown below it until then.
    """

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._live: Live | None = None
        self._latest: Progress | None = None
        self._moved_at = 0.0
        self._waiting: str | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        """Remember how far the step is; it is drawn when its time comes."""
        live, notice = self._live or self._start(), progress.detail.get("notice")
        with self._lock:
            if notice is None:
                if self._latest is None or progress.done != self._latest.done or progress.what != self._latest.what:
                    self._moved_at, self._waiting = self._clock(), None
                self._latest = progress
            elif progress.wait_s is not None:
                self._latest = (self._latest or progress)._replace(retries=progress.retries)
                if cause := progress.detail.get("cause"):
                    self._waiting, self._until = cause, self._clock() + progress.wait_s
                return
        if notice is not None:
            from rich.text import Text

            for row in wrap(f"{line(progress.what)}: {line(notice)}", self._screen.width):
                live.console.print(Text(row), soft_wrap=True)

    def stop(self) -> None:
        """Take away what was drawn."""
        if self._live is not None:
            self._live.stop()

    def draw(self) -> list[str]:
        """The lines as they are now."""
        with self._lock:
            if self._latest is None:
                return []
            now = self._clock()
            moment = Moment(self._latest, now - self._moved_at, self._waiting, self._until - now)
        return render_moment(moment, self._screen)

    def _start(self) -> Live:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        def render() -> RenderableType:
            return Text("\n").join(Text.from_ansi(row, no_wrap=True, overflow="crop") for row in self.draw())

        console = Console(file=self._screen.stream, markup=False, highlight=False, emoji=False)
        self._live = Live(
            get_renderable=render,
            console=console,
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()
        return self._live

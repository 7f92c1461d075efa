"""A long step while it lasts: as lines of a terminal, as one line of a log, as events for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.cli.screen import clip, line, measure, pad
from localfirst.cli.views.words import say_share
from localfirst.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from localfirst.cli.screen import Screen
    from localfirst.types import FileProgress, Progress

STALL_S = 5.0
"""Silence after which it is said that nothing comes."""
_BAR_MIN, _BAR_MAX = 10, 40
_FULL, _REST = "━", "─"
_ASCII = ("=", "-")
_GAP = "  "


class Moment(NamedTuple):
    """What is known of a step now."""

    progress: Progress
    quiet_s: float = 0.0
    """Since the last byte."""
    waiting: str | None = None
    """What the step waits for."""
    wait_left_s: float = 0.0


def say_progress(progress: Progress) -> str:
    """`1.23 of 2.49 GB, 49 %, 12.3 MB/s, 1:42 left`: as much of it as is known."""
    parts = [_say_done(progress), _say_percent(progress), _say_rate(progress)]
    parts.append(_say_left(progress))
    return ", ".join(part for part in parts if part)


def say_log_line(progress: Progress) -> str:
    """The same with the file that is on its way, for a log."""
    file = progress.file
    said = say_progress(progress)
    many = file is not None and (file.of or 0) > 1 and progress.done != progress.total
    return f"{said}, {_name_file(file)}" if many and file is not None else said


def find_left(progress: Progress) -> float | None:
    """Seconds until the end, where anything can be said of it."""
    if not progress.rate_per_s or progress.total is None:
        return None
    return (progress.total - progress.done) / progress.rate_per_s


def _say_done(progress: Progress) -> str:
    if progress.total is None:
        return format_bytes(progress.done) if progress.done else line(progress.detail.get("line"))
    return say_share(format_bytes(progress.done), format_bytes(progress.total))


def _say_percent(progress: Progress) -> str:
    return f"{100 * progress.done // progress.total} %" if progress.total else ""


def _say_rate(progress: Progress) -> str:
    return f"{format_bytes(round(progress.rate_per_s))}/s" if progress.rate_per_s else ""


def _say_left(progress: Progress) -> str:
    left_s = find_left(progress)
    return "" if left_s is None else f"{_say_whole(round(left_s))} left"


def _say_whole(seconds: int) -> str:
    """Seconds that are counted: `7 s`, `1:15`."""
    return f"{seconds} s" if seconds < 60 else format_seconds(seconds)


def _name_file(file: FileProgress) -> str:
    """`model.onnx.data (2 of 5)`."""
    number = f" ({file.number} of {file.of})" if file.number and file.of else ""
    return f"{line(file.path)}{number}"


def render_moment(moment: Moment, screen: Screen) -> list[str]:
    """Up to four lines: the name, the bar and its numbers, the file, and what is being waited for."""
    progress, width = moment.progress, (screen.width or 80) - 1
    waiting = _say_waiting(moment)
    lines = _render_step(progress._replace(rate_per_s=None) if waiting else progress, width, screen)
    if progress.file is not None and (progress.file.of or 0) > 1:
        lines.append(_render_file(progress.file, width))
    if waiting:
        lines.append(screen.paint(clip(_GAP + waiting, width), "yellow"))
    elif progress.retries:
        lines.append(screen.paint(_GAP + _say_retries(progress.retries), "dim"))
    return lines


def _render_step(progress: Progress, width: int, screen: Screen) -> list[str]:
    """`phi-4-mini  ━━━━━━━━───────   49 %  1.23 of 2.49 GB  12.3 MB/s  1:42 left`; a long name has its own line."""
    name = line(progress.what)
    if progress.total is None:
        return [clip(f"{name}: {say_progress(progress)}", width)]
    numbers = _GAP.join(
        (
            pad(_say_percent(progress), 5, right=True),
            pad(_say_done(progress), 17),
            pad(_say_rate(progress), 9),
            pad(_say_left(progress), 12),
        )
    )
    room = width - measure(name) - len(numbers) - 2 * len(_GAP)
    if room >= _BAR_MIN:
        return [f"{name}{_GAP}{_draw_bar(progress, room, screen)}{_GAP}{numbers}"]
    room = width - len(numbers) - len(_GAP)
    if room >= _BAR_MIN:
        return [clip(name, width), f"{_draw_bar(progress, room, screen)}{_GAP}{numbers}"]
    return [clip(name, width), clip(say_progress(progress), width)]


def _draw_bar(progress: Progress, room: int, screen: Screen) -> str:
    width = min(room, _BAR_MAX)
    share = min(1.0, max(0.0, progress.done / progress.total)) if progress.total else 1.0
    filled = int(width * share)
    full, rest = (_FULL, _REST) if _can_show(screen, _FULL + _REST) else _ASCII
    return screen.paint(full * filled, "green") + screen.paint(rest * (width - filled), "dim")


def _can_show(screen: Screen, text: str) -> bool:
    try:
        text.encode(getattr(screen.stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _render_file(file: FileProgress, width: int) -> str:
    """`  2 of 5  cpu_and_mobile/model.onnx.data  310 of 982 MB`; of a long path the end."""
    number = f"{file.number} of {file.of}{_GAP}" if file.number else ""
    done = _GAP + (format_bytes(file.done) if file.total is None else _say_share(file.done, file.total))
    path, room = line(file.path), width - len(_GAP + number + done)
    if measure(path) > room:
        path = "..." + path[-max(room - 3, 8) :]
    return f"{_GAP}{number}{path}{done}"


def _say_share(done: int, total: int) -> str:
    return say_share(format_bytes(done), format_bytes(total))


def _say_waiting(moment: Moment) -> str:
    """What is being waited for, with the seconds that are left or have passed."""
    tried = f" ({_say_retries(moment.progress.retries)})" if moment.progress.retries > 1 else ""
    if moment.waiting is not None and moment.wait_left_s > 0:
        return f"{line(moment.waiting)}; trying again in {_say_whole(math.ceil(moment.wait_left_s))}{tried}"
    if moment.quiet_s >= STALL_S:
        return f"no data for {_say_whole(math.floor(moment.quiet_s))}{tried}"
    return f"{line(moment.waiting)}; trying again{tried}" if moment.waiting is not None else ""


def _say_retries(count: int) -> str:
    return f"{count} {'retry' if count == 1 else 'retries'} so far"


def progress_to_json(progress: Progress) -> dict[str, Any]:
    """An event of `lf pull --json`: a notice, or how far it is."""
    if notice := progress.detail.get("notice"):
        return {"event": "notice", "model": progress.what, "text": line(notice)}
    left_s, file = find_left(progress), progress.file
    return {
        "event": "progress",
        "model": progress.what,
        "done_bytes": progress.done,
        "total_bytes": progress.total,
        "rate_bytes_per_s": round(progress.rate_per_s) if progress.rate_per_s else None,
        "left_s": round(left_s, 1) if left_s is not None else None,
        "file": file.path if file else None,
        "file_done_bytes": file.done if file else None,
        "file_total_bytes": file.total if file else None,
        "retries": progress.retries,
    }

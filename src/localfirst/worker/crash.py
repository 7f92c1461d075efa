"""A dead worker in words: which signal, the last lines of its log, and what to type next."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from localfirst.errors import TemplateError, WorkerCrashError
from localfirst.terminal import make_inert
from localfirst.worker.deadline import RENDER_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.errors import LfError

LOG_LINES = 12
_LOG_TAIL_BYTES = 64 * 1024

HINTS = {
    "SIGKILL": "If memory ran out, run with a smaller `--ctx` or choose another model: `lf model list --fits`",
    "SIGILL": "The engine uses an instruction that this processor lacks; run `lf runtime test`",
    "SIGSEGV": "Check the model with `lf model verify` and the engine with `lf runtime test`",
    "SIGABRT": "Check the model with `lf model verify` and the engine with `lf runtime test`",
    "SIGBUS": "The model file was truncated or its disk failed while it was in use; run `lf model verify`",
}
"""What to type after a death by signal. Source: signal(7)."""

LAST_WORDS = {"Unknown option: -P": "The interpreter is too old; name one of Python 3.11 or newer"}
"""What to type after other deaths, by words of the log. Source: CPython's command line, `-P` since 3.11."""

LATE_TEMPLATE = TemplateError(
    f"The model's chat template did not end in {RENDER_TIMEOUT_S:.0f} s",
    hint="The template comes with the model's files; see its other builds with `lf model explain`",
)
ALARM = -getattr(signal, "SIGALRM", 0)
LATE = "Timeout (0:"
"""How `faulthandler` begins to tell of a deadline, and exits with 1, where there is no such signal."""


def explain(code: int, log: Path) -> LfError:
    """The error for a worker that ended with `code` (negative: a signal)."""
    text = _read_end(log)
    if code == ALARM != 0 or (ALARM == 0 and code == 1 and LATE in text):
        return LATE_TEMPLATE
    detail = _find_last_lines(text)
    if code >= 0:
        hint = next((hint for words, hint in LAST_WORDS.items() if words in (detail or "")), None)
        return WorkerCrashError(f"The worker ended with exit code {code}", detail=detail, hint=hint)
    name = name_signal(-code)
    return WorkerCrashError(f"The worker died of {name}", detail=detail, hint=HINTS.get(name))


def name_signal(number: int) -> str:
    """`11` -> `SIGSEGV`; a number that the platform does not know stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def read_tail(log: Path) -> str | None:
    """The last lines of a log, made inert; `None` if there are none."""
    return _find_last_lines(_read_end(log))


def _read_end(log: Path) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _find_last_lines(text: str) -> str | None:
    lines = [line for line in make_inert(text).splitlines() if line.strip()]
    return "\n".join(lines[-LOG_LINES:]) or None

"""An end by force for what may never end, such as a model's template, also in native code that keeps Python's lock.

The process ends itself. Its parent need not be told what it is doing, which would wake it before each answer.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

RENDER_TIMEOUT_S = 10.0
"""A template ends in milliseconds."""


def prepare() -> None:
    """Let a deadline end this process, whose parent may have ignored or blocked its signal, which is inherited."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


@contextmanager
def ending_within(seconds: float) -> Generator[None, None, None]:
    """End this process if what is done here takes longer. There is one deadline at a time."""
    if sys.platform == "win32":  # a thread of C, which needs no lock of Python's either
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if sys.platform == "win32":
            faulthandler.cancel_dump_traceback_later()
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)

"""The streams that a process begins with, where whoever started it closed some (services, cron, `>&-`)."""

from __future__ import annotations

import os
import sys

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_missing() -> None:
    """Open the null device in place of every standard stream that is closed.

    Else the number of a closed one goes to the next file that is opened, and what a child process prints goes there.
    """
    for name, mode in _MODES.items():
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the one of the closed stream
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))

"""Short turns on the processor, for threads that pass on what an engine says.

An engine's threads compute for as long as they are let, in turns of 3 ms and more. Where they have every core, a thread
that is woken to pass on a word waits for the end of such a turn, and so does the next one in line. Linux, from 6.12 on,
lets a thread ask for shorter turns, for which it gets them sooner: others are interrupted for it, and its share stays
what it was. Source: https://docs.kernel.org/scheduler/sched-eevdf.html, sched_setattr(2).
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from contextlib import suppress

TURN_NS = 100_000
"""The shortest that Linux grants."""
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""The number of `sched_setattr`, which C libraries lack. Source: Linux, `unistd_64.h` of either architecture."""
_ATTRIBUTES = "IIQiIQQQ"
"""Size, policy, flags, nice, priority, runtime, deadline, period: `struct sched_attr`, in its first version."""
_RESET_ON_FORK = 1
"""No thread that this one starts, an engine's least of all, has short turns as well."""


def ask_for_short_turns() -> None:
    """Let this thread run soon after it is woken, where the system can; it should never compute for long.

    One that was given a policy or a preference of its own keeps it: whoever did so knows why.
    """
    number = _SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    with suppress(OSError, ImportError, AttributeError):  # C libraries and sandboxes that lack a part of it
        import ctypes  # noqa: PLC0415 - 5 ms

        nice = os.getpriority(os.PRIO_PROCESS, 0)  # else it would be set as well
        if os.sched_getscheduler(0) != os.SCHED_OTHER or nice < 0:  # which those that it starts would not inherit
            return
        size = struct.calcsize(_ATTRIBUTES)
        attributes = struct.pack(_ATTRIBUTES, size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, TURN_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)  # where that is refused, turns stay as they are

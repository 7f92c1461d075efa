"""Runs a command and ends it, with everything that it started, when standard input closes: when the worker is gone.

Run by path, as a process of its own between the worker and a server program; imports nothing but the standard library.
However the worker ends, its end of the pipe closes. Should this process itself be killed, Linux kills the server
(`PR_SET_PDEATHSIG`, which counts from the thread that started it: a worker's threads come and go, this one stays), and
so does Windows (a job that ends with its last handle). Sources: prctl(2); "Job Objects" in Microsoft's Win32 documents.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

GRACE_S = 3.0
"""What a server has to end by itself, so that it frees a GPU's memory and its shared memory in order."""
LOADING_GRACE_S = 0.2
"""The same for one that is not said to be ready: there is nothing to finish yet, and somebody waits for its end."""
PR_SET_PDEATHSIG = 1
KILL_ON_JOB_CLOSE = 0x2000
EXTENDED_LIMITS = 9
LIMITS_BYTES = {8: 144, 4: 112}
"""Size of `JOBOBJECT_EXTENDED_LIMIT_INFORMATION` by that of a pointer; its third field, at byte 16, are the flags."""


CANNOT_EXECUTE = 126
"""As shells exit then. Source: POSIX, "Exit Status for Commands"."""


def main(command: list[str]) -> None:
    """Run the command; exit as it does, 128 and its number for a signal."""
    try:
        child = _start(command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_EXECUTE)
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    _end(child, hard=True)
    os._exit(code if code >= 0 else 128 - code)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        _enter_job()
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # One thread so far: what runs between fork and exec can find no lock held.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - see above
    )


def _watch(child: subprocess.Popen[bytes]) -> None:
    """Whatever is written to standard input says that the server is ready."""
    is_ready = sys.stdin.buffer.read()
    _end(child, hard=False)
    time.sleep(GRACE_S if is_ready else LOADING_GRACE_S)
    _end(child, hard=True)


def _end(child: subprocess.Popen[bytes], *, hard: bool) -> None:
    """End the command and all that is left of its group; on Windows the job ends what it started."""
    if sys.platform == "win32":
        child.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
        os.killpg(child.pid, signal.SIGKILL if hard else signal.SIGTERM)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _enter_job() -> None:
    """Put this process, and so whatever it starts, into a job that ends when this process does."""
    kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    job = ctypes.c_void_p(kernel.CreateJobObjectW(None, None))
    limits = bytearray(LIMITS_BYTES[ctypes.sizeof(ctypes.c_void_p)])
    limits[16:20] = KILL_ON_JOB_CLOSE.to_bytes(4, "little")
    kernel.SetInformationJobObject(job, EXTENDED_LIMITS, bytes(limits), len(limits))
    kernel.AssignProcessToJobObject(job, ctypes.c_void_p(kernel.GetCurrentProcess()))


if __name__ == "__main__":
    main(sys.argv[1:])

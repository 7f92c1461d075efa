"""Run an installer's command: its lines as they come, and an end to it when it hangs or the user leaves."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from localfirst.inheritance import STEERING, inherit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

_POLL_S = 0.2  # a wait for a queue cannot be interrupted on Windows; this is how long Ctrl-C may take there


@dataclass(frozen=True, slots=True)
class Limits:
    """When to give up on a command, in seconds.

    pip and uv say nothing while one file downloads, and end a dead connection themselves: silence is long.
    """

    silence_s: float = 900
    total_s: float = 3600


USUAL_LIMITS = Limits()
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and all that it said on both streams."""

    ok: bool
    lines: tuple[str, ...]


def run_command(  # noqa: PLR0913 - one keyword per thing that a process is given
    argv: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    keep_open: tuple[int, ...] = (),
    settings: Mapping[str, str] = NO_SETTINGS,
    limits: Limits = USUAL_LIMITS,
    tied: bool = False,
) -> Outcome:
    """Run a command in a folder until it ends; a failure is an outcome, with the reason as its last line.

    It and its children are killed when it is silent or runs too long, and when an exception (Ctrl-C) passes through
    here. `keep_open` are descriptors that it inherits, where the system has that (not Windows); `settings` are added to
    its environment. With `tied` its standard input is a pipe that ends with this process, however that dies.
    """
    posix = os.name == "posix"
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=inherit(os.environ, leave=STEERING) | dict(settings),
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=posix,  # a group of its own, to be killed with its children
            pass_fds=keep_open if posix else (),
        )
    except OSError as error:
        return Outcome(ok=False, lines=(f"{argv[0]}: {error.strerror}",))
    stream = cast("IO[str]", process.stdout)
    arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(stream, arriving), daemon=True)
    reader.start()
    lines: list[str] = []
    ended = False
    try:
        complaint = _follow(arriving, lines, on_line, limits)
        ended = complaint is None
    finally:
        if not ended:
            _kill(process)
        process.wait()
        reader.join()
        stream.close()
        if process.stdin is not None:
            process.stdin.close()
    if complaint is None and process.returncode < 0:
        complaint = f"ended by signal {-process.returncode}"
    if complaint is not None:
        lines.append(complaint)
    return Outcome(ok=ended and process.returncode == 0, lines=tuple(lines))


def _read_lines(stream: IO[str], arriving: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        arriving.put(line.rstrip())
    arriving.put(None)


def _follow(
    arriving: queue.SimpleQueue[str | None],
    lines: list[str],
    on_line: Callable[[str], None],
    limits: Limits,
) -> str | None:
    """Take lines until the stream ends, then return `None`; else return why the command must be stopped."""
    start = last = time.monotonic()
    while True:
        now = time.monotonic()
        if now - start > limits.total_s:
            return f"stopped: it took more than {limits.total_s:g} s"
        if now - last > limits.silence_s:
            return f"stopped: it said nothing for {limits.silence_s:g} s"
        try:
            line = arriving.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if line is None:
            return None
        last = time.monotonic()
        if line:
            lines.append(line)
            on_line(line)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a command with its children; the leader is not waited for yet, so its number is still its own."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()

"""The parent's side of a worker: start, load, answer, cancel, stop; a crash becomes a typed error.

Knows the frames and the process, no engine and no template. One `Worker` may be used by several threads.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from localfirst.backends.base import ignore
from localfirst.errors import EngineError, LfError, WorkerCrashError
from localfirst.paths import package_dir
from localfirst.worker import crash, protocol
from localfirst.worker.environment import make_environment
from localfirst.worker.holder import CLOSE_TIMEOUT_S, Holder, Reply
from localfirst.worker.taken import read_taken

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from io import BufferedReader

    from localfirst.backends.base import LoadedInfo

LOAD_TIMEOUT_S = 900.0
"""A model of 100 GB from a slow disk; an engine that hangs is stopped."""
LOOK_TIMEOUT_S = 20.0
"""A driver that wakes a sleeping GPU takes a second or two; one that hangs is not waited for."""
READ_BYTES = 64 * 1024
_AT_ONCE_BYTES = getattr(select, "PIPE_BUF", 0)
"""What a pipe that takes anything takes without waiting. Source: pipe(7)."""

FOREIGN = WorkerCrashError(
    "What was started as the engine's interpreter does not speak as one",
    hint="Name a Python of 3.11 or newer in the engine's `LF_RUNTIME_...` variable, or unset it: `lf runtime list`",
)
LATE_LOAD = EngineError(f"The engine did not load the model in {LOAD_TIMEOUT_S:.0f} s")
LATE_LOOK = EngineError(f"The engine did not say in {LOOK_TIMEOUT_S:.0f} s which devices it sees")


class Worker(Holder):
    """A running worker process. Use it as a context manager; leaving it ends the process."""

    def __init__(self, python: str) -> None:
        """Start the process in the interpreter `python`.

        Raises:
            WorkerCrashError: the interpreter could not be started.
        """
        super().__init__()
        self._folder = tempfile.mkdtemp(prefix="lf-worker-")
        self._log = Path(self._folder, "log")
        self._write_lock = threading.Lock()
        self._killed_with: LfError | None = None
        self._taken: frozenset[int] | None = None
        """What it took up, once it is closed and its folder is no more."""
        own = Path(python) == Path(sys.executable)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [python, "-P", str(package_dir() / "worker" / "bootstrap.py")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=make_environment(os.environ, temporary=self._folder, own_interpreter=own),
                    start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
                )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise WorkerCrashError(f"The interpreter `{python}` could not be started", detail=str(error)) from error
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("BufferedReader", self._process.stdout)
        self._unread: list[bytes] = []
        """The beginning of a frame, as it came."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader = threading.Thread(target=self._read_events, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def load(self, request: protocol.Load, report: Callable[[str, bool], None] = ignore) -> LoadedInfo:
        """Load a model and wait for it; `report` is told how far an engine is that takes minutes.

        Raises:
            ModelFileError, EngineError: as the backend says.
            RuntimeMissingError: the interpreter cannot import the engine.
            WorkerCrashError: the process died.
        """
        reply = Reply(self, request, cancellable=False)
        return reply.wait_for(protocol.Loaded, LOAD_TIMEOUT_S, LATE_LOAD, report).info

    def look(self, backend: str, program: str | None = None) -> protocol.Seen:
        """The devices that the engine of `backend` sees, besides the CPU, and what it says of its build.

        Whoever leaves before (Ctrl-C, any exception) ends the process, as with `load`: no engine can be interrupted.

        `program` is the engine, where that is one.

        Raises:
            EngineError: it does not come up, or does not answer in time.
            WorkerCrashError: the process died.
        """
        reply = Reply(self, protocol.Look(backend, program), cancellable=False)
        return reply.wait_for(protocol.Seen, LOOK_TIMEOUT_S, LATE_LOOK)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the process: politely by closing its pipe, then by force."""
        try:
            self._stdin.close()
            self._process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1)
        self._taken = read_taken(self._folder)
        if self._loop is not None:  # which may turn no more
            self.tell_gone()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, error: LfError) -> None:
        """End the process by force; what is in flight fails with `error`."""
        self._killed_with = error
        self._process.kill()

    def send(self, request: protocol.Request, request_id: int) -> None:
        """Write one frame.

        Raises:
            WorkerCrashError: the process is gone.
        """
        frame = protocol.encode(request, request_id)
        try:
            with self._write_lock:
                self._stdin.write(frame)
                self._stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed on our side
            raise self.explain_death() from error

    def send_at_once(self, request: protocol.Request, request_id: int) -> bool:
        """Write one frame, if nothing has to be waited for; whether it was written."""
        frame = protocol.encode(request, request_id)
        if len(frame) > _AT_ONCE_BYTES or not self._write_lock.acquire(blocking=False):
            return False
        try:
            waiting = select.poll()
            waiting.register(self._stdin, select.POLLOUT)
            if waiting.poll(0) != [(self._stdin.fileno(), select.POLLOUT)]:
                return False
            self._stdin.write(frame)
            self._stdin.flush()
        except (OSError, ValueError):
            return False
        else:
            return True
        finally:
            self._write_lock.release()

    def has_taken(self, request_id: int) -> bool:
        """Whether the process, which is gone, took a request up."""
        return request_id in (read_taken(self._folder) if self._taken is None else self._taken)

    def explain_death(self) -> LfError:
        """The error for a process that is gone: why it was killed, or its signal and the end of its log."""
        try:
            code = self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return self._killed_with or crash.explain(code, self._log)

    def read_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a loop read what the process says, from its next words on: no thread stands between, where none has to.

        Events are then given to those who wait by the loop's thread.
        """
        if sys.platform != "win32":  # whose loop reads no pipes
            self._loop = loop

    def _read_events(self) -> None:
        """Read in a thread."""
        while self._read_some():
            if (loop := self._loop) is not None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(loop.add_reader, self._stdout, self._read_in_loop, loop)
                    return
        self._end()

    def _read_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._read_some():
            loop.remove_reader(self._stdout)
            threading.Thread(target=self._end, daemon=True).start()  # it waits for the process

    def _read_some(self) -> bool:
        """Pass on what came meanwhile; whether more may come."""
        data = self._stdout.read1(READ_BYTES)
        *ended, rest = data.split(b"\n")
        for line in ended:
            frame = b"".join((*self._unread, line))
            self._unread.clear()
            try:
                request_id, event = protocol.decode_event(frame)
            except (ValueError, KeyError, TypeError):
                self.kill(FOREIGN)
                return False
            self.pass_on(request_id, event)
        self._unread.append(rest)
        return bool(data)

    def _end(self) -> None:
        """Tell those who wait that the process is gone, once it is."""
        self._stdout.close()
        self._process.wait()
        self.tell_gone()

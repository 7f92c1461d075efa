"""The parent's side of a worker: start, load, answer, cancel, stop; a crash becomes a typed error.

Knows the frames and the process, no engine and no template. One `Worker` may be used by several threads.
"""

from __future__ import annotations

import itertools
import os
import queue
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypeVar, cast

from localfirst.backends.base import ignore
from localfirst.conversation import Answer, FinishReason, TextDelta, Timings, ToolCall, Usage
from localfirst.errors import EngineError, LfError, TemplateError, WorkerCrashError, error_for
from localfirst.paths import package_dir
from localfirst.worker import crash, protocol
from localfirst.worker.environment import make_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import LoadedInfo

    Put = Callable[[protocol.Event | None], None]

RENDER_TIMEOUT_S = 10.0
"""A template ends in milliseconds; one that loops for ever is stopped with its process."""
LOAD_TIMEOUT_S = 900.0
"""A model of 100 GB from a slow disk; an engine that hangs is stopped."""
LOOK_TIMEOUT_S = 20.0
"""A driver that wakes a sleeping GPU takes a second or two; one that hangs is not waited for."""
CANCEL_TIMEOUT_S = 5.0
"""An engine that does not see a cancel within this time is stopped with its process."""
CLOSE_TIMEOUT_S = 3.0
"""A worker whose pipe is closed ends in milliseconds, unless its engine keeps the interpreter to itself."""
ABANDON_TIMEOUT_S = 0.5
"""The same for one whose model nobody waits for any longer: it ends the program that it is starting, if any."""
_POLL_S = 0.1
"""How long a wait may be deaf to `Reply.cancel`, and on Windows to Ctrl-C."""
_AT_ONCE_BYTES = getattr(select, "PIPE_BUF", 0)
"""What a pipe that takes anything takes without waiting. Source: pipe(7)."""
_Single = TypeVar(
    "_Single", protocol.Loaded, protocol.Seen, protocol.Counted, protocol.Tokens, protocol.Embedded, protocol.Scored
)
Heard = (
    TextDelta
    | ToolCall
    | Answer
    | protocol.Loaded
    | protocol.Seen
    | protocol.Counted
    | protocol.Tokens
    | protocol.Embedded
    | protocol.Scored
)
"""What is asked for, and not only how far it is."""

FOREIGN = WorkerCrashError(
    "What was started as the engine's interpreter does not speak as one",
    hint="Name a Python of 3.11 or newer in the engine's `LF_RUNTIME_...` variable, or unset it: `lf runtime list`",
)
LATE_LOAD = EngineError(f"The engine did not load the model in {LOAD_TIMEOUT_S:.0f} s")
LATE_LOOK = EngineError(f"The engine did not say in {LOOK_TIMEOUT_S:.0f} s which devices it sees")
LATE_TEMPLATE = TemplateError(
    f"The model's chat template did not end in {RENDER_TIMEOUT_S:.0f} s",
    hint="The template comes with the model's files; see its other builds with `lf model explain`",
)
LATE_CANCEL = EngineError("The engine did not stop when asked to, so its process was ended")


class Worker:
    """A running worker process. Use it as a context manager; leaving it ends the process."""

    def __init__(self, python: str) -> None:
        """Start the process in the interpreter `python`.

        Raises:
            WorkerCrashError: the interpreter could not be started.
        """
        self._folder = tempfile.mkdtemp(prefix="lf-worker-")
        self._log = Path(self._folder, "log")
        self._listeners: dict[int, Put] = {}
        self._ids = itertools.count(1)
        self._write_lock = threading.Lock()
        self._killed_with: LfError | None = None
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
        self._stdin, self._stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
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

    def answer(self, request: protocol.Chat | protocol.Complete) -> Reply:
        """Ask; iterate over what is returned.

        Iterating raises:
            TemplateError, ContextError, EngineError: as the worker says.
            WorkerCrashError: the process died.
        """
        return Reply(self, request)

    def tokenize(self, text: str) -> tuple[int, ...]:
        """The token ids of a text, with nothing added.

        Raises:
            EngineError: the engine does not tell.
            WorkerCrashError: the process died.
        """
        return Reply(self, protocol.Tokenize(text)).wait_for(protocol.Tokens).ids

    def embed(self, texts: tuple[str, ...]) -> Reply:
        """Ask for the vectors of texts: `wait_for(protocol.Embedded)` on what is returned.

        Waiting raises:
            ContextError, UsageError, EngineError: as the backend says.
            WorkerCrashError: the process died.
        """
        return Reply(self, protocol.Embed(texts))

    def score(self, tokens: tuple[int, ...], likeliest: int = 0) -> Reply:
        """Ask how likely the tokens of a text are: `wait_for(protocol.Scored)` on what is returned.

        Waiting raises:
            ContextError, UsageError, EngineError: as the backend says.
            WorkerCrashError: the process died.
        """
        return Reply(self, protocol.Score(tokens, likeliest))

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the process: politely by closing its pipe, then by force."""
        try:
            self._stdin.close()
            self._process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self, error: LfError) -> None:
        """End the process by force; what is in flight fails with `error`."""
        self._killed_with = error
        self._process.kill()

    def send(self, request: protocol.Request, request_id: int) -> None:
        """Write one frame, however long the worker takes to read it.

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

    def subscribe(self, put: Put) -> int:
        """A new request's id; `put` is given its events, by another thread. `None` means that the process is gone."""
        request_id = next(self._ids)
        self._listeners[request_id] = put
        if self._process.poll() is not None:
            put(None)
        return request_id

    def unsubscribe(self, request_id: int) -> None:
        """Forget a request; its late events are dropped."""
        self._listeners.pop(request_id, None)

    def explain_death(self) -> LfError:
        """The error for a process that is gone: why it was killed, or its signal and the end of its log."""
        try:
            code = self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return self._killed_with or crash.explain(code, self._log)

    def _read_events(self) -> None:
        with self._stdout:
            for line in self._stdout:
                try:
                    request_id, event = protocol.decode_event(line)
                except ValueError:
                    self.kill(FOREIGN)
                    break
                if (put := self._listeners.get(request_id)) is not None:
                    put(event)
        self._process.wait()
        for put in list(self._listeners.values()):
            put(None)


class Hearing:
    """What a worker says of one request, event by event. Waits for nothing."""

    def __init__(self) -> None:
        """The request is sent now."""
        self._asked_s = time.monotonic()
        self._first_token_s: float | None = None
        self._pieces: list[TextDelta] = []
        self._calls: list[ToolCall] = []
        self.has_begun = False
        """Whether the worker has said anything; one that died before did not take the request up."""
        self.is_over = False
        """Whether it says nothing more."""
        self.prompt_tokens: int | None = None
        """Of the prompt, once the engine reads it and where it tells."""

    def hear(self, event: protocol.Event) -> Heard | None:
        """What an event is worth to who asked: a piece or a call or the `Answer`, or what else was asked for.

        Raises:
            TemplateError, ContextError, UsageError, EngineError: as the worker says.
        """
        self.has_begun = True
        self.is_over = isinstance(event, protocol.ENDS)
        match event:
            case protocol.Text():
                if self._first_token_s is None:
                    self._first_token_s = time.monotonic() - self._asked_s
                self._pieces.append(piece := TextDelta(event.text, event.reasoning))
                return piece
            case protocol.Called():
                self._calls.append(event.call)
                return event.call
            case protocol.Finished():
                return _make_answer(self._pieces, self._calls, event, self._first_token_s)
            case protocol.Failed():
                raise error_for(event.code, event.message, event.detail, event.hint)
            case protocol.Started():
                self.prompt_tokens = event.prompt_tokens
                return None
            case protocol.Begun() | protocol.Rendered() | protocol.Loading():
                return None
            case _:
                return event


class Reply:
    """A request in flight. Iterate over it for the pieces and calls of an answer and, last, the `Answer`.

    Leaving the loop early (a `break`, Ctrl-C, any exception) stops the request.
    """

    def __init__(self, worker: Worker, request: protocol.Request, *, cancellable: bool = True) -> None:
        """Send the request; to leave one that is not `cancellable` ends the worker."""
        self._worker = worker
        self._cancellable = cancellable
        self._cancel_asked = False
        self._hearing = Hearing()
        self._events = queue.SimpleQueue[protocol.Event | None]()
        self._id = worker.subscribe(self._events.put)
        worker.send(request, self._id)

    def cancel(self) -> None:
        """Ask it to end soon with what it has (reason `cancelled`). Safe from a signal handler and from any thread."""
        self._cancel_asked = True

    def __iter__(self) -> Iterator[TextDelta | ToolCall | Answer]:
        try:
            event = self._wait_until_rendered()
            while True:
                if isinstance(heard := self._hearing.hear(event), (TextDelta, ToolCall, Answer)):
                    yield heard
                if self._hearing.is_over:
                    return
                event = self._wait()
        finally:
            self._leave()

    def _wait_until_rendered(self) -> protocol.Event:
        self._hearing.hear(self._wait())  # Begun: the queue may be long, the template not
        return self._wait(RENDER_TIMEOUT_S, LATE_TEMPLATE)

    def wait_for(
        self,
        kind: type[_Single],
        timeout_s: float | None = None,
        late: LfError | None = None,
        report: Callable[[str, bool], None] = ignore,
    ) -> _Single:
        """The answer to a request that has one event only, of this kind, but for what comes before it.

        That it left the queue, or how far it is, which `report` is told.
        """
        try:
            while (heard := self._hearing.hear(event := self._wait(timeout_s, late))) is None:
                if isinstance(event, protocol.Loading):
                    report(event.line, event.lasting)
        finally:
            self._leave()
        if not isinstance(heard, kind):
            raise EngineError(f"Unexpected answer of the worker: {heard}")
        return heard

    def _wait(self, timeout_s: float | None = None, late: LfError | None = None) -> protocol.Event:
        """The next event. After `timeout_s` without one the worker is killed, and the error is `late`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._cancel_asked:
                self._cancel_asked = False
                self._worker.send(protocol.Cancel(self._id), self._id)
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                if late is not None and deadline is not None and time.monotonic() > deadline:
                    deadline = None
                    self._worker.kill(late)
                continue
            if event is None:
                self._hearing.is_over = True
                raise self._worker.explain_death()
            return event

    def _leave(self) -> None:
        if not self._hearing.is_over and not self._cancellable:
            self._worker.close(ABANDON_TIMEOUT_S)
        elif not self._hearing.is_over:
            self.cancel()
            deadline = time.monotonic() + CANCEL_TIMEOUT_S
            with suppress(LfError):  # the caller is leaving: the next request tells of a process that is gone
                while not self._hearing.is_over:
                    self._hearing.hear(self._wait(max(0.0, deadline - time.monotonic()), LATE_CANCEL))
        self._worker.unsubscribe(self._id)


def _make_answer(
    pieces: list[TextDelta], calls: list[ToolCall], event: protocol.Finished, first_token_s: float | None
) -> Answer:
    usage: Usage = event.usage
    reason: FinishReason = event.finish_reason
    fresh_tokens = usage.prompt_tokens - usage.cached_tokens
    return Answer(
        text="".join(piece.text for piece in pieces if not piece.reasoning),
        reasoning="".join(piece.text for piece in pieces if piece.reasoning),
        finish_reason=reason,
        usage=usage,
        timings=Timings(
            first_token_s=first_token_s,
            prefill_tps=_rate(fresh_tokens, event.prefill_s),
            decode_tps=_rate(usage.completion_tokens - 1, event.decode_s),
        ),
        tool_calls=tuple(calls),
        stopped_by=event.stopped_by,
    )


def _rate(tokens: int, seconds: float | None) -> float | None:
    return tokens / seconds if seconds and tokens > 0 else None

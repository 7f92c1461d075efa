"""An answer that is passed on where the engine calls back: no thread is woken for what it says.

Events are kept until the next moment to pass something on: beside an engine that pushes all else out of the caches, to
look at each as it comes costs far more than to look at several in a row.

Every token of any request wakes all who wait in the engine for theirs (`server_response::send` in
`tools/server/server-queue.cpp`, ggml-org/llama.cpp): of 16 that wait, that is a third of what all this costs. So where
there are many, none waits there before that moment; what came meanwhile the engine then gives at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localfirst.backends.base import Started
from localfirst.backends.llama_cpp.answer import Ages, explain, is_last
from localfirst.backends.pace import MANY, find_pace_s, find_wait_s
from localfirst.errors import LfError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import Chunk
    from localfirst.backends.llama_cpp.answer import Answer

BURST_S = 0.005
"""How long what is there already is waited for, before what came is passed on all the same."""
LOOK_S = 0.2
"""How often a cancel is looked for, and text for which no next event has come."""
LINGER_S = 2.0
"""How long it is looked on when there is no answer: to wake who looks takes the processor from the next one."""


class Pushed:
    """Gives the chunks of an answer to `put`, until it ends, fails or is cancelled."""

    def __init__(
        self,
        answer: Answer,
        put: Callable[[Chunk], None],
        pass_on: Callable[[], None],
        cancelled: Callable[[], bool],
        count_requests: Callable[[], int],
    ) -> None:
        """`put` and `pass_on` are called by one thread at a time, as `base.Pusher` has it."""
        self._answer, self._put, self._pass_on, self._cancelled = answer, put, pass_on, cancelled
        self._count_requests = count_requests
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._error: Exception | None = None
        self._kept: deque[dict[str, Any]] = deque()
        self._has_started = self._has_put = False
        self._due_s = 0.0
        self._ages = Ages()

    @property
    def is_over(self) -> bool:
        """Whether the end was put, or an error stands in its place."""
        return self._over.is_set()

    def accept(self, event: dict[str, Any]) -> bool:
        """Take an event; whether the engine is to stop. An error stays here: the engine would drop it."""
        try:
            if not self.is_over:
                self._accept(event)
        except Exception as error:  # noqa: BLE001 - the border to native code
            self.fail(error)
        return self.is_over

    def fail(self, error: Exception) -> None:
        """No event comes any more; the error counts where the last one was no end."""
        with self._lock:
            if not self.is_over:
                self._error = error if isinstance(error, LfError) else explain(error)
                self._over.set()

    def look(self) -> None:
        """Put the end of what was cancelled, and text for which no next event has come."""
        with self._lock:
            if not self.is_over and (self._cancelled() or time.monotonic() > self._due_s + LOOK_S):
                self._take_kept()

    def check(self) -> None:
        """See that it came to an end.

        Raises:
            LfError: the engine failed.
            Exception: as `put` and `pass_on` raised it.
        """
        if self._error is not None:
            raise self._error

    def _accept(self, event: dict[str, Any]) -> None:
        now_s = time.monotonic()
        self._kept.append(event)
        is_newest = self._ages.is_newest(event, now_s)
        is_due = now_s >= self._due_s + (0 if is_newest else BURST_S)
        if is_due or not self._has_put or is_last(event):
            with self._lock:
                if not self.is_over:
                    self._take_kept()
        if is_newest and self._has_put and (requests := self._count_requests()) >= MANY:
            self._over.wait(min(find_wait_s(find_pace_s(requests)), self._answer.find_left_s()))

    def _take_kept(self) -> None:
        """Put what is kept, up to the end where that has come, or where no more is wanted."""
        answer, has_put = self._answer, False
        try:
            while answer.ended is None:
                if self._cancelled():
                    answer.ended = "cancelled"
                elif not self._kept:
                    break
                else:
                    piece = answer.take(self._kept.popleft())
                    self._start()
                    if piece is not None:
                        self._put(piece)
                        self._has_put = has_put = True
            if answer.ended is not None:
                self._start()
                for chunk in answer.finish():
                    self._put(chunk)
            if has_put:
                self._pass_on()
                self._due_s = time.monotonic() + find_wait_s(find_pace_s(self._count_requests()))
        except Exception as error:  # noqa: BLE001 - raised again, as it is, in the thread that asked
            self._error = error
        if answer.ended is not None or self._error is not None:
            self._over.set()

    def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._put(Started(self._answer.prompt_tokens))


class Watch:
    """Looks after all answers in one thread, for each of theirs is inside the engine."""

    def __init__(self) -> None:
        """Look after none yet."""
        self._answers: set[Pushed] = set()
        self._awake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, answer: Pushed) -> Iterator[None]:
        """Look after an answer meanwhile."""
        self._answers.add(answer)
        self._awake.set()
        try:
            yield
        finally:
            self._answers.discard(answer)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._awake.set()
        self._thread.join()

    def _watch(self) -> None:
        until_s = 0.0
        while not self._closed.wait(LOOK_S):
            for answer in tuple(self._answers):
                answer.look()
                until_s = time.monotonic() + LINGER_S
            if not self._answers and time.monotonic() > until_s:
                self._awake.clear()
                if not self._answers and not self._closed.is_set():  # what wakes may have come before
                    self._awake.wait()

"""What holds a loaded model, whatever it is, and one request of it in flight.

Knows the frames; no process, no wire, no engine and no template.
"""

from __future__ import annotations

import itertools
import queue
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from localfirst.backends.base import ignore
from localfirst.conversation import Answer, FinishReason, TextDelta, Timings, ToolCall, Usage
from localfirst.errors import EngineError, LfError, error_for
from localfirst.worker import protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import LoadedInfo

    Put = Callable[[protocol.Event | None], None]

CANCEL_TIMEOUT_S = 5.0
"""An engine that does not see a cancel within this time is stopped with its process."""
CLOSE_TIMEOUT_S = 3.0
"""A worker whose pipe is closed ends in milliseconds, unless its engine keeps the interpreter to itself."""
ABANDON_TIMEOUT_S = 0.5
"""The same for one whose model nobody waits for any longer: it ends the program that it is starting, if any."""
_POLL_S = 0.1
"""How long a wait may be deaf to `Reply.cancel`, and on Windows to Ctrl-C."""
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

LATE_CANCEL = EngineError("The engine did not stop when asked to, so its process was ended")


class Holder(ABC):
    """What holds a loaded model: a worker, or a server that has one. Use it as a context manager.

    Several threads may ask it.
    """

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._listeners: dict[int, Put] = {}
        self._ids = itertools.count(1)

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it is still there."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process in which it is loaded, or whose child has it loaded."""

    @abstractmethod
    def load(self, request: protocol.Load, report: Callable[[str, bool], None] = ignore) -> LoadedInfo:
        """Have a model loaded; `report` is told how far an engine is that takes minutes.

        Raises:
            LfError: as whoever loads it says.
        """

    @abstractmethod
    def send(self, request: protocol.Request, request_id: int) -> None:
        """Send a request, whose events come to who subscribed to it.

        Raises:
            LfError: there is nobody to send it to.
        """

    @abstractmethod
    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Ask nothing any more."""

    @abstractmethod
    def kill(self, error: LfError) -> None:
        """Do without it from now on; what is in flight fails with `error`."""

    @abstractmethod
    def explain_death(self) -> LfError:
        """The error for one that is gone: why it was killed, or what it died of."""

    def has_taken(self, request_id: int) -> bool:  # noqa: ARG002 - for those that can tell
        """Whether one that is gone had taken a request up."""
        return True

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

    def send_at_once(self, request: protocol.Request, request_id: int) -> bool:  # noqa: ARG002 - for those that can
        """Send a request, if nothing has to be waited for; whether it was sent."""
        return False

    def read_in(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: B027 - for those that can
        """Let a loop read its events."""

    def subscribe(self, put: Put) -> int:
        """A new request's id; `put` is given its events, by whichever thread. `None` means that the holder is gone."""
        request_id = next(self._ids)
        self._listeners[request_id] = put
        if not self.alive:
            put(None)
        return request_id

    def unsubscribe(self, request_id: int) -> None:
        """Forget a request; its late events are dropped."""
        self._listeners.pop(request_id, None)

    def pass_on(self, request_id: int, event: protocol.Event) -> None:
        """Give an event to who waits for it, if anybody still does."""
        if (put := self._listeners.get(request_id)) is not None:
            put(event)

    def tell_gone(self) -> None:
        """Let all who wait know that nothing more will come."""
        for put in list(self._listeners.values()):
            put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Hearing:
    """What a worker says of one request, event by event. Waits for nothing."""

    def __init__(self) -> None:
        """The request is sent now."""
        self._asked_s = time.monotonic()
        self._first_token_s: float | None = None
        self._pieces: list[TextDelta] = []
        self._calls: list[ToolCall] = []
        self.is_over = False
        """Whether it says nothing more."""
        self.prompt_tokens: int | None = None
        """Of the prompt, once the engine reads it and where it tells."""

    def hear(self, event: protocol.Event) -> Heard | None:
        """What an event is worth to who asked: a piece or a call or the `Answer`, or what else was asked for.

        Raises:
            TemplateError, ContextError, UsageError, EngineError: as the worker says.
        """
        self.is_over = isinstance(event, protocol.ENDS)
        match event:
            case protocol.Text():
                if self._first_token_s is None:
                    self._first_token_s = time.monotonic() - self._asked_s
                self._pieces.append(piece := TextDelta(event.text, event.reasoning, event.weighed))
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
            case protocol.Loading():
                return None
            case _:
                return event


class Reply:
    """A request in flight. Iterate over it for the pieces and calls of an answer and, last, the `Answer`.

    Leaving the loop early (a `break`, Ctrl-C, any exception) stops the request.
    """

    def __init__(self, holder: Holder, request: protocol.Request, *, cancellable: bool = True) -> None:
        """Send the request; to leave one that is not `cancellable` ends the worker."""
        self._holder = holder
        self._cancellable = cancellable
        self._cancel_asked = False
        self._hearing = Hearing()
        self._events = queue.SimpleQueue[protocol.Event | None]()
        self._id = holder.subscribe(self._events.put)
        holder.send(request, self._id)

    def cancel(self) -> None:
        """Ask it to end soon with what it has (reason `cancelled`). Safe from a signal handler and from any thread."""
        self._cancel_asked = True

    def __iter__(self) -> Iterator[TextDelta | ToolCall | Answer]:
        try:
            while not self._hearing.is_over:
                if isinstance(heard := self._hearing.hear(self._wait()), (TextDelta, ToolCall, Answer)):
                    yield heard
        finally:
            self._leave()

    def wait_for(
        self,
        kind: type[_Single],
        timeout_s: float | None = None,
        late: LfError | None = None,
        report: Callable[[str, bool], None] = ignore,
    ) -> _Single:
        """The answer to a request that has one event only, of this kind, but for what comes before it.

        That is how far it is, which `report` is told.
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
                self._holder.send(protocol.Cancel(self._id), self._id)
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                if late is not None and deadline is not None and time.monotonic() > deadline:
                    deadline = None
                    self._holder.kill(late)
                continue
            if event is None:
                self._hearing.is_over = True
                raise self._holder.explain_death()
            return event

    def _leave(self) -> None:
        if not self._hearing.is_over and not self._cancellable:
            self._holder.close(ABANDON_TIMEOUT_S)
        elif not self._hearing.is_over:
            self.cancel()
            deadline = time.monotonic() + CANCEL_TIMEOUT_S
            with suppress(LfError):  # the caller is leaving: the next request tells of a process that is gone
                while not self._hearing.is_over:
                    self._hearing.hear(self._wait(max(0.0, deadline - time.monotonic()), LATE_CANCEL))
        self._holder.unsubscribe(self._id)


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
        weighed=tuple(one for piece in pieces for one in piece.weighed),
    )


def make_end(answer: Answer) -> protocol.Finished:
    """The event that an answer was made of."""
    usage, timings = answer.usage, answer.timings
    return protocol.Finished(
        answer.finish_reason,
        usage,
        _find_seconds(usage.prompt_tokens - usage.cached_tokens, timings.prefill_tps),
        _find_seconds(usage.completion_tokens - 1, timings.decode_tps),
        answer.stopped_by,
    )


def _rate(tokens: int, seconds: float | None) -> float | None:
    return tokens / seconds if seconds and tokens > 0 else None


def _find_seconds(tokens: int, rate_tps: float | None) -> float | None:
    return tokens / rate_tps if rate_tps else None

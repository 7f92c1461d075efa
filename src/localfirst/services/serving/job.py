"""Work by a loaded model, in the loop that serves clients: what is asked of its worker, and the pieces that come of it.

A thread that waited for a worker for each request would be two switches more for every token, on cores that an engine
keeps busy: what a worker says goes straight from its pipe into the loop, all that came meanwhile at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from localfirst.conversation import Answer
from localfirst.errors import LfError
from localfirst.worker import protocol
from localfirst.worker.holder import CANCEL_TIMEOUT_S, LATE_CANCEL, Hearing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from localfirst.services.session import Session
    from localfirst.worker.holder import Heard

Piece = TypeVar("Piece")
Piece_co = TypeVar("Piece_co", covariant=True)
Result = TypeVar("Result")


class Work(Protocol[Piece_co]):
    """What is asked of a loaded model: requests, each made when the one before is over."""

    def make_requests(self, session: Session) -> Iterable[protocol.Request]:
        """What the model is asked; nothing for work that is done as soon as it is loaded."""
        ...

    def take(self, index: int, heard: Heard) -> Iterable[Piece_co]:
        """The pieces that something heard of request number `index` becomes."""
        ...


async def in_thread(function: Callable[[], Result]) -> Result:
    """The result of a function that blocks; a process that ends does not wait for it, as it would for an executor's."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


class Inbox:
    """From whichever thread into the loop: what is put in while the loop is busy costs one waking of it together.

    What the loop itself puts in is done at once, unless something waits before it.
    """

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []

    def put(self, call: Callable[[], None]) -> None:
        """Have the loop do something, after what was put in before."""
        is_at_once = threading.get_ident() == self._thread
        with self._lock:
            is_first = not self._waiting
            if not (is_first and is_at_once):
                self._waiting.append(call)
        if is_first and is_at_once:
            self._do(call)
        elif is_first:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        with self._lock:
            calls, self._waiting = self._waiting, []
        for call in calls:
            self._do(call)

    def _do(self, call: Callable[[], None]) -> None:
        """Whoever put it in reads on for others, whatever comes of it."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - as the loop does with what it calls
            self._loop.call_exception_handler({"message": "what a worker said was not taken", "exception": error})


class Job(Generic[Piece]):
    """Work that is being done. Iterate over it for the pieces; leaving it (`async with`) stops what is not done yet."""

    def __init__(self, session: Session, work: Work[Piece], inbox: Inbox, over: Callable[[Job[Any]], None]) -> None:
        """`over` is told when the worker is free again, however that came. Nothing is done before `begin`."""
        self._session, self._work, self._inbox, self._over = session, work, inbox, over
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[tuple[Piece] | BaseException | None] = deque()
        self._awaited: asyncio.Future[None] | None = None
        """What whoever iterates waits for, while there is no piece."""
        self._requests = self._make_requests()
        self._index, self._id = 0, 0
        self._request: protocol.Request | None = None
        self._hearing = Hearing()
        self._is_sent = self._is_taken = True
        self._cancelled = False
        self._left = False
        self._ended = False
        self._late_cancel: asyncio.TimerHandle | None = None
        """Ends a worker that does not see a cancel."""
        self.began_s = time.monotonic()
        """When a loaded model had a place for it."""

    def begin(self) -> None:
        """Ask the worker."""
        self._go_on()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        await self._wait_for_piece()
        got = self._pieces.popleft()
        if got is None:
            raise StopAsyncIteration
        if isinstance(got, BaseException):
            raise got
        return got[0]

    async def is_taken_up(self) -> bool:
        """Wait for what comes first, which stays to be iterated over. `False`: the worker died before it began.

        Nothing of the work was done then, nor can it be what the worker died of.
        """
        await self._wait_for_piece()
        first = self._pieces[0]
        return self._left or self._is_taken or not isinstance(first, LfError)

    async def _wait_for_piece(self) -> None:
        while not self._pieces:
            self._awaited = self._loop.create_future()
            await self._awaited

    def _put(self, piece: tuple[Piece] | BaseException | None) -> None:
        self._pieces.append(piece)
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    @property
    def prompt_tokens(self) -> int | None:
        """Of the prompt that is being answered, known from the first piece of the answer on."""
        return self._hearing.prompt_tokens

    def cancel(self) -> None:
        """Let it end soon, with what it has; whoever iterates sees that end."""
        if self._cancelled or self._ended:
            return
        self._cancelled = True
        self._late_cancel = self._loop.call_later(CANCEL_TIMEOUT_S, self._session.kill, LATE_CANCEL)
        if self._is_sent:
            self._send(protocol.Cancel(self._id))

    def leave(self) -> None:
        """Stop; a worker that does not within some seconds is ended."""
        self._left = True
        self.cancel()

    def fail(self, error: BaseException) -> None:
        """Stop, and let whoever iterates see `error`."""
        self._put(error)
        self.leave()

    def _make_requests(self) -> Iterator[tuple[int, protocol.Request]]:
        yield from enumerate(self._work.make_requests(self._session))

    def _go_on(self) -> None:
        """Make the next request, or end where there is none."""
        error: Exception | None = None
        try:
            index, request = next(self._requests, (0, None))
            if request is not None and not self._cancelled:
                self._ask(index, request)
                return
        except Exception as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        self._end(error)

    def _ask(self, index: int, request: protocol.Request) -> None:
        self._index, self._request, self._hearing = index, request, (hearing := Hearing())

        def put(event: protocol.Event | None) -> None:
            if event is None:  # a worker that is gone says so before the request has a number
                with suppress(RuntimeError):  # the loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(self._hear, hearing, None)
            else:
                self._inbox.put(partial(self._hear, hearing, event))

        self._id = self._session.worker.subscribe(put)
        self._send(request)

    def _send(self, request: protocol.Request) -> None:
        """Send a frame; one that has to be waited for by a thread of its own."""
        is_at_once = self._session.worker.send_at_once(request, self._id)
        self._is_sent = is_at_once or isinstance(request, protocol.Cancel)
        if is_at_once:
            return

        def send(number: int) -> None:
            error: LfError | None = None
            try:
                self._session.worker.send(request, number)
            except LfError as raised:
                error = raised
            self._inbox.put(partial(self._note_sent, number, error))

        threading.Thread(target=send, args=(self._id,), daemon=True).start()

    def _note_sent(self, number: int, error: LfError | None) -> None:
        if self._ended or number != self._id:
            return
        if error is not None:
            self._end(error)
        elif not self._is_sent:
            self._is_sent = True
            if self._cancelled:
                self._send(protocol.Cancel(self._id))

    def _hear(self, hearing: Hearing, event: protocol.Event | None) -> None:
        """Something was said of a request; `None`: the process is gone."""
        if self._ended or hearing is not self._hearing:
            return
        try:
            if event is None:
                self._end(self._session.explain_death())
                return
            heard = hearing.hear(event)
            if heard is not None:
                self._take(heard)
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            if hearing.is_over:
                self._end(error)
            else:  # a mistake of ours: the worker goes on
                self.fail(error)
            return
        if hearing.is_over:
            self._session.worker.unsubscribe(self._id)
            self._go_on()

    def _take(self, heard: Heard) -> None:
        heard = self._session.note(heard)
        if not self._left:
            for piece in self._work.take(self._index, heard):
                self._put((piece,))
        if isinstance(heard, Answer) and (keep := self._session.find_keeping(self._request, heard)):
            threading.Thread(target=keep, daemon=True).start()

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        if isinstance(error, LfError) and not self._session.alive:
            self._is_taken = self._session.worker.has_taken(self._id)
        if self._late_cancel is not None:
            self._late_cancel.cancel()
        self._session.worker.unsubscribe(self._id)
        self._put(error)
        self._over(self)

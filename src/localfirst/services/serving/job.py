"""Work by a loaded model, from the thread that waits for its worker to the loop that serves clients."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from localfirst.errors import LfError
from localfirst.worker.client import CANCEL_TIMEOUT_S, LATE_CANCEL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from localfirst.services.session import Session
    from localfirst.worker.client import Reply

Piece = TypeVar("Piece")
Piece_co = TypeVar("Piece_co", covariant=True)
Result = TypeVar("Result")


class Work(Protocol[Piece_co]):
    """What is asked of a loaded model; every reply that it waits for is told first, so that it can be cancelled."""

    def __call__(self, session: Session, begun: Callable[[Reply], None]) -> Generator[Piece_co, None, None]:
        """The pieces as they come."""
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


class Job(Generic[Piece]):
    """Work that is being done. Iterate over it for the pieces; leaving it (`async with`) stops what is not done yet."""

    def __init__(self, session: Session, work: Work[Piece], over: Callable[[Job[Any]], None]) -> None:
        """Begin; `over` is told in the loop when the worker is free again, however that came."""
        self._session, self._over = session, over
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[tuple[Piece] | BaseException | None] = asyncio.Queue()
        self._first: list[tuple[Piece] | BaseException | None] = []
        self._left = False
        self._ended = False
        self._reply: Reply | None = None
        self.began_s = time.monotonic()
        """When a loaded model had a place for it."""
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        got = self._first.pop() if self._first else await self._pieces.get()
        if got is None:
            raise StopAsyncIteration
        if isinstance(got, BaseException):
            raise got
        return got[0]

    async def is_taken_up(self) -> bool:
        """Wait for what comes first, which stays to be iterated over. `False`: the worker died before it began.

        Nothing of the work was done then, nor can it be what the worker died of.
        """
        first = await self._pieces.get()
        self._first.append(first)
        heard = self._reply is not None and self._reply.heard
        return self._left or heard or self._session.alive or not isinstance(first, LfError)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    @property
    def prompt_tokens(self) -> int | None:
        """Of the prompt that is being answered, known from the first piece of the answer on."""
        return None if self._reply is None else self._reply.prompt_tokens

    def leave(self) -> None:
        """Stop; a worker that does not within some seconds is ended."""
        if self._left or self._ended:
            return
        self._left = True
        if self._reply is not None:
            self._reply.cancel()
        self._loop.call_later(CANCEL_TIMEOUT_S, self._kill)

    def fail(self, error: BaseException) -> None:
        """Stop, and let whoever iterates see `error`."""
        self._pieces.put_nowait(error)
        self.leave()

    def _kill(self) -> None:
        if not self._ended:
            self._session.kill(LATE_CANCEL)

    def _begun(self, reply: Reply) -> None:
        self._reply = reply
        if self._left:
            reply.cancel()

    def _run(self, work: Work[Piece]) -> None:
        error: BaseException | None = None
        try:
            with closing(work(self._session, self._begun)) as pieces:
                for piece in pieces:
                    self._loop.call_soon_threadsafe(self._pieces.put_nowait, (piece,))
                    if self._left:
                        break
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._pieces.put_nowait(error)
        self._over(self)

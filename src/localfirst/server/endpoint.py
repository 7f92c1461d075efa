"""What all routes share: a body within bounds, work that ends when its client leaves, errors in one form."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from localfirst.errors import LfError
from localfirst.server.body import LATE, ClientLeftError, read_object
from localfirst.server.dialects import dump, find_dialect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from localfirst.services.serving.pool import Pool

    Handle = Callable[[Pool, Mapping[str, Any]], Awaitable[Response]]

BODILESS = frozenset({"GET", "HEAD", "DELETE"})
"""Methods of requests that say all they have to say in their address."""
LEFT = "localfirst.left"
"""Set in the scope of a request whose client left before its answer was whole."""
KEEP_ALIVE_S = 10.0
"""A stream that has nothing to say yet shows this often that it lives. Until then its status is open: what goes wrong
is told by an error's own."""


def make_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. Lone surrogates, which no UTF-8 can carry, become `?`."""
    return Response(dump(value).encode("utf-8", "replace"), status, headers, media_type="application/json")


def make_failure(error: LfError, scope: Scope) -> Response:
    """An error as a response, in the dialect of its request."""
    failure = find_dialect(scope).tell(error)
    # Of a request that is not whole yet, the rest would come in the place of the next.
    last = {"connection": "close"} if failure.status == LATE else {}
    return make_json(failure.body, failure.status, failure.headers | last)


class Stream(Response):
    """What comes piece by piece: events, or lines."""

    def __init__(self, pieces: AsyncGenerator[str, None]) -> None:
        """Send `pieces` as they are; an error after the first of them becomes the last."""
        super().__init__()
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Send.

        Raises:
            LfError: before anything was sent.
        """
        sent, turn = 0, asyncio.Lock()
        dialect = find_dialect(scope)
        self.headers["content-type"] = f"{dialect.media_type}; charset=utf-8"

        async def put(text: str) -> None:
            nonlocal sent
            async with turn:
                if not sent:
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                sent += 1
                await send({"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True})

        signs = _LifeSigns(put, lambda: sent, dialect.alive)
        try:
            async for piece in self._pieces:
                await put(piece)
        except LfError as error:
            if not sent:
                raise
            await put(dialect.end_with(dialect.tell(error).body))
        finally:
            await signs.end()
            await self._pieces.aclose()
        await send({"type": "http.response.body", "body": b""})


class _LifeSigns:
    """Shows of a stream that it lives, whenever it had nothing to say for a while."""

    def __init__(self, put: Callable[[str], Awaitable[None]], count_sent: Callable[[], int], sign: str | None) -> None:
        """`None`: there is no sign that its clients understand."""
        self._put, self._count_sent = put, count_sent
        self._showing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if sign is not None:  # a task only for the few that take so long
            self._timer = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._begin, sign)

    def _begin(self, sign: str) -> None:
        self._showing = asyncio.ensure_future(self._show(sign))

    async def _show(self, sign: str) -> None:
        last = 0
        while True:
            if self._count_sent() == last:
                await self._put(sign)
            last = self._count_sent()
            await asyncio.sleep(KEEP_ALIVE_S)

    async def end(self) -> None:
        """Show no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._showing is not None:
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)


class Endpoint:
    """One route: its `handle` is given the pool and what the request says, and its answer is sent."""

    def __init__(
        self,
        handle: Handle,
        pool: Pool,
        log: Callable[[str], None],
        *,
        has_body: bool = False,
    ) -> None:
        """`has_body` is of a route whose requests say what they have to say in one, whatever their method."""
        self._handle, self._pool, self._log, self._has_body = handle, pool, log, has_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, unless the client leaves before."""
        begun = False

        async def send_marked(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        async def answer(asked: Mapping[str, Any]) -> None:
            response = await self._handle(self._pool, asked)
            await response(scope, receive, send_marked)

        try:
            request = Request(scope)
            named = {**request.query_params, **request.path_params}
            is_bare = request.method in BODILESS and not self._has_body
            asked = named if is_bare else await read_object(request.headers, receive)
            await _do_until_left(answer(asked), receive)
        except LfError as error:
            await make_failure(error, scope)(scope, receive, send_marked)
        except ClientLeftError:
            scope[LEFT] = True
        except Exception as error:  # noqa: BLE001 - the border: a request that hits a mistake of ours ends nobody else's
            self._log(f"internal error: {type(error).__name__} {_find_place(error)}")  # not its words: they may be said
            if not begun:
                unknown = LfError("Something went wrong in the server; its log says where")
                await make_failure(unknown, scope)(scope, receive, send_marked)


async def _do_until_left(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do it to its end, or until the client is gone.

    Raises:
        ClientLeftError: it is gone.
    """
    doing, has_left = asyncio.current_task(), False
    assert doing is not None  # noqa: S101 - a coroutine is run by one

    async def wait_until_left() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        doing.cancel()

    leaving = asyncio.ensure_future(wait_until_left())
    try:
        await work
    except asyncio.CancelledError:
        if not has_left or doing.uncancel():
            raise
        raise ClientLeftError from None
    finally:
        leaving.cancel()


def _find_place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"in {Path(frame.filename).name}, line {frame.lineno}"

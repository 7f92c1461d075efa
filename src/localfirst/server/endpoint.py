"""What all routes share: a body within bounds, work that ends when its client leaves, errors in one form."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from localfirst.errors import LfError
from localfirst.server.body import ClientLeftError, read_object
from localfirst.server.failures import tell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from localfirst.services.serving.pool import Pool

BODILESS = frozenset({"GET", "HEAD", "DELETE"})
"""Methods of requests that say all they have to say in their address."""
KEEP_ALIVE_S = 10.0
"""A stream that has nothing to say yet shows this often that it lives. Until then its status is open: what goes wrong
is told by an error's own."""


def dump(value: object) -> str:
    """JSON, as short as can be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def make_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. Lone surrogates, which no UTF-8 can carry, become `?`."""
    return Response(dump(value).encode("utf-8", "replace"), status, headers, media_type="application/json")


def make_failure(error: LfError) -> Response:
    """An error as a response."""
    failure = tell(error)
    return make_json(failure.body, failure.status, failure.headers)


def make_event(data: str, name: str | None = None) -> str:
    """A server-sent event of one line of data."""
    return f"data: {data}\n\n" if name is None else f"event: {name}\ndata: {data}\n\n"


class EventStream(Response):
    """Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        """Send `events`, as `make_event` makes them; an error after the first of them becomes the last."""
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Send.

        Raises:
            LfError: before anything was sent.
        """
        sent, turn = 0, asyncio.Lock()

        async def put(text: str) -> None:
            nonlocal sent
            async with turn:
                if not sent:
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                sent += 1
                await send({"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True})

        async def keep_alive() -> None:
            while True:
                last = sent
                await asyncio.sleep(KEEP_ALIVE_S)
                if sent == last:
                    await put(": keep-alive\n\n")

        keeping = asyncio.ensure_future(keep_alive())
        try:
            async for event in self._events:
                await put(event)
        except LfError as error:
            if not sent:
                raise
            await put(make_event(dump(tell(error).body)))
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._events.aclose()
        await send({"type": "http.response.body", "body": b""})


class Endpoint:
    """One route: its `handle` is given the pool and what the request says, and its answer is sent."""

    def __init__(
        self,
        handle: Callable[[Pool, Mapping[str, Any]], Awaitable[Response]],
        pool: Pool,
        log: Callable[[str], None],
    ) -> None:
        self._handle, self._pool, self._log = handle, pool, log

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
            asked = named if request.method in BODILESS else await read_object(request.headers, receive)
            await _do_until_left(answer(asked), receive)
        except LfError as error:
            await make_failure(error)(scope, receive, send_marked)
        except ClientLeftError:
            self._log("the client left")
        except Exception as error:  # noqa: BLE001 - the border: a request that hits a mistake of ours ends nobody else's
            self._log(f"internal error: {type(error).__name__} {_find_place(error)}")  # not its words: they may be said
            if not begun:
                await make_failure(LfError("Something went wrong in the server; its log says where"))(
                    scope, receive, send_marked
                )


async def _do_until_left(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do it to its end, or until the client is gone.

    Raises:
        ClientLeftError: it is gone.
    """
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_until_left(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientLeftError
        doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _find_place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"in {Path(frame.filename).name}, line {frame.lineno}"

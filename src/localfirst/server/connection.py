"""A client's connection: heads within bounds of size and time, and never too many requests ahead.

uvicorn keeps neither a connection that never asks from staying, nor too many of them from coming: see
https://github.com/encode/uvicorn/issues/157. Its parser is llhttp, which bounds nothing and takes more than requests
of HTTP/1.0 or 1.1 for a path.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from localfirst.server import failures
from localfirst.server.dialects import dump
from localfirst.server.failures import RefusedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_S = 10.0
"""How long the head of a request may take, from the first byte or the beginning of the connection."""
HEAD_BYTES = 128 * 1024
"""What is read of a head, and of what stands between and after the chunks of a body; the guard refuses less."""
SEND_S = 60.0
"""How long a client may take nothing of what is sent to it."""
CONNECTIONS_MOST = 256
"""At a time; one of each kind of client opens a handful. As many again are told that they are too many."""
AHEAD_BYTES, AHEAD_MOST = 64 * 1024, 16
"""What a client may send of its next requests while one is being answered, and how many of them."""
VERSIONS = frozenset({"1.0", "1.1"})
LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
CROWDED = "localfirst.crowded"
"""Set in the state of a connection that there are too many of."""
MALFORMED = dump(failures.tell(RefusedError(400, "bad_request", "What was sent is no HTTP request")).body).encode()
MALFORMED_HEAD = (
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(MALFORMED)}\r\n\r\n"
).encode()


class Joined:
    """A transport that sends the head of an answer together with what follows it.

    By itself it wakes its client, who takes the processor from the words that are to come.
    """

    def __init__(self, transport: asyncio.Transport, is_head: Callable[[], bool]) -> None:
        """`is_head` tells of what is written now."""
        self._transport, self._is_head = transport, is_head
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, or keep for what comes next."""
        if self._is_head():
            self._head = data
            return
        self._transport.write(self._head + data)
        self._head = b""

    def close(self) -> None:
        """Close, once all is sent."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Whatever else a transport does."""
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed where no request comes or nothing is taken, and refused where there are too many."""

    _waiting: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    """The request that is being answered, or was last; `cycle` is the one that came last."""
    _answered: RequestResponseCycle | None = None
    """The request whose answer has begun to be written."""
    _is_in_head = _is_in_body = _is_declining = False
    _head_bytes = 0
    """Of the newest request: its address, its headers, and what came after its body in their form."""
    _barren_bytes = 0
    """What came since the parser last had something to tell."""
    _ahead_bytes = 0
    _is_deaf = False
    """Whether what comes is no request any more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Accept a connection."""
        super().connection_made(cast("asyncio.Transport", Joined(transport, self._is_head)))
        if len(self.connections) > 2 * CONNECTIONS_MOST:
            transport.abort()
            return
        if len(self.connections) > CONNECTIONS_MOST:
            self.app_state = {**self.app_state, CROWDED: True}
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Read; a head that has begun has to end in time."""
        if self._is_deaf:
            return
        is_ahead = self._is_received
        self._unset_keepalive_if_required()
        self._barren_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if not self._is_answering:
            if self._waiting is None:
                self._expect_head()
            return
        self._stop_waiting()
        if self._is_received:
            self._read_ahead(len(data) if is_ahead else 0)

    def _feed(self, data: bytes) -> None:
        """Parse.

        Raises:
            HttpParserError: it is no request.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline()
            else:
                break
        if self._barren_bytes > HEAD_BYTES:
            raise httptools.HttpParserError("too long")

    def _decline(self) -> None:
        """Read on in HTTP/1.1 where a client offers to speak otherwise after its head, as those of Java always do.

        The parser then takes the rest for that other protocol. So another one begins, with a head that tells no more
        than how the body comes.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.cycle.more_body = self._is_declining = True
        lengths = (b"%b: %b\r\n" % header for header in self.headers if header[0] in LENGTHS)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lengths))

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        if self._is_declining:
            return
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the address."""
        if self._is_declining:
            return
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; one that comes after the body is none: what it says was decided without it."""
        self._count(len(name) + len(value))
        if self._is_in_head and not self._is_declining:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or let it wait for its turn."""
        if self._is_declining:
            self._is_declining, self._is_in_body = False, True
            return
        if self.parser.get_http_version() not in VERSIONS or not self.url.startswith(b"/"):
            raise ValueError
        self._is_in_head, self._is_in_body = False, True
        self._barren_bytes = 0
        if len(self.pipeline) >= AHEAD_MOST:
            raise ValueError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._barren_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._is_in_body = False
        self._barren_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        """Count what is no body; raised from within the parser, which then fails."""
        self._barren_bytes = 0
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise ValueError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if not self.pipeline:
            self._ahead_bytes = 0
        fitting: Any = Unchunked(app, cycle) if cycle.scope["http_version"] == "1.0" else app
        super()._start_asgi_task(cycle, fitting)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, and a text
        """Say what is wrong with what is no request; not in place of an answer to one before it, nor after its own."""
        self._is_deaf = True
        cycle = self._running
        if cycle is not None and self._is_received:
            cycle.keep_alive = False
            self._stop_waiting()
            self.flow.resume_reading()  # to see the client leave
            return
        if cycle is None or not (self._is_in_body and cycle.response_started):
            self.transport.write(MALFORMED_HEAD + MALFORMED)
        self.transport.close()

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent; not for ever."""
        super().pause_writing()
        self._sending = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on to send."""
        if self._sending is not None:
            self._sending.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop_waiting()
        super().connection_lost(exc)
        if self._sending is not None:
            self._sending.cancel()
        if self._running is not None and self._is_answering:  # others that came ahead are not begun
            self._running.disconnected = True
            self._running.message_event.set()

    @property
    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    @property
    def _is_received(self) -> bool:
        """Whether a request that is not answered yet is here as a whole, so that what comes is of the next."""
        return self._running is not None and self._is_answering and not self._running.more_body

    def _is_head(self) -> bool:
        """Whether an answer has only just begun."""
        cycle = self._running
        if cycle is None or not cycle.response_started or cycle is self._answered:
            return False
        self._answered = cycle
        return bool(cycle.scope["method"] != "HEAD")  # after which nothing comes

    def _read_ahead(self, size: int) -> None:
        """Go on to read where a next request waits for its turn: else nobody sees that the client left."""
        self._ahead_bytes += size
        if self._ahead_bytes > AHEAD_BYTES:
            self.transport.abort()
        else:
            self.flow.resume_reading()

    def _expect_head(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class Unchunked:
    """Answers a client of HTTP/1.0, which knows no chunks: an answer of unknown length ends with its connection."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        """`cycle` is the one request."""
        self._app, self._cycle = app, cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        is_open = False

        async def send_plainly(message: MutableMapping[str, Any]) -> None:
            nonlocal is_open
            if message["type"] == "http.response.start":
                is_open = not any(name.lower() == b"content-length" for name, _ in message["headers"])
                if is_open:
                    self._cycle.chunked_encoding, self._cycle.expected_content_length = False, sys.maxsize
            elif is_open and not message.get("more_body"):
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_plainly)

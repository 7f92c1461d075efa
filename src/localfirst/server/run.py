"""The server's process: connections within bounds, and an end that is orderly and soon.

uvicorn keeps neither a connection that never asks from staying, nor too many of them from coming: see
https://github.com/encode/uvicorn/issues/157.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from localfirst.server import failures
from localfirst.server.app import CROWDED, make_app
from localfirst.server.dialects import dump
from localfirst.server.failures import RefusedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from localfirst.server.guard import Rules
    from localfirst.server.management import About
    from localfirst.services.serving.pool import Pool

HEAD_S = 10.0
"""How long the head of a request may take, from the first byte or the beginning of the connection."""
IDLE_S = 30
"""How long a connection may wait for its next request."""
HEAD_BYTES = 64 * 1024
SEND_S = 60.0
"""How long a client may take nothing of what is sent to it."""
CONNECTIONS_MOST = 256
"""At a time; one of each kind of client opens a handful. As many again are told that they are too many."""
AHEAD_BYTES = 64 * 1024
"""What a client may send of its next requests while one is being answered."""
DRAIN_S = 2.0
"""How long answers may go on when the server is told to end; then they are told, and end too."""
CANCEL_S = 4
"""When what still runs is cut off."""
CLOSE_S = 0.7
"""How long workers have to end by themselves."""
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


class BoundedProtocol(H11Protocol):
    """A connection that is closed where no request comes or nothing is taken, and refused where there are too many."""

    _waiting: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    """The request whose answer has begun to be written."""

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
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # before the first request there is none
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._expect_head()
        if self.flow.read_paused and self.conn.their_state is h11.DONE:
            self._read_ahead()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, and a text
        """Say what is wrong with what is no request; not in the middle of an answer to one before it."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
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

    def _is_head(self) -> bool:
        """Whether an answer has only just begun."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or not cycle.response_started or cycle is self._answered:
            return False
        self._answered = cycle
        return True

    def _read_ahead(self) -> None:
        """Go on to read where a next request waits for its turn: else nobody sees that the client left."""
        ahead, _ = self.conn.trailing_data
        if len(ahead) > AHEAD_BYTES:
            self.transport.abort()
        else:
            self.flow.resume_reading()

    def _expect_head(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class Server(uvicorn.Server):
    """Ends within five seconds of SIGTERM or Ctrl-C: with exit code 0, for that is what it was told."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self._pool = pool

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn's own
        """End; when told twice, without waiting for anything."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers end, then tell those that have not, then end the workers."""
        closing = asyncio.get_running_loop().create_task(self._close_after_drain())
        await super().shutdown(sockets)
        closing.cancel()
        await self._pool.close(CLOSE_S)

    async def _close_after_drain(self) -> None:
        await asyncio.sleep(DRAIN_S)
        await self._pool.close(CLOSE_S)


def run(pool: Pool, listener: socket.socket, rules: Rules, about: About, log: Callable[[str], None]) -> None:
    """Serve until told to end."""
    quiet = logging.getLogger("uvicorn")
    quiet.propagate = False  # what happens to requests is in our own log
    quiet.addHandler(logging.NullHandler())
    settings: dict[str, Any] = {"loop": "asyncio", "ws": "none", "lifespan": "off", "log_config": None}
    config = uvicorn.Config(
        make_app(pool, rules, about, log),
        http=BoundedProtocol,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=CANCEL_S,
        h11_max_incomplete_event_size=HEAD_BYTES,
        **settings,
    )
    server = Server(config, pool)
    asyncio.run(server.serve(sockets=[listener]))

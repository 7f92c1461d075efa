"""The server's process, and its end, which is orderly and soon."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import uvicorn

from localfirst.server.app import make_app
from localfirst.server.connection import BoundedProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from localfirst.server.guard import Rules
    from localfirst.server.management import About
    from localfirst.services.serving.pool import Pool

IDLE_S = 30
"""How long a connection may wait for its next request."""
DRAIN_S = 2.0
"""How long answers may go on when the server is told to end; then they are told, and end too."""
CANCEL_S = 4
"""When what still runs is cut off."""
CLOSE_S = 0.7
"""How long workers have to end by themselves."""


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
        **settings,
    )
    server = Server(config, pool)
    asyncio.run(server.serve(sockets=[listener]))

"""Routes below `/lf/`, which the guard keeps for `lf` alone: what is loaded, loading, unloading, the server's end."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from localfirst.server.endpoint import Endpoint, make_json
from localfirst.server.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

    from localfirst.server.found import Record
    from localfirst.services.serving.pool import Pool

SERVER, MODELS, LOAD, UNLOAD, STOP = (f"/lf/v1/{name}" for name in ("server", "models", "load", "unload", "stop"))
LONGEST_S = 366 * 86400
END_S = 0.1
"""How long the answer to who ends the server may take to reach them."""


class About(NamedTuple):
    """What a server says of itself."""

    record: Record
    key: str | None
    """What clients have to show: said to whoever shows the server's own key, for `lf env` and `lf server restart`."""


def make_management_routes(pool: Pool, about: About, log: Callable[[str], None]) -> list[Route]:
    """The routes."""

    async def tell_server(_pool: Pool, _asked: Mapping[str, Any]) -> Response:
        return make_json({**about.record._asdict(), "own_key": None, "key": about.key})

    return [
        Route(SERVER, Endpoint(tell_server, pool, log), methods=["GET"]),
        Route(MODELS, Endpoint(_list_loaded, pool, log), methods=["GET"]),
        Route(LOAD, Endpoint(_load, pool, log), methods=["POST"]),
        Route(UNLOAD, Endpoint(_unload, pool, log), methods=["POST"]),
        Route(STOP, Endpoint(_stop, pool, log), methods=["POST"]),
    ]


async def _list_loaded(pool: Pool, _: Mapping[str, Any]) -> Response:
    return make_json({"models": [one._asdict() for one in pool.show()]})


async def _load(pool: Pool, body: Mapping[str, Any]) -> Response:
    """`keep_alive_s`: a number of seconds, or `forever`; left out, as the server was started."""
    fields = Fields(body)
    model = fields.text("model")
    if body.get("keep_alive_s") == "forever":
        keep_s = fields.take("keep_alive_s")
    else:
        keep_s = fields.number("keep_alive_s", 0, LONGEST_S)
    fields.end((), {})
    return make_json((await pool.load(model, keep_s))._asdict())


async def _unload(pool: Pool, body: Mapping[str, Any]) -> Response:
    """`model`: one of them; left out, all."""
    fields = Fields(body)
    model = fields.text("model") if body.get("model") is not None else None
    fields.end((), {})
    return make_json({"unloaded": await pool.unload(model)})


async def _stop(_pool: Pool, _body: Mapping[str, Any]) -> Response:
    asyncio.get_running_loop().call_later(END_S, signal.raise_signal, signal.SIGTERM)
    return make_json({"stopping": True})

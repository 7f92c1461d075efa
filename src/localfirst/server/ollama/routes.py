"""Ollama's routes: a request parsed, done by the pool, and shaped again; and those that are refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from localfirst.conversation import Answer
from localfirst.server.asked import Loading
from localfirst.server.dialects import make_line
from localfirst.server.endpoint import Endpoint, Stream, make_failure, make_json
from localfirst.server.failures import RefusedError
from localfirst.server.ollama import models
from localfirst.server.ollama.asked import check_context
from localfirst.server.ollama.chat import (
    make_end,
    make_nothing,
    make_piece,
    make_whole,
    parse_chat,
    parse_generate,
)
from localfirst.server.ollama.managing import make_managing_routes
from localfirst.services.serving import shelf
from localfirst.services.serving.job import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from localfirst.conversation import Embedding
    from localfirst.server.ollama.chat import Asked
    from localfirst.server.ollama.models import Embed
    from localfirst.services.serving.pool import Pool
    from localfirst.types import Task

API_VERSION = "0.11.0"
"""Of the API that is spoken here, which clients look at to know what they may ask for: thinking, by levels."""
ANY = ["GET", "HEAD", "POST", "PUT", "DELETE"]
DISK = "This server changes nothing on the disk: "
MANAGE = "; `lf serve --allow-manage` lets clients do it"
REFUSED: Mapping[str, RefusedError] = {
    "/api/pull": RefusedError(403, "not_managed_here", f"{DISK}`lf pull MODEL` fetches a model{MANAGE}"),
    "/api/delete": RefusedError(403, "not_managed_here", f"{DISK}`lf rm MODEL` removes a model{MANAGE}"),
    "/api/create": RefusedError(501, "not_implemented", f"{DISK}`lf model import FILE` takes in a model of your own"),
    "/api/copy": RefusedError(501, "not_implemented", f"{DISK}a model may be called by any of its names as it is"),
    "/api/push": RefusedError(501, "not_implemented", "Models are not published from here"),
    "/api/blobs/{digest:path}": RefusedError(
        501, "not_implemented", f"{DISK}`lf model import FILE` takes in a model of your own"
    ),
}


class Refusing:
    """A route that says why there is nothing; what it is sent is not looked at."""

    def __init__(self, error: RefusedError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse."""
        await make_failure(self._error, scope)(scope, receive, send)


def make_routes(pool: Pool, log: Callable[[str], None], *, manage: bool) -> list[Route]:
    """The routes of the dialect, answered by `pool`; with `manage` those that change the disk, too."""
    posts = {"chat": _chat, "generate": _generate, "embed": _embed, "embeddings": _embed_one, "show": _show}
    gets = {"version": _tell_version, "tags": _list_models, "ps": _list_loaded}
    return [
        *(Route(f"/api/{path}", Endpoint(handle, pool, log), methods=["POST"]) for path, handle in posts.items()),
        *(Route(f"/api/{path}", Endpoint(handle, pool, log), methods=["GET"]) for path, handle in gets.items()),
        *(make_managing_routes(pool, log) if manage else ()),
        *(Route(path, Refusing(error), methods=ANY) for path, error in REFUSED.items()),
    ]


async def _chat(pool: Pool, body: Mapping[str, Any]) -> Response:
    return await _answer(pool, parse_chat(body))


async def _generate(pool: Pool, body: Mapping[str, Any]) -> Response:
    return await _answer(pool, parse_generate(body))


async def _answer(pool: Pool, asked: Asked) -> Response:
    if asked.work is None:
        return make_json(make_nothing(asked, await _load(pool, asked)))
    if asked.common.manner.stream:
        return Stream(_stream(pool, asked))
    *_, end = [one async for one in _follow(pool, asked)]
    return make_json(end)


async def _load(pool: Pool, asked: Asked) -> str:
    """Load a model for later, or let it go; which of both."""
    common = asked.common
    if common.keep_alive_s == 0:
        entry = await in_thread(lambda: shelf.find_served(common.manner.model))
        pool.expire(entry.model.name, entry.asked.quantization)
        return "unload"
    one = await in_thread(lambda: shelf.find_one(common.manner.model))
    task: Task = "embedding" if one.model.task == "embedding" else "chat"
    lease = await pool.begin(common.manner.model, task, Loading(), common.keep_alive_s)
    async with lease.job:
        common.check(lease.plan)
    return "load"


async def _stream(pool: Pool, asked: Asked) -> AsyncGenerator[str, None]:
    async for value in _follow(pool, asked, streamed=True):
        yield make_line(value)


async def _follow(pool: Pool, asked: Asked, *, streamed: bool = False) -> AsyncGenerator[dict[str, Any], None]:
    """What an answer becomes; of one that is not `streamed` only the end, which has all of it."""
    assert asked.work is not None  # noqa: S101 - else there is nothing to answer
    began_s = time.monotonic()
    common = asked.common
    lease = await pool.begin(common.manner.model, "chat", asked.work, common.keep_alive_s)
    async with lease.job as job:
        common.check(lease.plan)
        async for _, piece in job:
            if isinstance(piece, Answer):
                end = make_end(asked, piece, began_s, job.began_s, time.monotonic())
                yield end if streamed else make_whole(asked, piece, end)
            elif streamed and (said := make_piece(asked, piece)) is not None:
                yield said


async def _embed(pool: Pool, body: Mapping[str, Any]) -> Response:
    asked = models.parse_embed(body, "input")
    return make_json(models.make_embeddings(asked, *await _find_vectors(pool, asked)))


async def _embed_one(pool: Pool, body: Mapping[str, Any]) -> Response:
    (found,), *_ = await _find_vectors(pool, models.parse_embed(body, "prompt"))
    return make_json({"embedding": found.vector})


async def _find_vectors(pool: Pool, asked: Embed) -> tuple[list[Embedding], float, float]:
    """The vectors, and the seconds that it took in all and to load."""
    began_s = time.monotonic()
    lease = await pool.begin(asked.model, "embedding", asked.make_work(), asked.keep_alive_s)
    async with lease.job as job:
        check_context(asked.context_tokens, lease.plan)
        found = [one async for one in job]
    return found, time.monotonic() - began_s, lease.job.began_s - began_s


async def _show(pool: Pool, body: Mapping[str, Any]) -> Response:
    name = models.parse_show(body)
    one = await in_thread(lambda: shelf.find_one(name))
    loaded = (each.template for each in pool.residents if each.plan.model.name == one.model.name)
    template = next(loaded, None) or await in_thread(lambda: shelf.read_template(one))
    return make_json(models.show(one, template))


async def _list_models(_pool: Pool, _asked: Mapping[str, Any]) -> Response:
    return make_json(models.list_stock(await in_thread(shelf.find_stock)))


async def _list_loaded(pool: Pool, _asked: Mapping[str, Any]) -> Response:
    stock = await in_thread(shelf.find_stock)
    return make_json(models.list_residents(pool.residents, stock, datetime.now(UTC)))


async def _tell_version(_pool: Pool, _asked: Mapping[str, Any]) -> Response:
    return make_json({"version": API_VERSION})

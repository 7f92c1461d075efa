"""OpenAI's routes: a request parsed, done by the pool, and shaped again."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from starlette.routing import Route

from localfirst.conversation import Answer
from localfirst.server.dialects import dump, make_event
from localfirst.server.endpoint import Endpoint, Stream, make_json
from localfirst.server.openai import chat, completions, embeddings, models
from localfirst.server.openai.responses.routes import make_response_routes
from localfirst.services.serving import shelf
from localfirst.services.serving.job import in_thread
from localfirst.services.serving.outlook import find_outlooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping

    from starlette.responses import Response

    from localfirst.conversation import TextDelta, ToolCall
    from localfirst.server.asked import Generating
    from localfirst.services.serving.pool import Lease, Pool
    from localfirst.types import Plan


class _Chunks(Protocol):
    def make(self, index: int, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]: ...

    def end(self) -> Iterator[dict[str, Any]]: ...


def make_routes(pool: Pool, log: Callable[[str], None]) -> list[Route]:
    """The routes that this dialect alone has, answered by `pool`."""
    posts = {"chat/completions": _chat, "completions": _complete, "embeddings": _embed}
    return [
        *(Route(f"/v1/{path}", Endpoint(handle, pool, log), methods=["POST"]) for path, handle in posts.items()),
        *make_response_routes(pool, log),
    ]


async def _chat(pool: Pool, body: Mapping[str, Any]) -> Response:
    asked = chat.parse_chat(body)
    manner, name, created = asked.manner, uuid.uuid4().hex, int(time.time())
    if manner.stream:
        work = asked.make_work()
        return Stream(_stream(pool, manner.model, work, lambda plan: chat.Chunks(name, created, plan, manner)))
    plan, answers = await _gather(pool, manner.model, asked.make_work())
    return make_json(chat.make_completion(name, created, plan, manner.model, answers))


async def _complete(pool: Pool, body: Mapping[str, Any]) -> Response:
    asked = completions.parse_completion(body)
    model, name, created = asked.manner.model, uuid.uuid4().hex, int(time.time())
    if asked.manner.stream:
        work = asked.make_work()
        return Stream(_stream(pool, model, work, lambda plan: completions.Chunks(name, created, plan, asked)))
    plan, answers = await _gather(pool, model, asked.make_work())
    return make_json(completions.make_completion(name, created, plan, asked, answers))


async def _embed(pool: Pool, body: Mapping[str, Any]) -> Response:
    asked = embeddings.parse_embed(body)
    lease = await pool.begin(asked.model, "embedding", asked.make_work())
    async with lease.job as job:
        return make_json(embeddings.make_response(asked, [one async for one in job]))


async def list_models(pool: Pool, _: Mapping[str, Any]) -> Response:
    """`GET /v1/models`."""
    return make_json({"object": "list", "data": [models.describe(one) for one in await find_outlooks(pool)]})


async def show_model(pool: Pool, asked: Mapping[str, Any]) -> Response:
    """`GET /v1/models/NAME`."""
    offer = (await in_thread(lambda: shelf.find_one(asked["model"]))).offer
    (found,) = await find_outlooks(pool, lambda one: one.name == offer.name)
    return make_json(models.describe(found))


async def _gather(pool: Pool, model: str, work: Generating) -> tuple[Plan, list[Answer]]:
    lease = await pool.begin(model, "chat", work)
    async with lease.job as job:
        return lease.plan, [piece async for _, piece in job if isinstance(piece, Answer)]


async def _stream(
    pool: Pool, model: str, work: Generating, make_chunks: Callable[[Plan], _Chunks]
) -> AsyncGenerator[str, None]:
    lease: Lease = await pool.begin(model, "chat", work)
    chunks = make_chunks(lease.plan)
    async with lease.job as job:
        async for index, piece in job:
            if written := _write(chunks.make(index, piece)):
                yield written
    yield _write(chunks.end()) + make_event("[DONE]")


def _write(chunks: Iterable[Mapping[str, Any]]) -> str:
    return "".join(make_event(dump(chunk)) for chunk in chunks)

"""Anthropic's routes: a request parsed, done by the pool, and shaped again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from localfirst.conversation import Answer
from localfirst.server.anthropic import models
from localfirst.server.anthropic.asked import parse_count, parse_message
from localfirst.server.anthropic.shape import Response, make_message
from localfirst.server.asked import Counting
from localfirst.server.dialects import dump, make_event
from localfirst.server.endpoint import Stream, make_json
from localfirst.services.serving import shelf
from localfirst.services.serving.job import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette import responses

    from localfirst.server.anthropic.asked import Asked
    from localfirst.services.serving.pool import Pool


async def create(pool: Pool, body: Mapping[str, Any]) -> responses.Response:
    """`POST /v1/messages`."""
    asked, name = parse_message(body), uuid.uuid4().hex
    if asked.chat.manner.stream:
        return Stream(_stream(pool, asked, Response(name, asked)))
    lease = await pool.begin(asked.chat.manner.model, "chat", asked.chat.make_work())
    async with lease.job as job:
        (answer,) = [piece async for _, piece in job if isinstance(piece, Answer)]
    return make_json(make_message(name, asked, answer))


async def count(pool: Pool, body: Mapping[str, Any]) -> responses.Response:
    """`POST /v1/messages/count_tokens`."""
    chat = parse_count(body).chat
    lease = await pool.begin(chat.manner.model, "chat", Counting(chat.make_requests))
    async with lease.job as job:
        return make_json({"input_tokens": sum([tokens async for tokens in job])})


async def list_models(_pool: Pool, asked: Mapping[str, Any]) -> responses.Response:
    """`GET /v1/models`."""
    return make_json(models.list_page(await in_thread(shelf.find_offers), asked))


async def show_model(_pool: Pool, asked: Mapping[str, Any]) -> responses.Response:
    """`GET /v1/models/NAME`."""
    return make_json(models.describe((await in_thread(lambda: shelf.find_one(asked["model"]))).offer))


async def _stream(pool: Pool, asked: Asked, response: Response) -> AsyncGenerator[str, None]:
    lease = await pool.begin(asked.chat.manner.model, "chat", asked.chat.make_work())
    begun = False
    async with lease.job as job:
        async for _, piece in job:
            opening = "" if begun else _tell(response.begin(job.prompt_tokens))
            begun = True
            if written := opening + "".join(map(_tell, response.make(piece))):
                yield written


def _tell(event: Mapping[str, Any]) -> str:
    return make_event(dump(event), event["type"])


POSTS = {"/v1/messages": create, "/v1/messages/count_tokens": count}

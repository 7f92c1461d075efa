"""The routes of responses: made, streamed, and those that are kept."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from localfirst.errors import LfError
from localfirst.server.dialects import dump, make_event
from localfirst.server.endpoint import Endpoint, Stream, make_json
from localfirst.server.failures import ParameterError
from localfirst.server.openai.responses.asked import parse_response
from localfirst.server.openai.responses.kept import Kept, Said, list_items
from localfirst.server.openai.responses.shape import ENDS, Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from starlette import responses

    from localfirst.server.openai.responses.asked import Asked
    from localfirst.services.serving.pool import Pool


def make_response_routes(pool: Pool, log: Callable[[str], None]) -> list[Route]:
    """The routes, answered by `pool`; what they keep is theirs alone."""
    kept = Kept()

    async def create(pool: Pool, body: Mapping[str, Any]) -> responses.Response:
        asked = parse_response(body, kept.find_items)
        response = Response(f"resp_{uuid.uuid4().hex}", int(time.time()), asked.chat.manner.model, asked.echo)
        events = _generate(pool, asked, response, kept)
        if asked.chat.manner.stream:
            return Stream(_stream(events, response))
        *_, last = [event async for event in events]
        return make_json(last["response"])

    async def show(_pool: Pool, asked: Mapping[str, Any]) -> responses.Response:
        if asked.get("stream", "false") not in {"false", "0"}:
            raise ParameterError("A response that is there already cannot be streamed", "stream")
        return make_json(kept.find(asked["name"]).response)

    async def forget(_pool: Pool, asked: Mapping[str, Any]) -> responses.Response:
        kept.drop(asked["name"])
        return make_json({"id": asked["name"], "object": "response", "deleted": True})

    async def list_input(_pool: Pool, asked: Mapping[str, Any]) -> responses.Response:
        return make_json(list_items(kept.find(asked["name"]), asked))

    table = (
        ("/v1/responses", create, "POST"),
        ("/v1/responses/{name}", show, "GET"),
        ("/v1/responses/{name}", forget, "DELETE"),
        ("/v1/responses/{name}/input_items", list_input, "GET"),
    )
    return [Route(path, Endpoint(handle, pool, log), methods=[method]) for path, handle, method in table]


async def _generate(pool: Pool, asked: Asked, response: Response, kept: Kept) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a response; the last one has all of it."""
    lease = await pool.begin(asked.chat.manner.model, "chat", asked.chat.make_work())
    async with lease.job as job:
        async for _, piece in job:
            for event in response.make(piece):
                if asked.is_kept and event["type"] in ENDS:
                    kept.add(Said(event["response"], asked.input, asked.items))
                yield event


async def _stream(events: AsyncGenerator[dict[str, Any], None], response: Response) -> AsyncGenerator[str, None]:
    """What is sent of events.

    Raises:
        LfError: before the first.
    """
    try:
        async for event in events:
            yield make_event(dump(event), event["type"])
    except LfError as error:
        if not response.has_begun:
            raise
        for event in response.fail(error):
            yield make_event(dump(event), event["type"])

"""Ollama's `pull` and `delete`, for servers whose user lets clients change what is on the disk."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from localfirst.catalog import names
from localfirst.errors import LfError, UnknownNameError
from localfirst.server.dialects import make_line
from localfirst.server.endpoint import Endpoint, Stream, make_json
from localfirst.server.ollama.models import take_name
from localfirst.services.files import pull_model, remove_models
from localfirst.services.library import find_published
from localfirst.services.preparing import ignore
from localfirst.services.serving import shelf
from localfirst.services.serving.job import in_thread
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from localfirst.services.serving.pool import Pool

TELL_S = 0.1
"""Lines of a download come this often at the most."""
IGNORED = ("insecure", "username", "password")
"""What Ollama's registry takes; ours is verified, by digests that the catalog has or the hub's listing."""


def make_managing_routes(pool: Pool, log: Callable[[str], None]) -> list[Route]:
    """The routes."""
    manager = _Manager()
    return [
        Route("/api/pull", Endpoint(manager.pull, pool, log), methods=["POST"]),
        Route("/api/delete", Endpoint(manager.delete, pool, log, has_body=True), methods=["DELETE"]),
    ]


class _Manager:
    """Fetches models one after the other: two of one would write the same files."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    async def pull(self, pool: Pool, body: Mapping[str, Any]) -> Response:
        name, fields = take_name(body)
        streams = fields.flag("stream", default=True)
        fields.end(("name", *IGNORED), {})
        lines = self._pull(pool, await in_thread(partial(_find_fetched, name)))
        if streams:
            return Stream(make_line(line) async for line in lines)
        *_, last = [line async for line in lines]
        return make_json(last)

    async def _pull(self, pool: Pool, name: str) -> AsyncGenerator[dict[str, Any], None]:
        yield {"status": "pulling manifest"}
        async for progress in _fetch(partial(pull_model, name, pool.wanted), self._turn):
            line: dict[str, Any] = {"status": f"pulling {progress.file.path if progress.file else progress.what}"}
            if progress.total is not None:
                line |= {"total": progress.total, "completed": progress.done}
            yield line
        yield {"status": "success"}

    async def delete(self, pool: Pool, body: Mapping[str, Any]) -> Response:
        name, fields = take_name(body)
        fields.end(("name",), {})
        model = (await in_thread(partial(shelf.find_served, name))).model.name
        with suppress(UnknownNameError):  # it is not loaded
            await pool.unload(model)
        await in_thread(partial(remove_models, [name], report=ignore))
        return Response(status_code=200)


def _find_fetched(name: str) -> str:
    """What is fetched by a name: a model of the catalog or of a hub, and no path.

    Raises:
        UnknownNameError: it is a path.
        UsageError: it is no name.
    """
    if len(name) <= shelf.MAX_NAME and names.parse_name(name).path is None and names.parse_remote(name) is None:
        return name
    missing = UnknownNameError(f"No model named `{name[:80]}`", hint="See those there are: `lf list`")
    return find_published(name[: shelf.MAX_NAME], missing).model.name


class _LeftError(LfError):
    """Who asked is gone; what is there of a download stays for the next time."""


async def _fetch(work: Callable[..., object], turn: threading.Lock) -> AsyncGenerator[Progress, None]:
    """How far it is, from time to time, once it is its turn; leaving it ends the work, soon.

    Raises:
        LfError: as the work does.
    """
    loop, left = asyncio.get_running_loop(), threading.Event()
    news: asyncio.Queue[Progress | None] = asyncio.Queue()

    def report(progress: Progress) -> None:
        if left.is_set():
            raise _LeftError("Nobody waits for it any more")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.put_nowait, progress)

    def run() -> None:
        try:
            with turn:
                report(Progress("model", 0))
                work(report=report)
        finally:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(news.put_nowait, None)

    doing = asyncio.ensure_future(in_thread(run))
    doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also where nobody waits
    told_s = 0.0
    try:
        while (progress := await news.get()) is not None:
            now = time.monotonic()
            if now - told_s >= TELL_S or progress.done == progress.total:
                told_s = now
                yield progress
        await doing
    finally:
        left.set()

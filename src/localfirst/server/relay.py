"""Routes by which `lf run` is answered by a model that is loaded here: the frames that a worker speaks, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from localfirst.conversation import Answer, TextDelta, ToolCall
from localfirst.errors import LfError, ServerError
from localfirst.server import CANCEL, LOADED, RELAY
from localfirst.server.endpoint import Endpoint, Stream, make_json
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields
from localfirst.services.serving.alike import Loading, describe, find_difference, name_build
from localfirst.services.serving.job import in_thread
from localfirst.worker import protocol
from localfirst.worker.holder import make_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from starlette.responses import Response

    from localfirst.services.serving.job import Job
    from localfirst.services.serving.pool import Pool
    from localfirst.services.session import Session
    from localfirst.worker.holder import Heard


def make_relay_routes(pool: Pool, log: Callable[[str], None]) -> list[Route]:
    """The routes."""
    relay = Relay()
    return [
        Route(LOADED, Endpoint(_find_loaded, pool, log), methods=["POST"]),
        Route(RELAY, Endpoint(relay.answer, pool, log), methods=["POST"]),
        Route(CANCEL, Endpoint(relay.cancel, pool, log), methods=["POST"]),
    ]


async def _find_loaded(pool: Pool, body: Mapping[str, Any]) -> Response:
    """How a model is loaded, in each of the builds that are, and what would be free here if nothing were."""
    fields = Fields(body)
    model = fields.text("model")
    fields.end((), {})
    loaded = await pool.find_builds(model, "chat")
    machine = await in_thread(pool.see)
    builds = []
    for held in loaded:
        plan, how = held.session.plan, describe(held.session.plan, held.session.load)
        frames = {"load": _encode(how.load), "info": _encode(protocol.Loaded(held.session.loaded))}
        builds.append({"build": name_build(plan), "runtime": how.runtime, "device": how.device, **frames})
    free = {
        "memory_bytes": machine.memory.available_bytes,
        "devices_bytes": [device.memory_free_bytes for device in machine.devices],
    }
    return make_json({"loaded": builds, "free": free})


@dataclass(frozen=True, slots=True)
class Relaying:
    """The work of answering one request, told in a worker's own events."""

    request: protocol.Chat | protocol.Complete | protocol.Tokenize
    like: Loading
    """How the model was loaded when its client looked."""

    def make_requests(self, session: Session) -> Iterator[protocol.Request]:
        """The one.

        Raises:
            ServerError: the model is loaded otherwise by now.
        """
        if difference := find_difference(self.like, describe(session.plan, session.load), context=True, threads=True):
            raise ServerError(f"The server has loaded the model anew, and otherwise: {difference}")
        yield self.request

    def take(self, _: int, heard: Heard) -> Iterator[protocol.Event]:
        """The events that a client has not been told yet: text, calls, the end."""
        match heard:
            case TextDelta():
                yield protocol.Text(heard.text, heard.reasoning, heard.weighed)
            case ToolCall():
                yield protocol.Called(heard)
            case Answer():
                yield make_end(heard)
            case protocol.Tokens():
                yield heard
            case _:
                pass

    def begin(self, prompt_tokens: int | None) -> tuple[protocol.Event, ...]:
        """The events that come before any piece."""
        return () if isinstance(self.request, protocol.Tokenize) else (protocol.Started(prompt_tokens),)


class Relay:
    """Answers requests that come as frames, each by a ticket that its client makes up, to cancel it by."""

    def __init__(self) -> None:
        """Answer nothing yet."""
        self._jobs: dict[str, Job[protocol.Event]] = {}

    async def answer(self, pool: Pool, body: Mapping[str, Any]) -> Response:
        """Begin to answer; what goes wrong is told by a frame, with all that is known of it."""
        fields = Fields(body)
        name, ticket, frame = fields.text("model"), fields.text("ticket"), fields.text("request")
        runtime, device, load = fields.text("runtime"), fields.text("device"), fields.text("load")
        fields.end((), {})
        request = _decode(frame, protocol.Chat, protocol.Complete, protocol.Tokenize)
        like = _decode(load, protocol.Load)
        return Stream(self._answer(pool, name, ticket, Relaying(request, Loading(runtime, device, like))))

    async def cancel(self, _pool: Pool, body: Mapping[str, Any]) -> Response:
        """Let a request end; one that nothing came of yet ends when its client leaves."""
        fields = Fields(body)
        job = self._jobs.get(fields.text("ticket"))
        fields.end((), {})
        if job is not None:
            job.cancel()
        return make_json({"begun": job is not None})

    async def _answer(self, pool: Pool, name: str, ticket: str, work: Relaying) -> AsyncGenerator[str, None]:
        yield "\n"  # an answer that has begun can be left, also where it waits or a long prompt is read
        try:
            lease = await pool.begin(name, "chat", work)
            async with lease.job as job:
                self._jobs[ticket] = job
                for event in work.begin(job.prompt_tokens):
                    yield _encode(event)
                async for event in job:
                    yield _encode(event)
        except LfError as error:
            yield _encode(protocol.Failed(error.code, error.message, error.detail, error.hint))
        finally:
            self._jobs.pop(ticket, None)


def _decode(frame: str, *kinds: type) -> Any:
    try:
        _, request = protocol.decode_request(frame.encode())
    except ValueError:
        request = None
    if not isinstance(request, kinds):
        raise ParameterError("The request has no frame of a kind that is answered here", "request")
    return request


def _encode(frame: protocol.Event | protocol.Load) -> str:
    return protocol.encode(frame, 0).decode()

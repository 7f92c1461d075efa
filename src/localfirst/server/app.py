"""The application: the guard around every route."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router

from localfirst.server.anthropic import routes as anthropic
from localfirst.server.connection import CROWDED
from localfirst.server.dialects import ANTHROPIC, OPENAI, find_dialect
from localfirst.server.endpoint import LEFT, Endpoint, make_failure, make_json
from localfirst.server.failures import RefusedError
from localfirst.server.guard import allow_origin, find_refusal
from localfirst.server.management import make_management_routes
from localfirst.server.metrics import show_metrics
from localfirst.server.ollama import routes as ollama
from localfirst.server.openai import routes as openai
from localfirst.server.page.files import make_page_routes
from localfirst.server.relay import make_relay_routes
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localfirst.server.dialects import Dialect
    from localfirst.server.endpoint import Handle
    from localfirst.server.guard import Rules
    from localfirst.server.management import About
    from localfirst.services.serving.meter import Meter
    from localfirst.services.serving.pool import Pool

FIXED_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
ID_HEADERS = ("x-request-id", "request-id")
"""Where clients of OpenAI and of Anthropic look for what a request is called."""
OTHER = "other"
"""Where a request goes that is refused, or that no route is for."""
SHOWN_PATH = 80
"""Characters of a path that the log shows."""
TOO_MANY = RefusedError(503, "too_many", "The server has too many connections", retry_after_s=5)
LAST = frozenset({400, 431, TOO_MANY.status})
"""Refusals after which a connection is closed: it is one too many, or where its next request begins is in doubt."""


def make_app(pool: Pool, rules: Rules, about: About, log: Callable[[str], None]) -> ASGIApp:
    """The server's routes, each behind the guard."""

    def serve(handle: Handle) -> Endpoint:
        return Endpoint(handle, pool, log)

    routes = [
        Route("/health", serve(_tell_health), methods=["GET"]),
        Route("/metrics", serve(show_metrics), methods=["GET"]),
        *make_page_routes(),
        *openai.make_routes(pool, log),
        *ollama.make_routes(pool, log, manage=rules.manage),
        *make_management_routes(pool, about, log),
        *make_relay_routes(pool, log),
        *(Route(path, serve(handle), methods=["POST"]) for path, handle in anthropic.POSTS.items()),
    ]
    for path, ours, theirs in (
        ("/v1/models", openai.list_models, anthropic.list_models),
        ("/v1/models/{model:path}", openai.show_model, anthropic.show_model),
    ):
        routes.append(Route(path, _Shared({OPENAI: serve(ours), ANTHROPIC: serve(theirs)}), methods=["GET"]))
    return Guard(_Routes(routes), rules, pool.meter, log)


class _Routes:
    """Finds the route of a request; one without parameters by its path, and not by trying one after the other.

    Such a one comes before any with parameters that would take its path as well.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.router = Router(routes)
        paths = Counter(route.path for route in routes)
        self._plain = {route.path: route for route in routes if "{" not in route.path and paths[route.path] == 1}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # without which the router would answer by itself, in no dialect
        try:
            if (route := self._plain.get(scope["path"])) is not None:
                scope.update(route=route, path_params={})
                await route.handle(scope, receive, send)
            else:
                await self.router(scope, receive, send)
        except HTTPException as error:
            await _refuse_route(scope, error)(scope, receive, send)


class _Shared:
    """A path that several dialects have."""

    def __init__(self, endpoints: Mapping[Dialect, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoints[find_dialect(scope)](scope, receive, send)


class Guard:
    """Lets in what `find_refusal` has nothing against, and writes a line for each request: no word of what was said."""

    def __init__(self, app: ASGIApp, rules: Rules, meter: Meter, log: Callable[[str], None]) -> None:
        self._app, self._rules, self._meter, self._log = app, rules, meter, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        begun, status = time.monotonic(), 0
        headers = Headers(scope=scope)
        found = find_refusal(scope["method"], scope["path"], scope["headers"], self._rules)
        refusal = RefusedError(*found) if found else TOO_MANY if CROWDED in scope.get("state", ()) else None
        more = {**FIXED_HEADERS, **dict.fromkeys(ID_HEADERS, secrets.token_hex(16))}
        if refusal is None:
            more |= allow_origin(headers.get("origin"), headers)
        elif refusal.status in LAST:
            more["connection"] = "close"

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ours = {name.encode(): value.encode("latin-1") for name, value in more.items()}
                others = [(name, value) for name, value in message["headers"] if name not in ours]
                if not any(name == b"cache-control" for name, _ in others):
                    ours[b"cache-control"] = b"no-store"
                message["headers"] = [*others, *ours.items()]
            await send(message)

        try:
            if refusal is not None:
                await make_failure(refusal, scope)(scope, receive, send_marked)
            elif scope["method"] == "OPTIONS" and "origin" in headers:
                await Response(status_code=204)(scope, receive, send_marked)
            else:
                await self._app(scope, receive, send_marked)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)  # as it is written here, not as it was asked for
            end = "left" if LEFT in scope or not status else str(status)
            self._meter.count_request(route, end)
            path = make_inert(scope["path"][:SHOWN_PATH])
            took = f"{time.monotonic() - begun:.2f} s"
            self._log(f"{scope['method']} {path} {end} {took}")


async def _tell_health(_pool: Pool, _asked: Mapping[str, Any]) -> Response:
    return make_json({"status": "ok"})


def _refuse_route(scope: Scope, error: HTTPException) -> Response:
    """What the router says of a path or a method that there is not."""
    kinds = {404: "not_found", 405: "method_not_allowed"}
    text = f"There is no {scope['method']} {scope['path'][:SHOWN_PATH]} here"
    response = make_failure(RefusedError(error.status_code, kinds.get(error.status_code, "bad_request"), text), scope)
    response.headers.update(error.headers or {})  # of a method, which others there are
    return response

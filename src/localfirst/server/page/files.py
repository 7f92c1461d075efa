"""The files of the page, and what a browser is told to keep to while it shows them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request


class File(NamedTuple):
    """A file beside this module, and what it is."""

    name: str
    kind: str


PAGE: Mapping[str, File] = {
    "/": File("index.html", "text/html"),
    "/page.css": File("page.css", "text/css"),
    "/page.js": File("page.js", "text/javascript"),
    "/models.js": File("models.js", "text/javascript"),
    "/talk.js": File("talk.js", "text/javascript"),
    "/markdown.js": File("markdown.js", "text/javascript"),
    "/icon.svg": File("icon.svg", "image/svg+xml"),
}
"""By path."""
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
"""Nothing from elsewhere, nothing to elsewhere, nothing within the HTML, and no text that becomes markup. Source:
https://www.w3.org/TR/CSP3/, https://www.w3.org/TR/trusted-types/."""
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # kept, but asked for again: another version of `lf` may answer at the same address
}


def make_page_routes() -> list[Route]:
    """A route for each file, all of them read now."""
    return [Route(path, _make_endpoint(file), methods=["GET"]) for path, file in PAGE.items()]


def _make_endpoint(file: File) -> Callable[[Request], Awaitable[Response]]:
    data = Path(__file__).with_name(file.name).read_bytes()
    headers = {**HEADERS, "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"'}

    async def send(request: Request) -> Response:
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=file.kind)

    return send

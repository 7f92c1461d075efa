"""The dialects that are spoken here: which of them a request is in, and what each has of its own in every answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.server import OWN_PATHS, failures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Scope

    from localfirst.errors import LfError


class Dialect(NamedTuple):
    """What routes of one dialect have in common."""

    tell: Callable[[LfError], failures.Failure]
    media_type: str
    """Of its streams."""
    end_with: Callable[[Mapping[str, Any]], str]
    """What the body of an error becomes in a stream that has begun."""
    alive: str | None
    """What shows that a stream lives which has nothing to say yet."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dump(value: object) -> str:
    """JSON, as short as can be."""
    return _ENCODER.encode(value)


def make_event(data: str, name: str | None = None) -> str:
    """A server-sent event of one line of data: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    return f"data: {data}\n\n" if name is None else f"event: {name}\ndata: {data}\n\n"


def make_line(value: object) -> str:
    """A value as a line of its own, as Ollama's streams have them."""
    return f"{dump(value)}\n"


PING = make_event(dump({"type": "ping"}), "ping")
OPENAI = Dialect(failures.tell, "text/event-stream", lambda body: make_event(dump(body)), ": keep-alive\n\n")
OWN = OPENAI._replace(tell=failures.tell_own)
"""Of what `lf`'s own commands ask."""
ANTHROPIC = Dialect(failures.tell_anthropic, "text/event-stream", lambda body: make_event(dump(body), "error"), PING)
OLLAMA = Dialect(failures.tell_ollama, "application/x-ndjson", make_line, None)
"""Its clients take every line for JSON."""


def find_dialect(scope: Scope) -> Dialect:
    """The dialect of a request, by its path, and by the header that Anthropic's clients send with every one."""
    path: str = scope["path"]
    if path.startswith("/api/"):
        return OLLAMA
    if path.startswith(OWN_PATHS):
        return OWN
    if path.startswith("/v1/messages") or any(name == b"anthropic-version" for name, _ in scope["headers"]):
        return ANTHROPIC
    return OPENAI

"""The body of a request: read within bounds of size, time and depth, before anything believes it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from localfirst.server.failures import RefusedError

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Receive

MAX_BYTES = 16 * 2**20
"""Two million words: no model here reads as many."""
MAX_DEPTH = 64
"""Nested values; the tools of programs have about ten."""
READ_S = 30.0
"""How long a body may take to come in whole."""
LATE = 408
"""The status of a request whose body did not."""


class ClientLeftError(Exception):
    """The client went away before its request was whole."""


async def read_object(headers: Headers, receive: Receive) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises:
        RefusedError: it is none, or too large, too slow or nested too deep.
        ClientLeftError: nobody waits for an answer any more.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "unsupported_media_type", "The request needs `Content-Type: application/json`")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "unsupported_media_type", "The request's body is compressed, which is not read")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MAX_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(READ_S):
            return parse_object(await _read(receive))
    except TimeoutError:
        raise RefusedError(LATE, "request_timeout", f"The request was not whole after {READ_S:.0f} s") from None


async def _read(receive: Receive) -> bytes:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        data += message.get("body", b"")
        if len(data) > MAX_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object, strictly: UTF-8, no NaN, no name twice, and nested no deeper than `MAX_DEPTH`.

    Raises:
        RefusedError: it is something else.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_repetition
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise RefusedError(400, "invalid_json", f"The request's body is no JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "invalid_json", "The request's body is no JSON object")
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return value
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    raise _too_deep()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _refuse_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; not one of which two readers may see two different things: RFC 8259, section 4."""
    made = dict(pairs)
    if len(made) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"`{name[:60]}` is there twice")
    return made


def _too_large() -> RefusedError:
    return RefusedError(413, "request_too_large", f"The request's body is larger than {MAX_BYTES:,} bytes")


def _too_deep() -> RefusedError:
    return RefusedError(400, "invalid_json", f"The request's body is nested deeper than {MAX_DEPTH} levels")

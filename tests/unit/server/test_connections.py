"""Connections of clients that do nothing, too slowly or too often, by real sockets with short deadlines."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.datastructures import Headers
from uvicorn.server import ServerState

from localfirst.errors import LfError, NoFitError
from localfirst.server import body, connection, endpoint, listen
from localfirst.server.dialects import PING, make_event
from localfirst.server.failures import RefusedError


async def answer_shortly(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def answer_endlessly(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await asyncio.sleep(0)  # what is sent to a client that has left is taken at once


def with_server(app: Any, test: Callable[[int], Awaitable[None]]) -> None:
    async def main() -> None:
        config = uvicorn.Config(app, loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        made = await loop.create_server(lambda: connection.BoundedProtocol(config, state, {}), "127.0.0.1", 0)
        async with made:
            await test(made.sockets[0].getsockname()[1])

    asyncio.run(main())


async def send(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["silent", "half a head"])
def test_a_connection_that_never_asks_is_cut_off(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)

    async def test(port: int) -> None:
        reader, writer = await send(port, data)
        assert await is_cut_off(reader)
        writer.close()

    with_server(answer_shortly, test)


def test_half_a_second_head_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)

    async def test(port: int) -> None:
        reader, writer = await send(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /")
        assert await is_cut_off(reader)
        writer.close()

    with_server(answer_shortly, test)


def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_S", 0.3)

    async def test(port: int) -> None:
        reader, writer = await send(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.transport.pause_reading()
        await asyncio.sleep(1.5)
        writer.transport.resume_reading()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(10**9)
        writer.close()

    with_server(answer_endlessly, test)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "READ_S", 0.1)

    async def receive() -> Any:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(RefusedError) as raised:
        asyncio.run(body.read_object(Headers({"content-type": "application/json"}), receive))
    assert raised.value.status == 408


def test_a_client_that_leaves_its_body_unfinished_is_not_answered() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(body.ClientLeftError):
        asyncio.run(body.read_object(Headers({"content-type": "application/json; charset=utf-8"}), receive))


def read_stream(events: Any, path: str = "/v1/completions") -> tuple[list[str], Exception | None]:
    sent: list[str] = []

    async def put(message: Any) -> None:
        sent.append(message.get("body", b"").decode() if message["type"].endswith("body") else "head")

    async def main() -> None:
        await endpoint.Stream(events)({"path": path, "headers": []}, None, put)

    try:
        asyncio.run(main())
    except LfError as error:
        return sent, error
    return sent, None


def test_a_stream_with_nothing_to_say_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "KEEP_ALIVE_S", 0.1)

    async def speak() -> Any:
        await asyncio.sleep(0.25)
        yield make_event("one")
        raise NoFitError("too large")

    sent, error = read_stream(speak())
    assert error is None
    assert sent[:3] == ["head", ": keep-alive\n\n", ": keep-alive\n\n"]
    assert sent[-3] == "data: one\n\n"
    assert json.loads(sent[-2].removeprefix("data: "))["error"]["code"] == "model_does_not_fit"


@pytest.mark.parametrize(
    ("path", "alive", "error"),
    [
        ("/v1/messages", [PING, PING], 'event: error\ndata: {"type":"error","error":{"type":"api_error",'),
        ("/api/chat", [], '{"error":"too large","code":"model_does_not_fit"}\n'),
    ],
)
def test_each_dialect_shows_it_lives_and_what_went_wrong_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch, path: str, alive: list[str], error: str
) -> None:
    monkeypatch.setattr(endpoint, "KEEP_ALIVE_S", 0.1)

    async def speak() -> Any:
        await asyncio.sleep(0.25)
        yield "one"
        raise NoFitError("too large")

    sent, _ = read_stream(speak(), path)
    assert sent[1:-3] == alive
    assert sent[-3] == "one"
    assert sent[-2].startswith(error)


def test_what_goes_wrong_before_the_first_word_has_a_status_of_its_own() -> None:
    async def speak() -> Any:
        raise NoFitError("too large")
        yield ""

    sent, error = read_stream(speak())
    assert (sent, type(error)) == ([], NoFitError)


def test_what_is_sent_in_parts_is_sent_at_once() -> None:
    """As its connections are accepted by asyncio, which looks at what the socket says of itself."""

    async def main() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def tell(_reader: Any, writer: asyncio.StreamWriter) -> None:
            accepted_by = writer.get_extra_info("socket")
            accepted.set_result(accepted_by.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen.listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(tell, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.close()
                return await accepted

    assert asyncio.run(main())


def test_a_head_is_sent_together_with_the_first_words_after_it() -> None:

    async def answer_in_parts(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"last"})

    async def test(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            first = await loop.sock_recv(client, 65536)
            assert first.startswith(b"HTTP/1.1 200")
            assert first.endswith(b"first\r\n")
            rest = b""
            while more := await loop.sock_recv(client, 65536):
                rest += more
            assert b"last" in rest  # also where the connection is closed right after it

    with_server(answer_in_parts, test)

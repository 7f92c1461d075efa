"""Connections of clients that do nothing, too slowly or too often, by real sockets with short deadlines."""

from __future__ import annotations

import asyncio
import json
import re
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


def with_server(
    app: Any, test: Callable[[int], Awaitable[None]], protocol: type[Any] = connection.BoundedProtocol
) -> None:
    async def main() -> None:
        config = uvicorn.Config(app, loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        made = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
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


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


async def tell_request(scope: Any, receive: Any, send: Any) -> None:
    """What it was asked, as it stands when the body is there."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    names = [name.decode() for name, _ in scope["headers"]]
    told = json.dumps([scope["method"], scope["path"], body.decode(), names]).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


async def read_all(reader: asyncio.StreamReader) -> bytes:
    got = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), 10):
            got += data
    except ConnectionResetError:
        pass
    return got


def exchange(data: bytes, app: Any = tell_request) -> bytes:
    """All that comes back until the connection is closed."""
    got = b""

    async def test(port: int) -> None:
        nonlocal got
        reader, writer = await send(port, data)
        got = await read_all(reader)
        writer.close()

    with_server(app, test)
    return got


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /a HTTP/0.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /a HTTP/1.1\nHost: x\n\n",
        b"A" * 5000 + b" /a HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_plainly_a_request_is_none(head: bytes) -> None:
    got = exchange(head + GET + b"\r\n")
    assert got.startswith(connection.MALFORMED_HEAD)
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nX: ", b"a"),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n"),
        (b"GET / HTTP/1.1\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    ],
    ids=["address", "value", "headers", "name", "chunk", "value after the body", "headers after the body"],
)
def test_what_is_no_body_has_an_end(begin: bytes, more: bytes) -> None:
    async def test(port: int) -> None:
        reader, writer = await send(port, begin)
        sent = 0
        while sent < 16 * connection.HEAD_BYTES and not writer.is_closing() and not reader.at_eof():
            writer.write(more * (16_384 // len(more)))
            sent += 16_384
            await asyncio.sleep(0)
            try:
                await writer.drain()
            except ConnectionError:
                break
        assert sent < 8 * connection.HEAD_BYTES  # what the sockets hold is sent too
        writer.close()

    with_server(tell_request, test)


def test_what_comes_after_a_body_is_no_header() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = exchange(head + b"2\r\nhi\r\n0\r\nOrigin: evil\r\n\r\n")
    assert json.loads(got.partition(b"\r\n\r\n")[2]) == [
        "POST",
        "/a",
        "hi",
        ["host", "connection", "transfer-encoding"],
    ]


def test_who_offers_another_protocol_is_answered_in_this_one_and_asks_on() -> None:
    """As clients of Java do with each request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + offer + b"\r\nhi"
    get = b"GET /b HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n"
    got = exchange(post + get + post + b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    told = [json.loads(one)[:3] for one in re.findall(rb"\r\n\r\n(\[.*?\]\])", got)]
    assert told == [["POST", "/a", "hi"], ["GET", "/b", ""], ["POST", "/a", "hi"], ["GET", "/c", ""]]


def test_an_old_client_is_sent_a_stream_as_it_is() -> None:
    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two ", "more_body": True})
        await send({"type": "http.response.body", "body": b"three"})

    head, _, body = exchange(b"GET /a HTTP/1.0\r\n\r\n", stream).partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"chunked" not in head
    got = exchange(b"GET /a HTTP/1.0\r\n\r\n", answer_shortly)
    assert got.endswith(b"ok")
    assert b"content-length: 2" in got


def test_a_head_alone_is_sent_at_once() -> None:
    async def test(port: int) -> None:
        reader, writer = await send(port, b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"content-length: 2" in got
        writer.write(GET + b"\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200")
        writer.close()

    with_server(answer_shortly, test)


def test_who_leaves_is_seen_to_leave_also_with_other_requests_sent_ahead() -> None:
    async def test(port: int) -> None:
        _, writer = await send(port, GET + b"\r\n" + GET + b"\r\n")
        await asyncio.wait_for(begun.wait(), 5)
        writer.transport.abort()
        assert await asyncio.wait_for(left, 5) == "http.disconnect"
        await asyncio.sleep(0.1)
        assert count == 1  # nobody waits for the second

    async def wait_until_left(_scope: Any, receive: Any, _send: Any) -> None:
        nonlocal count
        count += 1
        await receive()
        begun.set()
        left.set_result((await receive())["type"])

    count = 0
    begun: asyncio.Event
    left: asyncio.Future[str]

    async def prepared(port: int) -> None:
        nonlocal begun, left
        begun, left = asyncio.Event(), asyncio.get_running_loop().create_future()
        await test(port)

    with_server(wait_until_left, prepared)


def test_what_comes_ahead_and_is_no_request_is_not_told_in_the_place_of_an_answer() -> None:
    async def answer_late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        await answer_shortly(scope, receive, send)

    got = exchange(GET + b"\r\n" + b"no request\r\n\r\n", answer_late)
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(b"ok")
    assert got.count(b"HTTP/1.1 ") == 1


def test_only_so_many_requests_wait_behind_one_that_is_answered() -> None:
    """However soon each is answered, and in however many pieces they come."""
    most = 0

    async def answer_in_turn(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await answer_shortly(scope, receive, send)

    class Watched(connection.BoundedProtocol):
        def data_received(self, data: bytes) -> None:
            nonlocal most
            super().data_received(data)
            most = max(most, len(self.pipeline))

    async def test(port: int) -> None:
        reader, writer = await send(port, b"")
        answered = asyncio.ensure_future(read_all(reader))
        try:
            for _ in range(64):
                writer.write((GET + b"\r\n") * 1000)
                await writer.drain()
        except ConnectionError:
            pass
        got = await answered
        assert got.count(b"HTTP/1.1 200") < 200
        writer.close()

    with_server(answer_in_turn, test, Watched)
    assert 0 < most <= connection.AHEAD_MOST


def test_who_leaves_after_garbage_is_seen_to_leave() -> None:
    async def wait_until_left(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        begun.set_result(None)
        left.set_result((await receive())["type"])

    async def test(port: int) -> None:
        nonlocal begun, left
        loop = asyncio.get_running_loop()
        begun, left = loop.create_future(), loop.create_future()
        _, writer = await send(port, GET + b"\r\n" + GET + b"\r\nno request\r\n\r\n")
        await asyncio.wait_for(begun, 5)
        writer.transport.abort()
        assert await asyncio.wait_for(left, 5) == "http.disconnect"

    begun: asyncio.Future[None]
    left: asyncio.Future[str]
    with_server(wait_until_left, test)


def test_who_leaves_in_the_middle_of_a_stream_is_told_from_who_has_all_of_it() -> None:
    async def speak() -> Any:
        while True:
            yield make_event("one")
            await asyncio.sleep(0.01)

    async def stream(_pool: Any, _asked: Any) -> endpoint.Stream:
        return endpoint.Stream(speak())

    serve = endpoint.Endpoint(stream, None, str)
    ended: asyncio.Future[bool]

    async def note(scope: Any, receive: Any, send: Any) -> None:
        await serve(scope, receive, send)
        ended.set_result(endpoint.LEFT in scope)

    async def test(port: int) -> None:
        nonlocal ended
        ended = asyncio.get_running_loop().create_future()
        reader, writer = await send(port, GET + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"data: one"), 5)
        writer.transport.abort()
        assert await asyncio.wait_for(ended, 5)

    with_server(note, test)


def test_garbage_after_a_request_does_not_cut_its_answer_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.1)

    async def answer_late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4)
        await answer_shortly(scope, receive, send)

    assert exchange(GET + b"\r\n" + b"no request\r\n\r\n", answer_late).endswith(b"ok")

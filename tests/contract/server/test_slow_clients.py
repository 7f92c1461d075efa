"""Clients that say nothing, too slowly, or come in crowds, to a real `lf serve` whose patience is short."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx2
import pytest
from tests.conftest import Lf
from tests.fixtures.attack import Wire, find_error, serving_hurriedly
from tests.fixtures.serving import Server, read_all, serving, wait_until

HEAD_S, READ_S, IDLE_S = 1.0, 1.5, 1.0
MOST = 16
QUICK = {
    "connection.HEAD_S": HEAD_S,
    "run.IDLE_S": IDLE_S,
    "body.READ_S": READ_S,
    "endpoint.KEEP_ALIVE_S": 0.05,
    "connection.CONNECTIONS_MOST": MOST,
}
SLOW_S = 3.0
"""By when each of them has to be cut off."""
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def hurried(served_home: Lf) -> Iterator[Server]:
    with serving_hurriedly(served_home, QUICK, "--ctx", "65536") as running:
        yield running


def drip(server: Server, first: str, more: str) -> tuple[bytes, float]:
    """What comes back, and when, for a beginning after which the rest comes a byte at a time, without an end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        begun = time.monotonic()
        connection.sendall(first.replace("HERE", f"127.0.0.1:{server.port}").replace("|", "\r\n").encode())
        over = threading.Event()

        def go_on() -> None:
            with suppress(OSError):
                while more and not over.wait(0.05):
                    connection.sendall(more.encode())

        with ThreadPoolExecutor(1) as pool:
            pool.submit(go_on)
            got = read_all(connection, 10)
            over.set()
        return got, time.monotonic() - begun


JSON = "POST /v1/chat/completions HTTP/1.1|Host: HERE|Content-Type: application/json|"
SLOW = {
    "silent": ("", "", b""),
    "half a head": ("GET /v1/models HTTP/1.1|Host: HERE|X: ", "", b""),
    "a head in drops": ("GET /v1/models HTTP/1.1|Host: HERE|X: ", "a", b""),
    "no body": (f"{JSON}Content-Length: 100||", "", b"HTTP/1.1 408"),
    "half a body": (JSON + 'Content-Length: 100||{"model":', "", b"HTTP/1.1 408"),
    "a body in drops": (f"{JSON}Content-Length: 100000||", " ", b"HTTP/1.1 408"),
    "a chunked body in drops": (f"{JSON}Transfer-Encoding: chunked||", "1\r\n \r\n", b"HTTP/1.1 408"),
    "nothing after an answer": ("GET /health HTTP/1.1|Host: HERE||", "", b"HTTP/1.1 200"),
    "drops after an answer": ("GET /health HTTP/1.1|Host: HERE||", "G", b"HTTP/1.1 200"),
    "a refused body in drops": ("POST /v1/models HTTP/1.1|Host: evil|Content-Length: 100000||", " ", b"HTTP/1.1 403"),
}
"""Beginnings, what comes a byte at a time, and what is said to it before it is cut off; `|` for the ends of lines."""


def test_slow_clients_are_cut_off_and_a_long_stream_beside_them_is_not(hurried: Server) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        slow = {kind: pool.submit(drip, hurried, first, more) for kind, (first, more, _) in SLOW.items()}
        begun = time.monotonic()
        with hurried.client.chat.completions.create(model="endless", messages=HI, stream=True) as stream:
            for _ in stream:
                if time.monotonic() - begun > 2 * READ_S:
                    break
            else:
                pytest.fail("the stream ended")
        for kind, done in slow.items():
            (got, took_s), said = done.result(), SLOW[kind][2]
            assert got[: len(said) or None] == said, kind
            assert took_s < SLOW_S, kind


ALIVE = {
    "/v1/chat/completions": b": keep-alive\n\n",
    "/v1/responses": b": keep-alive\n\n",
    "/v1/messages": b'event: ping\ndata: {"type":"ping"}\n\n',
}


@pytest.mark.parametrize("path", ALIVE)
def test_a_stream_says_that_it_lives_while_its_prompt_is_read(hurried: Server, path: str) -> None:
    long = f"{path} " * 20
    asked = {"input": long} if path == "/v1/responses" else {"messages": [{"role": "user", "content": long}]}
    asked["max_output_tokens" if path == "/v1/responses" else "max_tokens"] = 1
    with Wire(hurried) as wire:
        got = wire.post(path, asked | {"model": "slow", "stream": True})
    assert got.status == 200
    assert got.body.startswith(ALIVE[path])
    assert got.body.count(ALIVE[path]) > 1
    assert b'"error":{' not in got.body


CROWD_PATHS = ("/v1/chat/completions", "/v1/messages", "/api/chat", "/health")


def test_a_connection_too_many_is_told_so_in_its_dialect_and_more_are_not_even_heard(hurried: Server) -> None:
    wait_until(lambda: count_connections(hurried) == 0)
    with ExitStack() as held:
        for _ in range(MOST):
            held.enter_context(socket.create_connection(("127.0.0.1", hurried.port)))
        wait_until(lambda: count_connections(hurried) == MOST)
        for path in CROWD_PATHS:
            with Wire(hurried) as wire:
                got = wire.post(path, {})
            assert "too many connections" in find_error(path, got)
            assert got.status == (529 if path == "/v1/messages" else 503)
            assert got.headers["retry-after"] == "5"
            assert got.headers["x-should-retry"] == "true"
            assert got.headers["connection"] == "close"
        more = [held.enter_context(socket.create_connection(("127.0.0.1", hurried.port))) for _ in range(2 * MOST)]
        assert sum(read_all(one, 0.3) == b"" and is_closed(one) for one in more) >= MOST
    with Wire(hurried) as wire:
        assert wire.ask("GET", "/health").status == 200


def count_connections(server: Server) -> int:
    return sum(one.status == "ESTABLISHED" for one in server.find_process().net_connections("tcp"))


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_client_may_send_ahead_only_so_much(hurried: Server) -> None:
    """And who sends ahead and leaves is seen to leave."""
    data = json.dumps({"model": "endless", "messages": HI}).encode()
    head = JSON.replace("HERE", f"127.0.0.1:{hurried.port}").replace("|", "\r\n") + f"Content-Length: {len(data)}"
    ahead = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{hurried.port}\r\n\r\n".encode()
    with Wire(hurried) as wire:
        assert wire.post("/v1/chat/completions", {"model": "endless", "messages": HI, "max_tokens": 1}).status == 200
        for more in (ahead, ahead * 10_000):
            with socket.create_connection(("127.0.0.1", hurried.port)) as connection:
                connection.sendall(f"{head}\r\n\r\n".encode() + data)
                time.sleep(0.3)  # it is being answered
                with suppress(OSError):
                    connection.sendall(more)
                time.sleep(0.1)
            begun = time.monotonic()
            got = wire.post("/v1/chat/completions", {"model": "endless", "messages": HI, "max_tokens": 1})
            assert got.status == 200
            assert time.monotonic() - begun < 1


def test_a_log_that_nobody_reads_keeps_nobody_waiting(lf: Lf) -> None:
    """A pipe takes 64 KB."""
    with serving(lf) as server, httpx2.Client(trust_env=False, timeout=10) as client:
        for _ in range(900):
            assert client.get(f"{server.root}/{'a' * 80}").status_code == 404
        assert client.get(f"{server.root}/health").status_code == 200
        assert server.stop().count("404") > 600

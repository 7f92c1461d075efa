"""A real `lf serve` in a storm: crowds, clients that all leave at once, workers that die or hang, an end any time."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.conftest import Lf
from tests.fixtures.attack import Answered, Wire, find_error
from tests.fixtures.serving import Server, is_running, serving, wait_until

HI = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"
LONG = ("--ctx", "65536")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


class Endless(NamedTuple):
    """A request whose answer has no end, and how its stream tells what went wrong."""

    path: str
    body: dict[str, Any]
    error: str
    """The beginning of its last event; then comes a code or a message."""


ENDLESS = (
    Endless(CHAT, {"messages": HI}, 'data: {"error":{"message":"'),
    Endless("/v1/completions", {"prompt": "round"}, 'data: {"error":{"message":"'),
    Endless("/v1/responses", {"input": "hi"}, 'event: response.failed\ndata: {"type":"response.failed",'),
    Endless("/v1/messages", {"messages": HI, "max_tokens": 60_000}, 'event: error\ndata: {"type":"error","error":{'),
    Endless("/api/chat", {"messages": HI}, '{"error":"'),
    Endless("/api/generate", {"prompt": "hi"}, '{"error":"'),
)


class Stream:
    """A stream that goes on, after its first words."""

    def __init__(self, server: Server, asked: Endless) -> None:
        self.asked = asked
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        data = json.dumps(asked.body | {"model": "endless", "stream": True})
        self._connection.request("POST", asked.path, data, {"content-type": "application/json"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._response.read(1)

    def leave(self) -> None:
        self._response.close()
        self._connection.close()

    def read_end(self) -> str:
        """Its last event, once the server has ended it as HTTP has it."""
        text = self._response.read().decode("utf-8", "replace")
        self.leave()
        events = text.rstrip("\n").split("\n" if self.asked.path.startswith("/api/") else "\n\n")
        return events[-1]


def start_all(server: Server) -> list[Stream]:
    """One stream of each dialect, at the same time."""
    with ThreadPoolExecutor(len(ENDLESS)) as pool:
        return list(pool.map(lambda asked: Stream(server, asked), ENDLESS))


def ask_shortly(server: Server, model: str = "endless", **more: Any) -> Answered:
    with Wire(server) as wire:
        return wire.post(CHAT, {"model": model, "messages": HI, "max_tokens": 1} | more)


@pytest.fixture(scope="module")
def wide(served_home: Lf) -> Iterator[Server]:
    """A server that gives an answer of each dialect at the same time."""
    with serving(served_home, *LONG, "--parallel", str(len(ENDLESS)), "--queue", "16") as running:
        yield running


def test_every_stream_of_a_killed_worker_ends_with_an_error_of_its_dialect(wide: Server) -> None:
    streams = start_all(wide)
    (worker,) = wide.find_workers()
    begun = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    with ThreadPoolExecutor(len(streams)) as pool:
        ends = list(pool.map(Stream.read_end, streams))
    assert time.monotonic() - begun < 5
    for stream, end in zip(streams, ends, strict=True):
        assert end.startswith(stream.asked.error), stream.asked.path
        assert "SIGKILL" in end, stream.asked.path
    assert ask_shortly(wide).status == 200
    assert len(wide.find_workers()) == 1


def test_a_crowd_is_answered_waits_or_is_turned_away_and_nobody_hangs(wide: Server) -> None:
    streams = start_all(wide)
    with ThreadPoolExecutor(64) as pool:
        crowd = [pool.submit(ask_shortly, wide) for _ in range(64)]
        wait_until(lambda: sum(one.done() for one in crowd) == 64 - 16)
        assert b"lf_requests_waiting 16" in wide.get("/metrics").content
        for stream in streams:
            stream.leave()
        done = [one.result() for one in crowd]
    assert Counter(one.status for one in done) == {200: 16, 429: 48}
    for one in done:
        assert (one.headers.get("retry-after"), one.status) in {(None, 200), ("2", 429)}
        assert one.status == 200 or "queue_full" in find_error(CHAT, one)


def leave(server: Server, body: dict[str, Any], after_s: float, *, rudely: bool) -> None:
    """Ask, and go away."""
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        time.sleep(after_s)
        if rudely:  # by a reset, not by an end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("model", ["endless", "slow"])
def test_clients_that_all_leave_free_every_place(wide: Server, model: str) -> None:
    """While their answers are written, and while their prompts are read."""
    assert ask_shortly(wide, model).status == 200
    workers = {one.pid for one in wide.find_workers()}
    prompts = HI if model == "endless" else [{"role": "user", "content": "a b c d " * 1000}]
    body = {"model": model, "messages": prompts}
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda n: leave(wide, body | {"stream": n % 2 == 0}, 0.5, rudely=n % 3 == 0), range(24)))
    begun = time.monotonic()
    wait_until(lambda: b"lf_requests_active 0" in wide.get("/metrics").content)
    assert time.monotonic() - begun < 1
    assert b"lf_requests_waiting 0" in wide.get("/metrics").content
    assert ask_shortly(wide, model).status == 200
    assert {one.pid for one in wide.find_workers()} == workers


def test_an_end_under_load_tells_every_stream_in_its_dialect_and_who_waits(served_home: Lf) -> None:
    with serving(served_home, *LONG, "--parallel", str(len(ENDLESS))) as server:
        streams = start_all(server)
        with ThreadPoolExecutor(16) as pool:
            waiting = [pool.submit(ask_shortly, server) for _ in range(4)]
            wait_until(lambda: b"lf_requests_waiting 4" in server.get("/metrics").content)
            ends = [pool.submit(stream.read_end) for stream in streams]
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for stream, end in zip(streams, ends, strict=True):
                assert end.result().startswith(stream.asked.error), stream.asked.path
                assert "stopping" in end.result(), stream.asked.path
            for one in waiting:
                assert (one.result().status, one.result().headers["retry-after"]) == (503, "5")
                assert "server_stopping" in find_error(CHAT, one.result())
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - begun < 5


def test_an_end_while_an_engine_hangs_is_soon_and_said(served_home: Lf) -> None:
    with serving(served_home, *LONG) as server, ThreadPoolExecutor(2) as pool:
        stream = Stream(server, ENDLESS[0])
        waiting = pool.submit(ask_shortly, server)
        wait_until(lambda: b"lf_requests_waiting 1" in server.get("/metrics").content)
        (worker,) = server.find_workers()
        worker.suspend()
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert "server_stopping" in stream.read_end()
        assert "server_stopping" in find_error(CHAT, waiting.result())
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - begun < 5
        wait_until(lambda: not is_running(worker.pid))


HANGS = "import sys; sys.stdin.buffer.read()"


def test_an_end_while_a_model_is_loaded_is_soon_and_said(served_home: Lf, tmp_path: Path) -> None:
    python = tmp_path / "python"  # whose worker gets as far as to listen to its parent
    python.write_text(f"""#!/bin/sh
case "$*" in *bootstrap.py*) exec {sys.executable} -c '{HANGS}';; esac
exec {sys.executable} "$@"
""")
    python.chmod(0o755)
    lf = Lf(served_home.home, {"LF_RUNTIME_LLAMA_CPU": str(python)})
    with serving(lf) as server, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask_shortly, server, stream=stream) for stream in (False, True, False)]
        wait_until(lambda: len(server.find_workers()) == 1)
        (worker,) = server.find_workers()
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for one in asked:
            assert "server_stopping" in find_error(CHAT, one.result())
            assert one.result().status == 503
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - begun < 5
        wait_until(lambda: not is_running(worker.pid))

"""Servers that send without an end, and programs that are none."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from localfirst.backends import limits
from localfirst.backends.base import GenerateRequest
from localfirst.backends.external import guard, http
from localfirst.backends.external.answer import follow
from localfirst.conversation import Sampling
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 4096


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[http.Address]:
    """A server whose answer begins as asked and goes on with letters for as long as somebody reads."""
    monkeypatch.setattr(http, "MOST_ANSWER_BYTES", LIMIT_BYTES)

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + request.param)
            while True:
                try:
                    client.sendall(b"a" * 65536)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield http.Address("127.0.0.1", server.getsockname()[1], "", False, None)
        thread.join(timeout=5)


@pytest.mark.parametrize("endless", [b'{"text": "'], indirect=True)
def test_an_answer_without_an_end_is_an_error(endless: http.Address) -> None:
    with pytest.raises(EngineError, match="an answer that has no end"):
        http.ask(endless, "/v1/models")


@pytest.mark.parametrize("endless", [b'data: {"text": "'], indirect=True)
def test_an_event_without_an_end_is_an_error(endless: http.Address) -> None:
    stream = http.Stream(endless, "/v1/completions", {})
    with pytest.raises(EngineError, match="an event that has no end"):
        stream.wait(5)


MOST_BYTES = 64 * 2**20
"""Far more than what the system keeps of a connection that nobody reads."""


class Torrent:
    """A server that sends numbered events as fast as they are taken, up to `MOST_BYTES` of them."""

    def __init__(self) -> None:
        self.held = threading.Event()
        """Set when it could not send for a second, or when it has sent everything."""
        self.all_sent = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = http.Address("127.0.0.1", self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._listening, self._listening.accept()[0] as client, contextlib.suppress(OSError):
            client.recv(65536)
            client.setblocking(False)
            self._pour(client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            for number in range(MOST_BYTES // 65536):
                self._pour(client, b'data: {"number": %d, "text": "%s"}\n' % (number, b"a" * 65500))
            self._pour(client, b"data: [DONE]\n")
            self.all_sent = True
            self.held.set()
            client.setblocking(True)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):  # a socket that is closed with something unread in it resets the connection
                pass

    def _pour(self, client: socket.socket, data: bytes) -> None:
        while data:
            if not select.select([], [client], [], 1)[1]:
                self.held.set()
                continue
            data = data[client.send(data) :]


def test_a_server_that_is_faster_than_its_reader_has_to_wait_and_nothing_is_lost() -> None:
    server = Torrent()
    stream = http.Stream(server.address, "/v1/completions", {})
    assert server.held.wait(60)
    assert not server.all_sent
    events = list(iter(lambda: stream.wait(60), http.OVER))
    stream.close()
    assert [event["number"] for event in events if event] == list(range(MOST_BYTES // 65536))


def test_hanging_up_on_a_server_that_waits_ends_at_once() -> None:
    server = Torrent()
    stream = http.Stream(server.address, "/v1/completions", {})
    assert server.held.wait(60)
    closing = threading.Thread(target=stream.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="others keep no place in the queue from a connection")
def test_hanging_up_on_a_server_that_lets_nobody_in_ends_at_once() -> None:
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):  # one more than wait for it: those that come after hear nothing
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        stream = http.Stream(http.Address("127.0.0.1", server.getsockname()[1]), "/v1/completions", {})
        assert stream.wait(0.2) is None
        closing = threading.Thread(target=stream.close, daemon=True)
        closing.start()
        closing.join(1)
        assert not closing.is_alive()


NONSENSE = (
    {"choices": [1]},
    {"choices": 7},
    {"choices": [{"delta": "text"}]},
    {"choices": [{"text": ["a"]}]},
    {"usage": {"prompt_tokens": "many"}},
    {"usage": [1]},
    {"timings": {"predicted_ms": 3}},
    {"timings": {"predicted_ms": "long", "prompt_ms": 1}},
    {"timings": "slow"},
)


@pytest.mark.parametrize("event", NONSENSE, ids=str)
def test_an_event_that_is_no_part_of_an_answer_is_the_servers_mistake(event: dict) -> None:
    class Replayed:
        left: ClassVar = [event, http.OVER]

        def wait(self, _: float) -> dict:
            return self.left.pop(0)

        def close(self) -> None:
            self.left = []

    asked = GenerateRequest("", Sampling(), 8, (), lambda: False)
    with pytest.raises(EngineError, match="answers with something unexpected"):
        list(follow(Replayed(), asked, limits.Allowance(8, "length"), 3))


def test_a_file_that_is_no_program_is_told_in_one_line(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    script = Path(guard.__file__)
    done = subprocess.run([sys.executable, "-I", "-S", script, program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (guard.CANNOT_EXECUTE, "")
    assert done.stderr.startswith(f"{program} cannot be started: ")
    assert len(done.stderr.splitlines()) == 1

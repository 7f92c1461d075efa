"""Requests to an engine's own server, answered by a real socket in whatever pieces."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from localfirst.backends.llama_cpp.local_http import CancelledError, LocalConnection

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-LENGTH: 7\r\n"


class Answering:
    """Takes one connection, and answers each request on it with the next of its answers."""

    def __init__(self, path: Path, *answers: tuple[bytes, ...]) -> None:
        self.heard: list[bytes] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._answer, name=str(path)).start()

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            for pieces in self._answers:
                self.heard.append(connection.recv(65536))
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "s"
    for thread in threading.enumerate():
        if thread.name == str(tmp_path / "s"):
            thread.join(5)


def test_answers_come_whole_in_whatever_pieces_and_one_after_the_other(path: Path) -> None:
    whole = HEAD + b"\r\n" + b'{"a":1}'
    answering = Answering(path, (whole[:20], whole[20:-3], whole[-3:]), (whole.replace(b"200 OK", b"404 No"),))
    with closing(LocalConnection(str(path), "key")) as connection:
        assert connection.ask("POST", "/tokenize", b"[]") == (200, b'{"a":1}')
        assert connection.ask("GET", "/props") == (404, b'{"a":1}')
        assert connection.stays
    assert answering.heard[0].startswith(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\n")
    assert answering.heard[0].endswith(b"Content-Length: 2\r\n\r\n[]")


def test_a_server_that_will_close_is_heard(path: Path) -> None:
    Answering(path, (HEAD + b'Connection: close\r\n\r\n{"a":1}',))
    with closing(LocalConnection(str(path), "key")) as connection:
        assert connection.ask("GET", "/props") == (200, b'{"a":1}')
        assert not connection.stays


@pytest.mark.parametrize("pieces", [(), (HEAD + b"\r\n{",), (HEAD,), (b"HTTP/1.1 200 OK\r\n\r\n{}",), (b"no\r\n\r\n",)])
def test_what_is_no_answer_is_an_error(path: Path, pieces: tuple[bytes, ...]) -> None:
    Answering(path, pieces)
    with closing(LocalConnection(str(path), "key")) as connection, pytest.raises(ConnectionError):
        connection.ask("GET", "/props")


def test_one_that_takes_long_can_be_left(path: Path) -> None:
    Answering(path, ((b""),), ())
    with closing(LocalConnection(str(path), "key")) as connection, pytest.raises(CancelledError):
        connection.ask("POST", "/v1/embeddings", b"{}", lambda: True)


def test_nobody_there_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalConnection(str(path), "key")

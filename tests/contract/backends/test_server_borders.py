"""Servers that send without an end, and programs that are none."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localfirst.backends.external import guard, http
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


def test_a_file_that_is_no_program_is_told_in_one_line(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    script = Path(guard.__file__)
    done = subprocess.run([sys.executable, "-I", "-S", script, program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (guard.CANNOT_EXECUTE, "")
    assert done.stderr.startswith(f"{program} cannot be started: ")
    assert len(done.stderr.splitlines()) == 1

"""Server programs before they answer: whose port somebody else took, that cannot be started, that say no version."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.engines import ask
from tests.fixtures import scripted, servers
from tests.fixtures.scripted import render

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.external import adapter, process, served, table
from localfirst.backends.registry import make_backend
from localfirst.errors import EngineError
from localfirst.worker import client

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "Hello from another port."


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs get their folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    scripted.make_gguf(tmp_path / "model.gguf", TEXT)
    return tmp_path / "model.gguf"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server((table.HOST, 0)) as other:
        yield other.getsockname()[1]


def offer(monkeypatch: pytest.MonkeyPatch, *ports: int) -> list[int]:
    """Let these be found first; those that are left."""
    left, find = list(ports), served.find_port
    monkeypatch.setattr(served, "find_port", lambda: left.pop(0) if left else find())
    return left


def test_a_port_that_was_taken_meanwhile_is_left_for_another(
    gguf: Path, taken: int, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = servers.make_program(tmp_path / "llama-server", "llama_server.py")
    offer(monkeypatch, taken)
    loaded = make_backend("llama-server", program).load(ModelFiles(str(gguf)), LoadOptions(None, 1))
    try:
        assert loaded.info.engine_version  # it was this server that answered
        assert ask(loaded, render("hi")).text == TEXT
    finally:
        loaded.close()
    assert list(temporary.iterdir()) == []


def test_a_program_that_finds_every_port_taken_is_given_up_with_its_own_words(
    gguf: Path, taken: int, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = servers.make_program(tmp_path / "llama-server", "llama_server.py")
    left = offer(monkeypatch, *[taken] * 5)
    with pytest.raises(EngineError) as caught:
        make_backend("llama-server", program).load(ModelFiles(str(gguf)), LoadOptions(None, 1))
    assert len(left) == 5 - served.ATTEMPTS
    assert f"couldn't bind HTTP server socket, hostname: 127.0.0.1, port: {taken}" in (caught.value.detail or "")
    assert list(temporary.iterdir()) == []


BIND = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"
TENSORRT = f"""
try:
    {BIND}
except OSError as e:
    raise RuntimeError(f"Failed to bind socket to 127.0.0.1:{{sys.argv[1]}}: {{e}}")
"""
UVICORN = """
import asyncio, sys
async def serve():
    await asyncio.start_server(print, "127.0.0.1", int(sys.argv[1]))
asyncio.run(serve())
"""


@pytest.mark.parametrize(
    ("server", "script"),
    [(table.VLLM, BIND), (table.SGLANG, UVICORN), (table.TENSORRT, TENSORRT)],
    ids=["vllm", "sglang", "tensorrt-llm"],
)
def test_what_each_program_says_of_a_taken_port_is_known(
    server: table.Server, script: str, taken: int, tmp_path: Path
) -> None:
    """By the same calls that bind it there: Python's sockets, and asyncio's, which uvicorn uses."""
    running = process.ServerProcess(server.engine, [sys.executable, "-c", script, str(taken)], {}, tmp_path)
    words = running.wait_for_words(60)
    running.close()
    assert running.has_said(server.port_taken), words


def test_another_end_is_no_reason_to_start_again(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "llama-server"
    program.write_text(f"#!/bin/sh\necho started >> {tmp_path / 'starts'}\necho no memory >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(EngineError):
        make_backend("llama-server", str(program)).load(ModelFiles(str(gguf)), LoadOptions(None, 1))
    assert (tmp_path / "starts").read_text() == "started\n"


def test_a_guard_that_cannot_be_started_leaves_no_folder(
    gguf: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(EngineError) as caught:
        make_backend("llama-server", "/bin/true").load(ModelFiles(str(gguf)), LoadOptions(None, 1))
    assert caught.value.message == "llama.cpp cannot be started"
    assert list(temporary.iterdir()) == []


def test_a_program_that_says_no_version_is_told_before_its_worker_is_given_up(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert adapter.VERSION_TIMEOUT_S < client.LOOK_TIMEOUT_S
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho thinking\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(adapter, "VERSION_TIMEOUT_S", 1.0)
    with pytest.raises(EngineError) as caught:
        make_backend("llama-server", str(program)).describe_build()
    assert caught.value.message == f"`{program} --version` has not ended in 1 s"
    assert caught.value.detail == "thinking"
    assert list(temporary.iterdir()) == []

"""Blocks on their way from a real socket to a real file."""

from __future__ import annotations

import os
import random
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localfirst.store.net.block import PIPE_BYTES, Block, Received, can_pipe, read_piped

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = random.Random(1).randbytes(3 * PIPE_BYTES + 12_345)  # noqa: S311 - the same bytes in every run
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection; the first one has a time limit, as those of a download have."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        near.settimeout(5)
        with far:
            yield near, far


def write(blocks: Iterator[Block], path: Path, *, most: int, flags: int = 0) -> bytes:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
    try:
        for block in blocks:
            while block.size_bytes:
                assert 0 < block.write_to(descriptor, most) <= most
    finally:
        os.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("most", [1_000_003, 5_000])
def test_a_block_in_memory_is_written_in_as_many_steps_as_are_asked_for(tmp_path: Path, most: int) -> None:
    assert write(iter([Received(DATA), Received(b"end")]), tmp_path / "file", most=most) == DATA + b"end"


@only_linux
@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["by the kernel", "by this process, where it must"])
@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 1, 1])
def test_what_comes_through_a_pipe_is_what_was_sent_and_no_byte_more(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket], flags: int, size: int
) -> None:
    near, far = ends
    sender = threading.Thread(target=far.sendall, args=(DATA,))
    sender.start()
    assert write(read_piped(near, size, 5), tmp_path / "file", most=70_001, flags=flags) == DATA[:size]
    rest = b""
    while len(rest) < len(DATA) - size:
        rest += near.recv(100_000)
    sender.join()
    assert rest == DATA[size:]


@only_linux
def test_a_connection_that_ends_early_gives_what_it_brought(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    far.sendall(DATA[:1000])
    far.shutdown(socket.SHUT_WR)
    assert write(read_piped(near, 2000, 5), tmp_path / "file", most=2000) == DATA[:1000]


@only_linux
def test_silence_ends_after_its_limit_and_the_pipe_is_closed(ends: tuple[socket.socket, socket.socket]) -> None:
    open_before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(TimeoutError, match="timed out"):
        next(read_piped(ends[0], 1, 0.05))
    assert set(Path("/proc/self/fd").iterdir()) == open_before


def test_only_plain_sockets_are_read_unseen(ends: tuple[socket.socket, socket.socket]) -> None:
    assert can_pipe(ends[0]) is (sys.platform == "linux")
    with ssl.create_default_context().wrap_socket(
        ends[0], server_hostname="localhost", do_handshake_on_connect=False
    ) as encrypted:
        assert not can_pipe(encrypted)
    assert not can_pipe(None)

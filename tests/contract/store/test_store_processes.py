"""Pulling processes that are killed, interrupted, or meet each other."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.fixtures.hub import make_model, sha256

from localfirst import lock, paths
from localfirst.errors import DiskFullError, NetworkError
from localfirst.store import manifest
from localfirst.store.net.wire import Limits
from localfirst.store.pull import pull
from localfirst.store.transfer.journal import BLOCK_BYTES, Journal
from localfirst.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.hub import Hub

    from localfirst.types import Progress

MB = 10**6
SIZE = 32 * MB
DATA = random.Random(2).randbytes(SIZE)  # noqa: S311 (the same bytes in every run)
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


class Child:
    """One pulling process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.store.pull_child"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_until(self, key: str, least: int = 0) -> Any:
        """The next value of this key that is large enough."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            value = json.loads(line).get(key)
            if value is not None and (not isinstance(value, int) or value >= least):
                return value
        pytest.fail(f"the process ended without {key}: {self.process.stderr and self.process.stderr.read()}")

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Any]:
    children: list[Child] = []

    def run() -> Child:
        children.append(Child())
        return children[-1]

    yield run
    for child in children:
        child.close()


@pytest.fixture(autouse=True)
def repo(hub: Hub) -> None:
    hub.add_repo("org/model", {"model.gguf": DATA})


def test_a_pull_killed_again_and_again_finishes_and_costs_no_byte_twice(hub: Hub, start: Any) -> None:
    hub.rate_bytes_per_s = 20 * MB
    for least in (6 * MB, 14 * MB, 24 * MB):
        child = start()
        child.read_until("done", least)
        assert child.end(signal.SIGKILL) == -signal.SIGKILL
        assert manifest.find_all() == ()
    hub.rate_bytes_per_s = None
    assert start().read_until("sha256") == sha256(DATA)
    (installed,) = manifest.find_all()
    assert verify(installed) == ()
    assert hub.bytes_sent <= 1.05 * SIZE
    on_disk = sum(path.stat().st_size for path in paths.models_dir().rglob("*") if path.is_file())
    assert on_disk <= SIZE + 10_000


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_an_interrupted_pull_keeps_its_part(hub: Hub, start: Any, how: signal.Signals) -> None:
    hub.rate_bytes_per_s = 20 * MB
    child = start()
    done = child.read_until("done", 6 * MB)
    assert child.end(how) != 0
    (part,) = paths.data_dir().rglob("*.part")
    assert count_right_bytes(part) >= done


def count_right_bytes(part: Path) -> int:
    """How many bytes the journal of an unfinished file says are there, after comparing them."""
    data, right = part.read_bytes(), 0
    journal = Journal(part.with_suffix(".journal"), SIZE)
    for index, length in enumerate(journal.lengths):
        start = index * BLOCK_BYTES
        assert data[start : start + length] == DATA[start : start + length]
        right += length
    journal.close()
    return right


def test_the_second_process_waits_says_so_and_downloads_nothing(hub: Hub, start: Any) -> None:
    hub.rate_bytes_per_s = MB
    first = start()
    first.read_until("done", 2 * MB)
    second = start()
    assert second.read_until("notice") == f"waiting for process {first.process.pid}, which works on it"
    hub.rate_bytes_per_s = None
    assert first.read_until("sha256") == second.read_until("sha256") == sha256(DATA)
    assert hub.bytes_sent == SIZE


def test_the_second_process_takes_over_where_the_first_was_killed(hub: Hub, start: Any) -> None:
    hub.rate_bytes_per_s = MB
    first = start()
    first.read_until("done", 2 * MB)
    second = start()
    second.read_until("notice")
    hub.rate_bytes_per_s = 20 * MB
    first.end(signal.SIGKILL)
    assert second.read_until("sha256") == sha256(DATA)
    assert hub.bytes_sent <= 1.05 * SIZE


def test_the_second_process_takes_over_from_one_that_hangs(
    hub: Hub, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE_S", 1.0)
    hub.rate_bytes_per_s = 20 * MB
    first = start()
    first.read_until("done", 6 * MB)
    first.process.send_signal(signal.SIGSTOP)
    hub.rate_bytes_per_s = None
    notices: list[str] = []
    sent: list[int] = []

    def hear(step: Progress) -> None:
        if notice := step.detail.get("notice"):
            notices.append(notice)
            sent.append(hub.bytes_sent)

    installed = pull(*make_model("org/model", "model.gguf"), report=hear)
    assert verify(installed) == ()
    assert notices[0] == f"waiting for process {first.process.pid}, which works on it"
    assert notices[1] == "that process gave no sign of life for 1.0 s; taking over"
    # Counted from there on: what the first one was sent and never read is in its connections.
    assert hub.bytes_sent - sent[1] <= SIZE - 5 * MB
    first.process.send_signal(signal.SIGCONT)
    assert first.read_until("sha256") == sha256(DATA)  # it finds what was installed meanwhile
    assert verify(installed) == ()


def test_a_hub_that_swallows_connections_is_an_error_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # as many as the system keeps for a server that takes none
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{address[1]}")
        with pytest.raises(NetworkError) as caught:
            pull(*make_model("org/model", "model.gguf"), limits=Limits(connect_s=0.3, read_s=0.3, backoff_s=0.01))
        for client in waiting:
            client.close()
    assert "timed out" in (caught.value.detail or "")


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home on a file system of 40 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    monkeypatch.setenv("LF_HOME", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(disk)], check=True)


def test_space_that_was_promised_cannot_be_taken_away(hub: Hub, start: Any, small_disk: Path) -> None:
    hub.rate_bytes_per_s = 20 * MB
    child = start()
    child.read_until("done", 2 * MB)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "somebody else's file").write_bytes(bytes(20 * MB))
    (small_disk / "somebody else's file").unlink()
    hub.rate_bytes_per_s = None
    assert child.read_until("sha256") == sha256(DATA)


def test_a_disk_that_fills_up_where_nothing_can_be_promised_is_an_error_that_keeps_the_part(
    hub: Hub, start: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def take_space(step: Progress) -> None:
        if step.done > 2 * MB and not foreign.exists():
            foreign.write_bytes(bytes(20 * MB))

    foreign = small_disk / "somebody else's file"
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    hub.rate_bytes_per_s = 20 * MB
    with pytest.raises(DiskFullError) as caught:
        pull(*make_model("org/model", "model.gguf"), report=take_space)
    assert "What has been fetched is kept" in (caught.value.detail or "")
    (part,) = small_disk.rglob("*.part")
    assert count_right_bytes(part) >= 2 * MB
    foreign.unlink()
    hub.rate_bytes_per_s = None
    assert start().read_until("sha256") == sha256(DATA)
    assert hub.bytes_sent <= 1.05 * SIZE


def test_a_limit_on_file_sizes_is_a_full_disk_too(hub: Hub) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MB, hard))
    try:
        with pytest.raises(DiskFullError) as caught:
            pull(*make_model("org/model", "model.gguf"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.message == "The disk is full: File too large"
    assert hub.bytes_sent == 0
    assert pull(*make_model("org/model", "model.gguf")).files[0].sha256 == sha256(DATA)


def test_what_cannot_fit_is_refused_before_the_first_byte(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = 10**15
    hub.repos["org/model"].edit = lambda body: body["siblings"][0]["lfs"].update(size=huge)
    with pytest.raises(DiskFullError, match=r"Not enough space: 1050 TB needed"):
        pull(*make_model("org/model", "model.gguf"))
    assert hub.bytes_sent == 0


def test_the_lock_is_free_after_an_error(hub: Hub) -> None:
    hub.repos["org/model"].edit = lambda body: body["siblings"].clear()
    from localfirst.errors import CatalogError

    with pytest.raises(CatalogError):
        pull(*make_model("org/model", "model.gguf"))
    hub.repos["org/model"].edit = None
    started = time.monotonic()
    assert pull(*make_model("org/model", "model.gguf")).files[0].sha256 == sha256(DATA)
    assert time.monotonic() - started < 30

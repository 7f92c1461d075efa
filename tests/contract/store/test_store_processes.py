"""Pulling processes that are killed, interrupted, or meet each other."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.fixtures.hub import make_model, sha256

from localfirst import paths
from localfirst.store import manifest
from localfirst.store.pull import pull
from localfirst.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.hub import Hub

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
    assert part.stat().st_size >= done
    assert DATA.startswith(part.read_bytes())


def test_the_second_process_waits_says_so_and_downloads_nothing(hub: Hub, start: Any) -> None:
    hub.rate_bytes_per_s = 20 * MB
    first = start()
    first.read_until("done", 2 * MB)
    second = start()
    assert second.read_until("notice") == f"waiting for process {first.process.pid}, which is fetching it"
    assert first.read_until("sha256") == second.read_until("sha256") == sha256(DATA)
    assert hub.bytes_sent == SIZE


def test_the_second_process_takes_over_where_the_first_was_killed(hub: Hub, start: Any) -> None:
    hub.rate_bytes_per_s = 20 * MB
    first = start()
    first.read_until("done", 2 * MB)
    second = start()
    second.read_until("notice")
    first.end(signal.SIGKILL)
    assert second.read_until("sha256") == sha256(DATA)
    assert hub.bytes_sent <= 1.05 * SIZE


def test_a_full_disk_is_an_error_that_keeps_the_part(hub: Hub, start: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        os.environ["LF_HOME"] = str(disk)  # restored by the hub's fixture
        hub.rate_bytes_per_s = 20 * MB
        child = start()
        child.read_until("done", 2 * MB)
        (disk / "somebody else's file").write_bytes(bytes(20 * MB))
        assert child.read_until("error") == "disk-full"
        (part,) = disk.rglob("*.part")
        assert 2 * MB < part.stat().st_size < SIZE
        (disk / "somebody else's file").unlink()
        hub.rate_bytes_per_s = None
        assert start().read_until("sha256") == sha256(DATA)
        assert hub.bytes_sent <= 1.05 * SIZE
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


def test_a_limit_on_file_sizes_is_a_full_disk_too(hub: Hub) -> None:
    import resource

    from localfirst.errors import DiskFullError

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MB, hard))
    try:
        with pytest.raises(DiskFullError) as caught:
            pull(*make_model("org/model", "model.gguf"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.message == "The disk is full: File too large"
    (part,) = paths.data_dir().rglob("*.part")
    assert part.stat().st_size == 5 * MB
    assert pull(*make_model("org/model", "model.gguf")).files[0].sha256 == sha256(DATA)
    assert hub.bytes_sent <= SIZE + 5 * MB


def test_what_cannot_fit_is_refused_before_the_first_byte(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from localfirst.errors import DiskFullError

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

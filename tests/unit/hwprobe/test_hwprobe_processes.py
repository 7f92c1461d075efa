"""What processes and files take of memory, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localfirst.hwprobe import memory_speed, page_cache
from localfirst.hwprobe.footprint import forget_peak, parse_peak, read_footprint
from localfirst.hwprobe.host import ReplayHost

MIB = 2**20
CHILD = "import sys; taken = bytearray(b'x' * {size}); del taken; print('ready', flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD.format(size=64 * MIB)!r}], stdin=subprocess.PIPE)
sys.stdin.read()
child.stdin.close()
child.wait()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a peak that can be begun anew")


def start(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    return process


@linux
@pytest.mark.parametrize("code", [CHILD.format(size=64 * MIB), PARENT], ids=["its own", "what it started"])
def test_memory_that_was_given_back_is_in_the_peak_until_that_is_forgotten(code: str) -> None:
    with start(code) as process:
        peak = read_footprint(process.pid)
        forget_peak(process.pid)
        after = read_footprint(process.pid)
        process.communicate(b"")
    assert peak is not None
    assert peak.peak_bytes > 64 * MIB
    assert peak.cpu_s > 0
    assert after is not None
    assert after.peak_bytes < 64 * MIB
    assert read_footprint(process.pid) is None


def test_a_process_that_is_gone_takes_nothing() -> None:
    forget_peak(2**22 + 7)
    assert read_footprint(2**22 + 7) is None


def test_a_status_without_memory_has_no_peak() -> None:
    assert parse_peak("Name:\tx\nVmHWM:\t   12 kB\nVmRSS:\t 9 kB\n") == 12 * 1024
    assert parse_peak("Name:\tkthreadd\n") is None


@linux
def test_files_are_forgotten_and_that_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    assert page_cache.count_resident(path) == (256, 256)
    if not page_cache.forget([path]):
        pytest.skip("this file system keeps what it has")
    assert page_cache.count_resident(path)[0] <= page_cache.MOST_RESIDENT * 256
    path.read_bytes()
    assert page_cache.count_resident(path)[0] == 256


def test_what_cannot_be_read_was_not_forgotten(tmp_path: Path) -> None:
    assert page_cache.forget([tmp_path / "none"]) is False
    assert page_cache.forget([]) is False


def test_memory_is_read_at_some_speed_and_without_memory_at_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_speed, "LEAST_BYTES", MIB)
    monkeypatch.setattr(memory_speed, "find_cache", lambda _: MIB)
    speed = memory_speed.measure(2, 2**30)
    assert speed is not None
    assert 10**8 < speed < 10**13
    assert memory_speed.measure(2, 4 * MIB) is None
    assert memory_speed.measure(2, None) is None


def test_the_largest_cache_counts() -> None:
    folder = "/sys/devices/system/cpu/cpu0/cache/index"
    files = {f"{folder}0/size": "48K\n", f"{folder}3/size": "266240K\n", f"{folder}4/size": "?\n"}
    host = ReplayHost({"schema": "lf.machine-record/1", "platform": "linux", "machine": "x86_64", "files": files})
    assert memory_speed.find_cache(host) == 260 * MIB

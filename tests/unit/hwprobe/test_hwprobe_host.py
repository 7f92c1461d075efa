"""The real host on real files and processes, and the recorded host, which must never look at this machine."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localfirst.errors import UsageError
from localfirst.hwprobe.host import Completed, Host, ReplayHost, load_record

NOBODY = 65534
MINIMAL = {"schema": "lf.machine-record/1", "platform": "linux", "machine": "x86_64"}


@pytest.fixture
def host() -> Host:
    return Host(timeout_s=5)


def make_tool(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_what_is_missing_reads_as_nothing(host: Host, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert (host.read(gone), host.glob(f"{gone}/*"), host.exists(gone), host.link(gone)) == (None, (), False, None)
    assert (host.run([gone]), host.value("no.such.value"), host.registry("{0}"), host.sysctl("no.such")) == (
        None,
        None,
        {},
        None,
    )


@pytest.mark.parametrize("path", ["/dev/null/x", "\0", "", "/proc/self/mem"], ids=repr)
def test_paths_that_cannot_be_read_are_nothing(host: Host, path: str) -> None:
    assert host.read(path) is None
    assert host.link(path) is None
    assert not host.exists(path) or path == "/proc/self/mem"


def test_files_links_and_folders_are_read(host: Host, tmp_path: Path) -> None:
    for name in ("card1", "card0", "card0-DP-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "card0" / "vendor").write_bytes(b"0x10de\xff\n")
    (tmp_path / "driver").symlink_to("../drivers/xe")
    assert host.read(str(tmp_path / "card0" / "vendor")) == "0x10de\ufffd\n"
    assert host.glob(str(tmp_path / "card*")) == tuple(
        str(tmp_path / name) for name in ("card0", "card0-DP-1", "card1")
    )
    assert host.link(str(tmp_path / "driver")) == "../drivers/xe"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these nodes")
def test_nodes_that_this_user_may_not_open_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for node, mode in (("renderD128", 0o666), ("renderD129", 0o000)):
            (folder / node).touch()
            (folder / node).chmod(mode)
        monkeypatch.setattr("localfirst.hwprobe.posix_api._NODES", (f"{folder}/renderD*",))
        told = ask_as_a_plain_user(lambda: Host().value("linux.closed_nodes"))
    assert told == [f"{folder}/renderD129"]


def ask_as_a_plain_user(ask: Callable[[], object]) -> object:
    """The answer of a process that is not root's, since nothing is closed to root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(writing, json.dumps(ask()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told)


def test_a_command_answers_in_the_c_locale(host: Host, tmp_path: Path) -> None:
    tool = make_tool(tmp_path / "tool", 'echo "$LC_ALL $1"; echo trouble >&2; exit 3')
    assert host.run([tool, "--query"]) == Completed(3, "C --query\n", "trouble\n")


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    tool = make_tool(tmp_path / "tool", f"trap '' TERM; sleep 600 & echo $! > {child}; sleep 600")
    started = time.monotonic()
    assert Host(timeout_s=0.5).run([tool]) == Completed(None, "", "")
    assert time.monotonic() - started < 30
    assert wait_until_dead(int(child.read_text(encoding="utf-8")))


def wait_until_dead(pid: int) -> bool:
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_free_disk_space_is_told_for_a_folder_that_is_not_made_yet(host: Host, tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = host.disk_free_bytes(str(tmp_path / "not" / "made" / "yet"))
    assert free is not None
    assert abs(free - disk.f_bavail * disk.f_frsize) < 1 << 30  # others write to the same disk


def test_a_record_hides_this_machine_entirely() -> None:
    host = ReplayHost(dict(MINIMAL))
    assert (host.platform, host.machine) == ("linux", "x86_64")
    assert (host.read("/proc/cpuinfo"), host.glob("/proc/*"), host.exists("/"), host.link("/proc/self")) == (
        None,
        (),
        False,
        None,
    )
    assert (host.run(["true"]), host.value("x"), host.registry("{0}"), host.sysctl("x")) == (None, None, {}, None)
    assert host.disk_free_bytes("/") is None


def test_a_record_replaces_every_way_to_ask() -> None:
    ways = {name for name in vars(Host) if not name.startswith("_")}
    assert ways - vars(ReplayHost).keys() == set()


def test_a_record_answers_what_it_holds() -> None:
    host = ReplayHost(
        {
            **MINIMAL,
            "files": {"/sys/class/drm/card0/device/vendor": "0x1002\n", "/sys/class/drm/card0-DP-1/status": "on"},
            "links": {"/sys/class/drm/card0/device/driver": "../amdgpu"},
            "commands": {"tool --now": {"rc": 0, "stdout": "hi\n"}, "slow": {"rc": None}},
            "registry": {"{g}": {"0000": {"Size": {"hex": "00ff"}, "Name": "x", "Count": 3}}},
            "sysctl": {"hw.memsize": 8},
            "values": {"v": [1]},
            "disk_free_bytes": 5,
        }
    )
    assert host.glob("/sys/class/drm/card*/device/vendor") == ("/sys/class/drm/card0/device/vendor",)
    assert host.glob("/sys/class/drm/card*") == ("/sys/class/drm/card0", "/sys/class/drm/card0-DP-1")
    assert host.exists("/sys/class/drm/card0/device")
    assert host.link("/sys/class/drm/card0/device/driver") == "../amdgpu"
    assert host.run(["tool", "--now"]) == Completed(0, "hi\n", "")
    assert host.run(["slow"]) == Completed(None, "", "")
    assert host.run(["tool"]) is None
    assert (host.has_recorded("tool"), host.has_recorded("too")) == (True, False)
    assert host.registry("{g}") == {"0000": {"Size": b"\0\xff", "Name": "x", "Count": 3}}
    assert (host.sysctl("hw.memsize"), host.value("v"), host.disk_free_bytes("/any")) == ("8", [1], 5)


BAD = {
    "no JSON": ("{", "This is not a recorded machine: it is not JSON", None),
    "no object": ("[]", "This is not a recorded machine: it is a JSON array, not an object", None),
    "no schema": ("{}", "This is not a recorded machine of schema lf.machine-record/1", '"schema" is None'),
    "other schema": (
        '{"schema": "lf.machine-record/2"}',
        "This is not a recorded machine of schema lf.machine-record/1",
        "\"schema\" is 'lf.machine-record/2'",
    ),
    "no platform": (
        '{"schema": "lf.machine-record/1"}',
        "The recorded machine has mistakes",
        '"platform" is missing or no text\n"machine" is missing or no text',
    ),
    "every part": (
        """{"schema": "lf.machine-record/1", "platform": "beos", "machine": "x86_64", "file": {}, "files": {"/a": 1},
        "links": [], "commands": {"a": {"stdout": 1, "code": 0}, "b": 1}, "sysctl": {"s": 1.5},
        "registry": {"{g}": {"0000": {"Size": [1], "Hex": {"hex": "zz"}}}, "{h}": 1}, "disk_free_bytes": -1}""",
        "The recorded machine has mistakes",
        """"platform" is 'beos', not one of linux, darwin, win32
"file" is not a key of this schema
"files": '/a': number, not a text
"links" is array, not an object
"commands": 'a': "rc" is missing or no integer
"commands": 'a': 'stdout' is number, not a text
"commands": 'a': 'code' is not a key of a command
"commands": 'b': number, not an object
"sysctl": 's': number, not a text or an integer
"registry": '{g}': 0000\\Size is array, not a text, an integer or {"hex": ...}""",
    ),
}


@pytest.mark.parametrize(("text", "message", "detail"), BAD.values(), ids=BAD)
def test_a_bad_record_is_refused_with_what_is_wrong(text: str, message: str, detail: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        load_record(text)
    assert caught.value.message == message
    if detail is not None:
        assert caught.value.detail == detail


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000], ids=["nested", "huge number"])
def test_json_that_breaks_the_parser_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        load_record(text)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_probe_uses_no_psutil_on_linux() -> None:
    completed = Host().run(
        [
            sys.executable,
            "-c",
            "import sys\nfrom localfirst.hwprobe.probe import probe\nprobe()\nprint('psutil' in sys.modules)",
        ]
    )
    assert completed is not None
    assert completed.stdout == "False\n"

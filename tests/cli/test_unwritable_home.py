"""An `LF_HOME` that nothing can be written into: who has to write says which folder, why, and what to type."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.scripted import make_gguf

HINT = "hint: Make it writable, or set `LF_HOME` to a folder of yours, such as ~/lf"


def block(folder: Path, kind: str) -> tuple[Path, str]:
    """A home that cannot be made, and the reason."""
    if kind == "a file in the way":
        (folder / "file").write_text("")
        return folder / "file" / "home", f"  {folder / 'file'} is not a folder"
    if kind == "a file system of the system's own":
        if sys.platform != "linux":
            pytest.skip("there is no /proc")
        return Path("/proc/home"), "  /proc: No such file or directory"
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (folder / "locked").mkdir(mode=0o555)
    return folder / "locked" / "home", f"  {folder / 'locked'}: Permission denied"


@pytest.fixture(params=["a file in the way", "a file system of the system's own", "a folder of somebody else's"])
def reason(request: pytest.FixtureRequest, lf: Lf, tmp_path: Path) -> str:
    lf.home, reason = block(tmp_path, request.param)
    return reason


def test_each_command_that_writes_says_so(lf: Lf, reason: str, tmp_path: Path) -> None:
    make_gguf(tmp_path / "m.gguf", "Hello")
    for words in (
        ("runtime", "install", "onnx-builder"),
        ("model", "import", str(tmp_path / "m.gguf")),
        ("store", "move", str(tmp_path / "elsewhere")),
    ):
        done = lf(*words, "-q") if words[0] == "runtime" else lf(*words)
        lines = done.stderr.splitlines()
        assert done.returncode == 1
        assert lines[0].startswith("error: `LF_HOME` is a folder that cannot be written: ")
        assert (lines[-3], lines[-1]) == (reason, HINT)
    assert lf("run", "starter", "hi").returncode == 0  # what needs no place of its own runs


def test_lf_doctor_finds_it(lf: Lf, reason: str) -> None:
    done = lf("doctor", "--json")
    (check,) = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "Data folder"]
    assert (done.returncode, check["state"], check["evidence"]) == (1, "problem", [reason.strip()])
    assert check["hint"] == HINT.removeprefix("hint: ")


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_folder_of_no_disk_is_not_called_a_full_disk(lf: Lf) -> None:
    lf.home = Path("/proc/home")
    done = lf("pull", "phi-4-mini")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: `LF_HOME` is a folder that cannot be written: /proc/home"

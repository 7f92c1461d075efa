"""`lf runtime`: what is ready is true, a wrong variable harms what it is for alone, and several names at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.conftest import Lf

from localfirst.runtimes.find import this_system
from localfirst.runtimes.folder import PYTHON, Marker, folder_of, write_marker
from localfirst.runtimes.table import find_row

NOWHERE = "/nonexistent"


def list_runtimes(lf: Lf) -> dict[str, dict]:
    done = lf("runtime", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["runtimes"]}


def pretend_installed(lf: Lf, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment as `lf` leaves it, with no engine in it."""
    monkeypatch.setenv("LF_HOME", str(lf.home))
    row = find_row(name)
    python = folder_of(row) / PYTHON
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    write_marker(folder_of(row), Marker(row.name, row.version, row.engine, "3.12.1", "2026-11-24T00:00:00+00:00", 77))
    return folder_of(row)


@pytest.mark.parametrize("variable", ["LF_RUNTIME_ONNX_CPU", "LF_RUNTIME_VLLM", "LF_RUNTIME_LLAMAFILE"])
def test_a_wrong_variable_of_another_runtime_harms_nothing(lf: Lf, variable: str) -> None:
    lf.environment[variable] = NOWHERE
    done = lf("run", "starter", "hi", "--backend", "xllamacpp")
    assert (done.returncode, done.stderr) == (0, "")
    assert lf("list", "--fits").returncode == 0
    name = variable.removeprefix("LF_RUNTIME_").lower().replace("_", "-")
    one = list_runtimes(lf)[name]
    assert (one["state"], one["python"]) == ("misnamed", None)
    assert f"`{variable}` does not name a" in one["reason"]
    assert NOWHERE in one["reason"]
    assert "wrong variable" in lf("runtime", "list").stdout


def test_a_wrong_variable_is_told_where_its_runtime_would_be_used(lf: Lf) -> None:
    lf.environment["LF_RUNTIME_LLAMA_CPU"] = NOWHERE
    for words in (("run", "starter", "hi"), ("runtime", "install", "llama-cpu")):
        done = lf(*words)
        assert done.returncode == 8
        assert done.stderr.splitlines()[0].startswith("error: `LF_RUNTIME_LLAMA_CPU` does not name a Python that can")
        assert done.stderr.splitlines()[-1] == "hint: Set it to the path of one, or unset it"
    tested = lf("runtime", "test", "llama-cpu")
    assert tested.returncode == 1
    assert "FAIL  llama-cpu: `LF_RUNTIME_LLAMA_CPU` does not name a Python" in tested.stdout
    checks = json.loads(lf("doctor", "--json").stdout)["checks"]
    (check,) = [one for one in checks if one["name"] == "llama-cpu"]
    assert (check["state"], check["hint"]) == ("problem", "Set it to the path of one, or unset it")


def test_a_misspelt_runtime_is_answered_with_the_nearest(lf: Lf) -> None:
    for words in (("install", "llama-cud"), ("remove", "llama-cud"), ("test", "llama-cud")):
        done = lf("runtime", *words)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "hint: Did you mean `llama-cuda`?")


def test_no_llamafile_program_is_said_to_be_ready_where_there_is_none(lf: Lf) -> None:
    lf.environment["PATH"] = NOWHERE
    one = list_runtimes(lf)["llamafile"]
    assert (one["state"], one["program"], one["formats"]) == ("brought", None, ["llamafile"])
    (row,) = [text for text in lf("runtime", "list").stdout.splitlines() if " llamafile " in text]
    assert "each model brings it" in row
    assert "ready" not in row


@pytest.mark.skipif(this_system() != ("linux", "x86_64"), reason="there is no such build for this system")
def test_an_engine_that_nothing_here_can_use_is_not_installed_unasked(lf: Lf) -> None:
    if list_runtimes(lf)["llama-cuda"]["reason"] is None:
        pytest.skip("this machine has an NVIDIA GPU")
    done = lf("runtime", "install", "llama-cuda")
    assert done.returncode == 2
    assert "llama-cuda needs a device: this machine has no" in done.stderr
    assert "Nothing here can use it" in done.stderr
    assert done.stderr.splitlines()[-1] == "hint: Say so with `-y`"
    assert not (lf.home / "runtimes").exists()


def test_several_runtimes_are_removed_at_once_or_none(lf: Lf, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [pretend_installed(lf, name, monkeypatch) for name in ("onnx-cpu", "llama-cpu")]
    for wrong, code in (("no-such", 3), ("llama-vulkan", 8), ("vllm", 8)):
        done = lf("runtime", "remove", "onnx-cpu", wrong)
        assert done.returncode == code
        assert f"`{wrong}`" in done.stderr
        assert all(folder.is_dir() for folder in folders)
    done = lf("runtime", "remove", "onnx-cpu", "llama-cpu", "--json")
    told = json.loads(done.stdout)
    assert [one["runtime"] for one in told["removed"]] == ["onnx-cpu", "llama-cpu"]
    assert told["freed_bytes"] == sum(one["freed_bytes"] for one in told["removed"]) > 0
    assert not any(folder.exists() for folder in folders)


def test_several_runtimes_are_tested_at_once(lf: Lf) -> None:
    done = lf("runtime", "test", "llama-cpu", "llama-server", "llama-cpu", "--json")
    tests = json.loads(done.stdout)["tests"]
    assert [one["runtime"] for one in tests] == ["llama-cpu", "llama-server"]
    assert done.returncode == 1  # one of them is not here
    assert lf("runtime", "test", "llama-cpu", "no-such").returncode == 3

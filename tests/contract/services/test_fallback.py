"""A GPU whose runtime cannot be had: said aloud, done without, and not tried again by every command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.fixtures.scripted import make_gguf

from localfirst.conversation import Answer, Message
from localfirst.errors import DeviceError, IntegrityError, LfError, RuntimeMissingError
from localfirst.hwprobe.probe import probe
from localfirst.runtimes import folder
from localfirst.runtimes.table import find_row
from localfirst.services import planning
from localfirst.services.engines import find_runtime
from localfirst.services.importing import import_model
from localfirst.services.preparing import Allowed
from localfirst.services.session import open_session
from localfirst.types import Device, Progress, Wanted
from localfirst.units import GIB

REPLY = "Computed all the same."
CARD = Device("gpu", "nvidia", "NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB, driver="580.95", compute_capability="8.9")
ROW = find_row("llama-cuda")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the runtime in question exists for Linux")


@pytest.fixture(autouse=True)
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine with a card in it, and installers that find nothing to install."""
    monkeypatch.setenv("LF_HOME", str(tmp_path / "lf-home"))
    monkeypatch.setattr(planning, "probe", lambda: probe()._replace(devices=(CARD,)))
    for name, value in {"NO_INDEX": "1", "CONFIG_FILE": os.devnull, "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    make_gguf(tmp_path / "model.gguf", REPLY)
    os.truncate(tmp_path / "model.gguf", 200_000_000)  # large enough for a card to be worth it; the end is a hole


def run(tmp_path: Path, wanted: Wanted | None = None, **allowed: bool) -> tuple[str, str, list[str]]:
    """The runtime that answered, its answer, and what was told on the way."""
    told: list[Progress] = []
    session = open_session(
        str(tmp_path / "model.gguf"), wanted or Wanted(), allowed=Allowed(**allowed), report=told.append
    )
    with session:
        *_, answer = session.ask((Message("user", "hi"),))
        assert isinstance(answer, Answer)
        name = session.plan.runtime.name if session.plan.runtime else ""
    return name, answer.text, [one.detail["notice"] for one in told if "notice" in one.detail]


def test_without_a_network_the_cpu_computes_and_it_is_said(tmp_path: Path) -> None:
    name, text, notices = run(tmp_path, network=False)
    assert (name, text) == ("llama-cpu", REPLY)
    assert notices[0] == (
        "The runtime `llama-cuda` (llama.cpp) is not installed, and the network is off; doing without it"
    )
    assert folder.read_failure(ROW) is None  # nothing was tried


def test_an_installation_that_fails_is_done_without_and_remembered(tmp_path: Path) -> None:
    name, text, notices = run(tmp_path)
    assert (name, text) == ("llama-cpu", REPLY)
    failed = "The runtime `llama-cuda` (llama.cpp 2026.10.11549) could not be installed: "
    (notice,) = [one for one in notices if one.startswith(failed)]
    assert notice.endswith("; doing without it")
    runtime = find_runtime("llama-cuda")
    assert runtime.state == "unavailable"
    assert runtime.reason is not None
    assert "`lf runtime install llama-cuda` tries again" in runtime.reason
    _, _, notices = run(tmp_path)
    assert not [notice for notice in notices if "llama-cuda" in notice]


def test_a_failure_is_forgotten_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "lf-home" / "runtimes").mkdir(parents=True)
    folder.write_failure(ROW, "no luck")
    assert folder.read_failure(ROW) == "no luck"
    path = tmp_path / "lf-home" / "runtimes" / ".llama-cuda-2026.10.11549.failed"
    os.utime(path, (0, path.stat().st_mtime - folder.FAILURE_LASTS_S - 60))
    assert folder.read_failure(ROW) is None


@pytest.mark.parametrize("wanted", [Wanted(device="gpu"), Wanted(backend="llama-cuda")], ids=["device", "backend"])
def test_what_was_demanded_is_not_done_without(tmp_path: Path, wanted: Wanted) -> None:
    with pytest.raises(RuntimeMissingError, match="llama-cuda"):
        run(tmp_path, wanted, network=False)


def test_where_nothing_else_runs_it_the_first_failure_is_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = tuple(one for one in planning.find_runtimes_for(probe()) if one.name == "llama-cuda")
    monkeypatch.setattr(planning, "find_runtimes_for", lambda _: only)
    with pytest.raises(LfError) as caught:
        run(tmp_path, network=False)
    assert not isinstance(caught.value, DeviceError)
    assert "llama-cuda" in caught.value.message
    assert caught.value.exit_code == 8


def test_no_engine_is_installed_for_files_that_are_gone(tmp_path: Path) -> None:
    import_model(tmp_path / "model.gguf", "mine", copy=False, report=lambda _: None)
    (tmp_path / "model.gguf").unlink()
    with pytest.raises(IntegrityError) as caught:
        open_session("mine", Wanted(backend="llama-cuda"))
    assert "put the file back" in (caught.value.hint or "")
    assert folder.read_failure(ROW) is None  # nothing was tried

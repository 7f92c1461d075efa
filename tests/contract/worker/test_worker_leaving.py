"""Whoever stops waiting for a model: what was started for it is gone when the wait has ended."""

from __future__ import annotations

import _thread
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.fixtures import scripted

from localfirst.worker import client, protocol
from localfirst.worker.client import Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are scripts of a shell")

STUBBORN = """#!/bin/sh
# A wrapper, with a child that does not end when it is asked to.
echo loading
"{python}" -c "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)" &
trap '' TERM
wait
wait
"""


def is_at_work(process: psutil.Process) -> bool:
    """Whether a process does anything still; one that has ended may not have been taken note of by its parent."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[protocol.Request]:
    """What workers are asked for."""
    requests: list[protocol.Request] = []
    send = Worker.send

    def remember(worker: Worker, request: protocol.Request, request_id: int) -> None:
        requests.append(request)
        send(worker, request, request_id)

    monkeypatch.setattr(Worker, "send", remember)
    return requests


def test_a_program_that_is_still_loading_is_gone_with_all_that_it_started(
    asked: list[protocol.Request], tmp_path: Path
) -> None:
    scripted.make_gguf(tmp_path / "m.gguf", "Hello")
    program = tmp_path / "llama-server"
    program.write_text(STUBBORN.format(python=sys.executable))
    program.chmod(0o755)
    load = protocol.Load("llama-server", str(tmp_path / "m.gguf"), None, 1, "cpu", program=str(program))
    others = set(psutil.Process().children(recursive=True))  # that other tests have left
    started: list[psutil.Process] = []

    def interrupt(*_: object) -> None:
        started.extend(set(psutil.Process().children(recursive=True)) - others)
        raise KeyboardInterrupt

    with Worker(sys.executable) as worker, pytest.raises(KeyboardInterrupt):
        worker.load(load, interrupt)
    assert len(started) == 4  # worker, guard, wrapper, child
    assert [one for one in started if is_at_work(one)] == []
    assert asked == [load]  # no engine sees a cancel while it loads, so none was waited for


def test_an_engine_that_keeps_the_interpreter_to_itself_is_ended(
    asked: list[protocol.Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees neither a cancel nor the end of its pipe."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr(client, "CLOSE_TIMEOUT_S", 500)
    load = protocol.Load("xllamacpp", "model.gguf", None, 1, "cpu")
    with Worker(str(python)) as worker:
        threading.Timer(0.5, _thread.interrupt_main).start()  # no signal: an engine in this process may answer one
        with pytest.raises(KeyboardInterrupt):
            worker.load(load)
    assert not worker.alive
    assert asked == [load]

"""An end by force for what may never end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localfirst.worker import crash

KEEPING_THE_LOCK = "import ctypes; ctypes.PyDLL(None).sleep(20)"
SPINNING = "while True: pass"


def run(script: str, log: Path) -> int:
    with log.open("wb") as file:
        return subprocess.run([sys.executable, "-c", script], stderr=file, timeout=15).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="names a function of POSIX")
@pytest.mark.parametrize("endless", [KEEPING_THE_LOCK, SPINNING], ids=["native code", "a loop"])
@pytest.mark.parametrize(
    "before",
    [
        "",
        "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})",
    ],
    ids=["", "ignored before", "blocked before"],
)
def test_a_process_ends_itself_whatever_it_is_doing(before: str, endless: str, tmp_path: Path) -> None:
    script = f"""
import signal
from localfirst.worker import deadline
{before}
deadline.prepare()
with deadline.ending_within(0.2):
    {endless}
"""
    assert crash.explain(run(script, tmp_path / "log"), tmp_path / "log") is crash.LATE_TEMPLATE


def test_what_ends_in_time_is_not_ended_later(tmp_path: Path) -> None:
    script = """
import time
from localfirst.worker import deadline
deadline.prepare()
for _ in range(2):
    with deadline.ending_within(0.2):
        pass
time.sleep(0.5)
"""
    assert run(script, tmp_path / "log") == 0


def test_a_failure_in_time_is_told_as_itself(tmp_path: Path) -> None:
    script = """
import time
from localfirst.worker import deadline
try:
    with deadline.ending_within(0.2):
        raise KeyError
except KeyError:
    time.sleep(0.5)
    raise SystemExit(7)
"""
    assert run(script, tmp_path / "log") == 7


def test_where_no_signal_tells_of_it_the_log_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "ALARM", 0)
    log = tmp_path / "log"
    script = "import faulthandler, time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(20)"
    assert run(script, log) == 1
    assert crash.explain(1, log) is crash.LATE_TEMPLATE
    log.write_text("an engine ended by itself\n")
    assert crash.explain(1, log).message == "The worker ended with exit code 1"

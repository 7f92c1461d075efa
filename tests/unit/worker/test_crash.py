"""A dead worker in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfirst.worker import crash
from localfirst.worker.environment import make_environment


def test_the_last_lines_of_the_log_are_the_evidence_and_drive_no_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"line %d\n\n" % number for number in range(100)) + b"\x1b[2Jbad \xff end\n")
    error = crash.explain(-11, log)
    assert error.message == "The worker died of SIGSEGV"
    assert error.detail is not None
    assert error.detail.splitlines() == [*(f"line {number}" for number in range(89, 100)), "bad \ufffd end"]
    assert error.hint == crash.HINTS["SIGSEGV"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "The worker ended with exit code 3"),
        (-9, "The worker died of SIGKILL"),
        (-99, "The worker died of signal 99"),
    ],
)
def test_the_way_it_ended_is_named(code: int, message: str, tmp_path: Path) -> None:
    error = crash.explain(code, tmp_path / "missing")
    assert (error.message, error.detail) == (message, None)


@pytest.mark.parametrize("own", [True, False], ids=["own interpreter", "other interpreter"])
def test_no_secret_reaches_a_worker_and_python_s_own_variables_only_the_same_interpreter(own: bool) -> None:
    current = {"HF_TOKEN": "hf_secret", "PATH": "/bin", "PYTHONPATH": "/src", "TMPDIR": "/elsewhere"}
    made = make_environment(current, temporary="/private", own_interpreter=own)
    assert "hf_secret" not in made.values()
    assert made.get("PYTHONPATH") == ("/src" if own else None)
    assert (made["PATH"], made["TMPDIR"], made["ORT_DISABLE_TELEMETRY"]) == ("/bin", "/private", "1")


def test_an_interpreter_that_is_too_old_is_told_as_such(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Unknown option: -P\nusage: python3 [option] ...\n")
    assert crash.explain(2, log).hint == "The interpreter is too old; name one of Python 3.11 or newer"
    log.write_text("killed by its user\n")
    assert crash.explain(2, log).hint is None

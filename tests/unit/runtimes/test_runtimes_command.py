from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from localfirst.inheritance import SECRETS
from localfirst.runtimes.command import Limits, Outcome, run_command

HANGING_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    def run_python(code, *, on_line=print, **more):
        return run_command([sys.executable, "-c", code], folder=tmp_path, on_line=on_line, **more)

    return run_python


def is_alive(pid):
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return sys.platform != "linux"


def wait_until_dead(pid):
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_both_streams_come_line_by_line_without_empty_lines(run):
    heard = []
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print(); print('three')"
    assert run(code, on_line=heard.append) == Outcome(ok=True, lines=("one", "two", "three"))
    assert heard == ["one", "two", "three"]


def test_a_command_that_fails_is_an_outcome_with_its_words(run):
    assert run("print('no index'); raise SystemExit(3)") == Outcome(ok=False, lines=("no index",))


def test_bytes_that_are_no_text_do_not_end_the_reading(run):
    code = "import sys; sys.stdout.buffer.write(b'a\\xff\\nb\\n')"
    assert run(code) == Outcome(ok=True, lines=("a\ufffd", "b"))


def test_a_program_that_does_not_exist_is_an_outcome(tmp_path):
    outcome = run_command(["/nowhere/uv", "venv"], folder=tmp_path, on_line=print)
    assert outcome == Outcome(ok=False, lines=("/nowhere/uv: No such file or directory",))


def test_it_runs_in_the_folder_with_the_users_environment_but_no_foreign_packages(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    code = "import os; print(os.getcwd()); print(os.environ['PIP_INDEX_URL']); print('PYTHONPATH' in os.environ)"
    lines = (str(tmp_path.resolve()), "https://index.example/simple", "False")
    assert run(code) == Outcome(ok=True, lines=lines)


def test_no_command_is_handed_a_secret(run, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    assert "hunter2" in os.environ.values()
    assert run("import os; print('hunter2' in os.environ.values())").lines == ("False",)


def test_it_cannot_wait_for_an_answer_from_the_terminal(run):
    assert run("import sys; print(repr(sys.stdin.read()))") == Outcome(ok=True, lines=("''",))


def test_a_silent_command_is_stopped_with_its_children(run):
    outcome = run(HANGING_CHILD, limits=Limits(silence_s=1))
    child, complaint = outcome.lines
    assert (outcome.ok, complaint) == (False, "stopped: it said nothing for 1 s")
    assert wait_until_dead(int(child))


def test_a_command_that_talks_forever_is_stopped(run):
    outcome = run("import time\nwhile True: print('.', flush=True); time.sleep(0.01)", limits=Limits(total_s=0.5))
    assert (outcome.ok, outcome.lines[-1]) == (False, "stopped: it took more than 0.5 s")


def test_ctrl_c_ends_the_command_and_its_children(run):
    heard = []

    def interrupt(line):
        heard.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(HANGING_CHILD, on_line=interrupt)
    assert wait_until_dead(heard[0])

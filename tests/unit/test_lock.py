from __future__ import annotations

import os
import subprocess
import sys

import pytest

from localfirst.lock import hold

HOLD = """
import sys
from pathlib import Path
from localfirst.lock import hold
with hold(Path(sys.argv[1]), lambda owner: print("waiting for", owner, flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    processes = []

    def start_holder():
        argv = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start_holder
    for process in processes:
        process.kill()
        with process:  # closes its pipes and waits
            pass


def test_a_free_lock_is_taken_without_waiting_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with hold(tmp_path / "lock", lambda _: pytest.fail("waited")):
            pass


def test_the_second_process_says_that_it_waits_and_goes_on_when_the_first_ends(start):
    first = start()
    assert first.stdout.readline() == "held\n"
    second = start()
    assert second.stdout.readline() == f"waiting for {first.pid}\n"
    first.stdin.close()
    assert second.stdout.readline() == "held\n"


def test_a_killed_holder_holds_nothing(start):
    first = start()
    assert first.stdout.readline() == "held\n"
    first.kill()
    first.wait()
    assert start().stdout.readline() == "held\n"


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Windows are not inherited")
def test_a_child_that_inherited_the_lock_keeps_it_when_its_parent_is_gone(tmp_path, start):
    with hold(tmp_path / "lock", lambda _: None) as descriptor:
        argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        orphan = subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=(descriptor,))
    second = start()
    assert second.stdout.readline() == f"waiting for {os.getpid()}\n"  # who wrote its number last
    orphan.communicate()
    assert second.stdout.readline() == "held\n"

from __future__ import annotations

import os
import signal
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
    with hold(tmp_path / "lock", lambda _: None) as lease:
        argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        orphan = subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=(lease.descriptor,))
    second = start()
    assert second.stdout.readline() == f"waiting for {os.getpid()}\n"  # who wrote its number last
    orphan.communicate()
    assert second.stdout.readline() == "held\n"


HANG = """
import sys, time
from pathlib import Path
from localfirst.lock import LeaseLostError, hold
with hold(Path(sys.argv[1]), lambda owner: None, beating=True) as lease:
    print("held", flush=True)
    try:
        while True:
            lease.beat()
            time.sleep(0.02)
    except LeaseLostError:
        print("lost", flush=True)
"""


@pytest.fixture
def hanging(tmp_path):
    """A holder that gives signs of life until it is stopped."""
    process = subprocess.Popen([sys.executable, "-c", HANG, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    with process:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that is open")
def test_a_holder_that_hangs_loses_its_lock_and_is_told_when_it_wakes(tmp_path, hanging, start):
    hanging.send_signal(signal.SIGSTOP)
    with hold(tmp_path / "lock", lambda _: None, stale_s=1.0) as lease:
        assert lease.taken_over
        lease.check()
        hanging.send_signal(signal.SIGCONT)
        assert hanging.stdout.readline() == "lost\n"
        waiting = start()
        assert waiting.stdout.readline() == f"waiting for {os.getpid()}\n"
    assert waiting.stdout.readline() == "held\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that is open")
def test_who_waits_for_a_holder_that_hangs_and_is_killed_does_not_lock_a_file_that_was_put_aside(tmp_path, hanging):
    path = tmp_path / "lock"
    hanging.send_signal(signal.SIGSTOP)
    with hold(path, lambda _: None, stale_s=0.5):
        hanging.kill()
        busy = subprocess.run([sys.executable, "-c", TRY, str(path)], capture_output=True, text=True, check=True)
    assert busy.stdout == f"waiting for {os.getpid()}\n"


TRY = """
import os, sys
from pathlib import Path
from localfirst.lock import hold
def give_up(owner):
    print("waiting for", owner, flush=True)
    os._exit(0)
with hold(Path(sys.argv[1]), give_up):
    print("held", flush=True)
"""


def test_a_holder_that_gives_signs_of_life_keeps_its_lock(tmp_path, hanging):
    busy = subprocess.run([sys.executable, "-c", PATIENT, str(tmp_path / "lock")], capture_output=True, text=True)
    assert busy.stdout == f"waiting for {hanging.pid}\n"


PATIENT = """
import os, sys, threading
from pathlib import Path
from localfirst.lock import hold
threading.Timer(3.0, os._exit, [0]).start()
with hold(Path(sys.argv[1]), lambda owner: print("waiting for", owner, flush=True), stale_s=1.5):
    print("held", flush=True)
"""


def test_a_holder_that_promised_no_signs_of_life_keeps_its_lock(tmp_path, start):
    holder = start()
    assert holder.stdout.readline() == "held\n"
    busy = subprocess.run([sys.executable, "-c", PATIENT, str(tmp_path / "lock")], capture_output=True, text=True)
    assert busy.stdout == f"waiting for {holder.pid}\n"

"""What Linux is told of threads that should run soon after they are woken."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading

import pytest

from localfirst import turns

GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in GET_ATTRIBUTES, reason="Linux alone has such turns"
)


def read_attributes() -> tuple[int, int]:
    """The nice value and the turn, in nanoseconds, of this thread."""
    size = struct.calcsize(turns._ATTRIBUTES)
    buffer = ctypes.create_string_buffer(size)
    assert ctypes.CDLL(None).syscall(GET_ATTRIBUTES[platform.machine()], 0, buffer, size, 0) == 0
    _, _, _, nice, _, turn_ns, _, _ = struct.unpack(turns._ATTRIBUTES, buffer.raw)
    return nice, turn_ns


def refuse(_: int) -> int:
    raise OSError("as musl does")


def run(function) -> list:
    said: list = []
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join()
    return said


def test_a_thread_gets_short_turns_and_keeps_its_weight_and_those_that_it_starts_have_none() -> None:
    def ask() -> tuple:
        before = read_attributes()
        turns.ask_for_short_turns()
        return before, read_attributes(), run(read_attributes)[0]

    ((before, after, child),) = run(ask)
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this Linux has one turn for all")
    assert after == (before[0], turns.TURN_NS)
    assert child == before


def test_a_thread_of_another_policy_keeps_it() -> None:
    def ask() -> int:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        turns.ask_for_short_turns()
        return os.sched_getscheduler(0)

    assert run(ask) == [os.SCHED_BATCH]


def test_where_the_system_refuses_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_SET_ATTRIBUTES", {platform.machine(): 100_000})  # no such call
    before = read_attributes()
    turns.ask_for_short_turns()
    assert read_attributes() == before
    monkeypatch.setattr(turns, "_SET_ATTRIBUTES", {})
    turns.ask_for_short_turns()
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getscheduler", refuse)
    turns.ask_for_short_turns()
    assert read_attributes() == before

"""Threads by cores and load."""

from __future__ import annotations

import os

import pytest

from localfirst.services import threads
from localfirst.services.machines import find_machine
from localfirst.types import Cpu

CHOICES = {
    "a small quiet machine": (2, 2, 0.9, 2),
    "a small busy one": (2, 2, 1.0, 1),
    "four cores, busy": (4, 4, 3.0, 3),
    "more cores, busy": (6, 6, 9.0, 6),
    "one core, busy": (1, 1, 9.0, 1),
    "a quota of two on a large busy machine": (32, 2, 9.0, 2),
    "four fast cores and four slow ones, busy": (8, 4, 9.0, 4),
    "a load that is not told": (2, 2, None, 2),
    "cores that are not told": (None, None, 9.0, 1),
    "physical cores that are not told": (None, 2, 9.0, 1),
}


@pytest.mark.parametrize(("physical", "usable", "load", "expected"), CHOICES.values(), ids=CHOICES)
def test_one_thread_a_core_less_one_on_a_small_busy_machine(
    physical: int | None, usable: int | None, load: float | None, expected: int
) -> None:
    assert threads.choose_threads(Cpu(None, "x86_64", physical, None, usable), load) == expected


def test_a_container_with_eight_cores_of_many_computes_with_eight() -> None:
    assert threads.choose_threads(find_machine("docker-limit-v2").cpu, 40.0) == 8


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="the system has no load average")
def test_a_load_that_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.read_load() == pytest.approx(os.getloadavg()[0], abs=5)

    def fail() -> None:
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(os, "getloadavg", fail)
    assert threads.read_load() is None
    monkeypatch.delattr(os, "getloadavg")
    assert threads.read_load() is None

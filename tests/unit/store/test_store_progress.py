"""What a meter says of bytes that come, were there, are thrown away, or fail to come."""

from __future__ import annotations

import threading

from localfirst.store.progress import Meter
from localfirst.types import FileProgress, Progress


class Clock:
    """Seconds as a test sets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(total: int, **settings: object) -> tuple[Meter, list[Progress], Clock]:
    told: list[Progress] = []
    clock = Clock()
    return Meter("m", total, told.append, clock=clock, **settings), told, clock  # type: ignore[arg-type]


def test_the_rate_is_of_what_comes_and_not_of_what_was_there() -> None:
    meter, told, clock = make(10_000)
    meter.found(5_000, "a")
    for _ in range(4):
        clock.now += 1
        meter.add(100, "a")
    assert (told[-1].done, told[-1].rate_per_s) == (5_400, 100)
    assert told[0].rate_per_s is None


def test_what_is_thrown_away_came_all_the_same() -> None:
    meter, told, clock = make(10_000)
    for count in (1_000, 1_000, -2_000, 1_000):
        clock.now += 1
        meter.add(count, "a")
    assert told[-1].done == 1_000
    assert told[-1].rate_per_s == 2_000 / 3


def test_the_rate_forgets_what_is_long_ago() -> None:
    meter, told, clock = make(10**9)
    for count in (10**6, 10**6, 10, 10, 10, 10, 10):
        clock.now += 1
        meter.add(count, "a")
    assert told[-1].rate_per_s == 10


def test_a_stall_lowers_the_rate_and_a_retry_begins_it_anew() -> None:
    meter, told, clock = make(10**9)
    for wait_s in (1.0, 1.0, 20.0):
        clock.now += wait_s
        meter.add(1_000, "a")
    assert told[-1].rate_per_s == 50
    meter.retry("reset")
    for _ in range(2):
        clock.now += 1
        meter.add(1_000, "a")
    assert told[-1].rate_per_s == 1_000


def test_each_file_is_told_with_its_number_and_size_and_its_end_at_once() -> None:
    meter, told, _ = make(30, files={"a": 10, "b": 20})
    meter.add(10, "a")
    meter.add(5, "b")
    meter.add(15, "b")
    assert [one.file for one in told] == [FileProgress("a", 10, 10, 1, 2), FileProgress("b", 20, 20, 2, 2)]
    meter.add(1, "c")
    assert meter.done == 31


def test_a_retry_is_counted_with_the_wait_and_its_cause() -> None:
    meter, told, _ = make(30)
    meter.notice("another revision")
    meter.retry("503", 2.0)
    meter.retry("reset")
    meter.stall(8.0)
    assert [(one.detail["notice"], one.wait_s, one.retries) for one in told] == [
        ("another revision", None, 0),
        ("503; trying again in 2.0 s", 2.0, 1),
        ("reset", 0.0, 2),
        ("no data for 8.0 s; still waiting", 0.0, 2),
    ]


def test_threads_lose_no_byte_and_report_one_after_another() -> None:
    inside = [0]
    told: list[Progress] = []

    def report(progress: Progress) -> None:
        inside[0] += 1
        assert inside[0] == 1
        told.append(progress)
        inside[0] -= 1

    files = {f"{number}": 50_000 for number in range(8)}
    meter = Meter("m", 400_000, report, files=files)
    threads = [threading.Thread(target=_count, args=(meter, name)) for name in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (meter.done, told[-1].done, meter.retries) == (400_000, 400_000, 80)
    progresses = [one.done for one in told]
    assert progresses == sorted(progresses)


def _count(meter: Meter, name: str) -> None:
    for step in range(5_000):
        meter.add(10, name)
        if step % 500 == 0:
            meter.retry("again")

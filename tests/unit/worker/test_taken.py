"""Which requests a worker took up."""

from __future__ import annotations

from pathlib import Path

from localfirst.worker.taken import MOST, NAME, Taken, read_taken


def test_what_was_taken_up_is_known_to_who_comes_after_in_whatever_order(tmp_path: Path) -> None:
    assert read_taken(str(tmp_path)) == set()
    taken = Taken(str(tmp_path))
    assert read_taken(str(tmp_path)) == set()
    for number in (2, 2**40, 1):
        taken.note(number)
    assert read_taken(str(tmp_path)) == {2, 2**40, 1}


def test_the_newest_are_remembered(tmp_path: Path) -> None:
    taken = Taken(str(tmp_path))
    for number in range(1, 3 * MOST + 2):
        taken.note(number)
    assert read_taken(str(tmp_path)) == set(range(2 * MOST + 2, 3 * MOST + 2))


def test_one_that_ended_before_it_could_say_anything_took_nothing_up(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"")
    assert read_taken(str(tmp_path)) == set()

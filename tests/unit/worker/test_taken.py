"""Which request a worker took up last."""

from __future__ import annotations

from pathlib import Path

from localfirst.worker.taken import NAME, Taken, read_taken


def test_the_last_that_was_taken_up_is_known_to_who_comes_after(tmp_path: Path) -> None:
    assert read_taken(str(tmp_path)) == 0
    taken = Taken(str(tmp_path))
    assert read_taken(str(tmp_path)) == 0
    for number in (1, 2**40):
        taken.note(number)
        assert read_taken(str(tmp_path)) == number


def test_one_that_ended_before_it_could_say_anything_took_nothing_up(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"")
    assert read_taken(str(tmp_path)) == 0

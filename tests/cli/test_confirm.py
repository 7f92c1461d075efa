"""The question whether to begin: Enter means yes, the end of the input does not."""

from __future__ import annotations

import io

import pytest

from localfirst.cli import consent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [("\n", True), ("y\n", True), ("Yes\n", True), ("n\n", False), ("what\n", False), ("", False)],
    ids=["Enter", "y", "yes", "n", "a word", "Ctrl-D"],
)
def test_only_an_answer_begins(typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", Terminal())
    assert consent.confirm("Compiling takes minutes") is agreed


@pytest.mark.parametrize(("typed", "agreed"), [("\n", False), ("y\n", True), ("", False)], ids=["Enter", "y", "Ctrl-D"])
def test_what_is_not_advised_takes_a_word(typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", Terminal())
    assert consent.confirm("Nothing here can use it", advised=False) is agreed

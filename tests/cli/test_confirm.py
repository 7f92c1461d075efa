"""The question whether to begin: Enter means yes, the end of the input does not."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext

import pytest

from localfirst.cli import consent
from localfirst.errors import DeclinedError, UsageError


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
    with nullcontext() if agreed else pytest.raises(DeclinedError, match="Nothing was done"):
        consent.agree(lambda _: ["Compiling takes minutes"], agreed=False, quiet=False)
    assert "Compiling takes minutes\nBegin? [Y/n]" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("typed", "agreed"), [("\n", False), ("y\n", True), ("", False)], ids=["Enter", "y", "Ctrl-D"])
def test_what_is_not_advised_takes_a_word(typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", Terminal())
    with nullcontext() if agreed else pytest.raises(DeclinedError):
        consent.agree(lambda _: ["Nothing here can use it"], agreed=False, advised=False)


def test_without_a_terminal_what_would_be_done_is_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with pytest.raises(UsageError, match="nobody here to ask") as caught:
        consent.agree(lambda _: ["Compiling takes minutes"], agreed=False, quiet=True)
    assert (caught.value.detail, caught.value.hint) == ("Compiling takes minutes", "Say so with `-y`")

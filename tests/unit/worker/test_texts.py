"""When the pieces of an answer leave the worker: the first at once, and those that follow closely together."""

from __future__ import annotations

import math

import pytest

from localfirst.backends.base import Finished, Piece, Started
from localfirst.conversation import TextDelta, Usage
from localfirst.worker import protocol
from localfirst.worker import texts as pacing


class Sent(list[protocol.Event]):
    def __init__(self) -> None:
        super().__init__()
        self.texts = pacing.Texts(lambda *events: self.extend(events))

    def take(self, *chunks: Started | Piece | Finished) -> None:
        for chunk in chunks:
            self.texts.take(chunk, lambda piece: self.texts.add(TextDelta(piece.text, piece.reasoning)))
        self.texts.pass_on()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    monkeypatch.setattr(pacing, "find_wait_s", lambda: math.inf)
    return Sent()


def test_the_first_piece_is_sent_at_once_whatever_was_told_before(sent: Sent) -> None:
    sent.take(Started(3))
    sent.take(Piece("a"))
    assert sent == [protocol.Started(3), protocol.Text("a", False)]
    sent.take(Piece("b"), Piece("c"))
    assert len(sent) == 2
    sent.take(Piece("d", True))
    sent.texts.close()
    assert sent[2:] == [protocol.Text("bc", False), protocol.Text("d", True)]
    sent.texts.close()
    assert len(sent) == 4


def test_what_else_is_told_comes_after_the_text_before_it(sent: Sent) -> None:
    sent.take(Piece("a"))
    sent.take(Piece("b"), Finished("stop", Usage(1, 2)))
    assert [type(one) for one in sent] == [protocol.Text, protocol.Text, protocol.Finished]


def test_pieces_that_are_there_together_are_sent_together(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "find_wait_s", lambda: 0.0)
    sent.take(Piece("a"), Piece("b"), Piece("c"))
    sent.take(Piece("d"))
    assert sent == [protocol.Text("abc", False), protocol.Text("d", False)]

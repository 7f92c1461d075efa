"""When the pieces of an answer leave the worker: the first at once, and those that follow closely together."""

from __future__ import annotations

import math

from localfirst.conversation import TextDelta
from localfirst.worker import protocol
from localfirst.worker import texts as pacing


def test_the_first_piece_is_sent_at_once_whatever_was_told_before(monkeypatch) -> None:
    monkeypatch.setattr(pacing, "find_wait_s", lambda: math.inf)
    sent: list[protocol.Event] = []
    texts = pacing.Texts(lambda *events: sent.extend(events))
    texts.send(protocol.Started(3))
    texts.add(TextDelta("a"))
    assert sent == [protocol.Started(3), protocol.Text("a", False)]
    texts.add(TextDelta("b"))
    texts.add(TextDelta("c"))
    assert len(sent) == 2
    texts.add(TextDelta("d", True))
    texts.close()
    assert sent[2:] == [protocol.Text("bc", False), protocol.Text("d", True)]
    texts.close()
    assert len(sent) == 4


def test_what_else_is_told_comes_after_the_text_before_it(monkeypatch) -> None:
    monkeypatch.setattr(pacing, "find_wait_s", lambda: math.inf)
    sent: list[protocol.Event] = []
    texts = pacing.Texts(lambda *events: sent.extend(events))
    for word in "ab":
        texts.add(TextDelta(word))
    texts.send(protocol.Begun())
    assert [type(one) for one in sent] == [protocol.Text, protocol.Text, protocol.Begun]

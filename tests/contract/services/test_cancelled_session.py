"""A session that is told to end its answer before or while its worker is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import Shape, make_gguf

from localfirst.services.preparing import Allowed
from localfirst.services.session import Session, open_session
from localfirst.types import Wanted
from localfirst.worker import protocol


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    need_engine("xllamacpp")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "lf-home"))
    make_gguf(tmp_path / "endless.gguf", "on and on ", loop=True, shape=Shape(context=65536))
    wanted = Wanted(context_tokens=65536)
    with open_session(str(tmp_path / "endless.gguf"), wanted, allowed=Allowed(network=False, install=False)) as session:
        session.max_tokens = 5000
        yield session


def find_end(session: Session) -> str:
    assert session.last is not None
    return session.last.finish_reason


def test_ended_before_it_is_asked(endless: Session) -> None:
    pieces = endless.stream("hi")
    endless.cancel()
    list(pieces)
    assert find_end(endless) == "cancelled"


def test_ended_while_the_worker_is_asked(endless: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    send = endless.worker.send

    def send_interrupted(request: protocol.Request, request_id: int) -> None:
        send(request, request_id)
        if isinstance(request, protocol.Chat):
            endless.cancel()

    monkeypatch.setattr(endless.worker, "send", send_interrupted)
    list(endless.stream("hi"))
    assert find_end(endless) == "cancelled"


def test_the_next_question_has_its_answer(endless: Session) -> None:
    first = endless.stream("hi")
    next(first)
    endless.cancel()
    list(first)
    assert find_end(endless) == "cancelled"
    endless.cancel()
    endless.max_tokens = 20
    list(endless.stream("hi"))
    assert find_end(endless) == "length"

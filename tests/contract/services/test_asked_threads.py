"""A model that is to compute with a number of threads of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fixtures.engines import need_engine

from localfirst.conversation import Answer, Message
from localfirst.hwprobe.probe import probe
from localfirst.services.planning import make_wanted
from localfirst.services.preparing import Allowed, prepare
from localfirst.services.session import open_session
from localfirst.store.measurements import find_rates

LOCAL = Allowed(network=False, install=False)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "lf-home"))


def test_the_engine_is_given_the_number_that_is_asked_for() -> None:
    load = prepare("starter#xllamacpp", make_wanted(threads=3), allowed=LOCAL).load
    assert load.threads == 3


@pytest.mark.parametrize(("threads", "kept"), [(None, 1), (1, 0)])
def test_only_the_speed_of_a_usual_run_is_kept(threads: int | None, kept: int) -> None:
    with open_session("starter#xllamacpp", make_wanted(threads=threads), allowed=LOCAL) as session:
        *_, last = session.ask((Message("user", "hi"),))
    assert isinstance(last, Answer)
    assert len(find_rates(probe())) == kept

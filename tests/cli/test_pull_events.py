"""`lf pull --json`: what a program reads while a model comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub

SPLIT = {f"Model-Q4_0-0000{number}-of-00003.gguf": bytes([number]) * 400_000 for number in (1, 2, 3)}


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        running.add_repo("org/split", SPLIT)
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def test_events_tell_of_every_file_and_the_last_is_the_model(lf: Lf, hub: Hub) -> None:
    hub.rate_bytes_per_s = 1_000_000
    hub.fail("drop", at=100_000, path="00002-of-00003.gguf")
    begun = time.monotonic()
    done = lf("pull", "hf:org/split", "--json")
    passed_s = time.monotonic() - begun
    assert (done.returncode, done.stderr) == (0, "")
    *events, last = map(json.loads, done.stdout.splitlines())
    assert last["event"] == "done"
    assert (last["size_bytes"], len(last["files"])) == (1_200_000, 3)
    progresses = [event for event in events if event["event"] == "progress"]
    assert 1 < len(progresses) <= 4 * passed_s + 2
    assert [event["done_bytes"] for event in progresses][-1] == 1_200_000
    assert all(one["done_bytes"] <= other["done_bytes"] for one, other in pairwise(progresses))
    assert {event["total_bytes"] for event in progresses} == {1_200_000}
    assert {event["file"] for event in progresses} <= set(SPLIT)
    assert {event["file_total_bytes"] for event in progresses} == {400_000}
    assert progresses[-1]["retries"] >= 1
    assert any("trying again" in event["text"] for event in events if event["event"] == "notice")


def test_quiet_leaves_the_last_event_and_a_model_that_is_there_has_no_other(lf: Lf, hub: Hub) -> None:
    for words in (["hf:org/split", "-q"], ["starter"]):
        (event,) = map(json.loads, lf("pull", "--json", *words).stdout.splitlines())
        assert (event["event"], event["name"]) == ("done", words[0])


def test_an_error_is_on_stderr_and_no_event(lf: Lf, hub: Hub) -> None:
    hub.fail("wrong_bytes", times=None)
    done = lf("pull", "hf:org/split", "--json")
    assert done.returncode == 7
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "integrity"
    assert {json.loads(text)["event"] for text in done.stdout.splitlines()} <= {"progress", "notice"}


def test_without_a_terminal_there_are_few_lines(lf: Lf, hub: Hub) -> None:
    done = lf("pull", "hf:org/split")
    assert done.returncode == 0
    assert 1 <= len(done.stderr.splitlines()) <= 3


def test_quiet_says_nothing_on_the_way(lf: Lf, hub: Hub) -> None:
    assert lf("pull", "hf:org/split", "-q").stderr == ""

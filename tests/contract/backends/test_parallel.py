"""What every adapter that computes several requests at the same time promises, on real engines."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.engines import ENGINES, GREEDY, Engine, Reply, ask
from tests.fixtures.scripted import Shape, render

from localfirst.backends.base import Finished, GenerateRequest, Piece
from localfirst.conversation import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

PARALLEL = 3
PROMPTS = ["one", "a second, which is longer", "3"]
"""The random network answers to the last token above all: these end in different ones."""


@pytest.fixture(scope="module")
def engine(engine: Engine) -> Engine:
    if not engine.batches:
        pytest.skip("it computes one request at a time")
    return engine


@pytest.fixture(scope="module")
def path(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(f"parallel-{engine.backend}") / engine.file_name
    engine.make_random(path, Shape(layers=2))
    return path


@pytest.fixture(scope="module")
def model(engine: Engine, path: Path) -> Iterator[LoadedModel]:
    loaded = engine.load(path, requests=PARALLEL)
    yield loaded
    loaded.close()


def ask_at_once(model: LoadedModel, prompts: list[str], sampling: Sampling = GREEDY, **options: object) -> list[Reply]:
    """Answers of requests that all run before any of them is read on."""
    started = threading.Barrier(len(prompts))

    def run(prompt: str) -> Reply:
        chunks = model.generate(GenerateRequest(prompt, sampling, **options))
        begun, first = next(chunks), next(chunks)
        started.wait(timeout=60)
        *pieces, end = (first, *chunks)
        assert isinstance(end, Finished)
        texts = tuple(piece.text for piece in pieces if isinstance(piece, Piece))
        return Reply(begun.prompt_tokens, texts, end)  # type: ignore[union-attr]  # `Started` comes first

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(run, prompts))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, seed=5)], ids=["greedy", "a seed"])
def test_requests_at_the_same_time_have_the_answers_that_each_has_alone(
    engine: Engine, model: LoadedModel, path: Path, sampling: Sampling
) -> None:
    assert model.info.parallel == PARALLEL
    alone = engine.load(path)
    expected = [ask(alone, prompt, sampling, max_tokens=40) for prompt in PROMPTS]
    alone.close()
    assert len({one.text for one in expected}) == len(PROMPTS)
    found = ask_at_once(model, PROMPTS, sampling, max_tokens=40)
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.prompt_tokens for one in found] == [one.prompt_tokens for one in expected]
    assert {one.end.usage.completion_tokens for one in found} == {40}


def test_many_at_the_same_time_have_theirs_too(engine: Engine, path: Path) -> None:
    """More than those from which on their text is passed on less often."""
    prompts = [f"{prompt}{number}" for number in range(2) for prompt in PROMPTS]
    crowded = engine.load(path, requests=len(prompts))
    found = ask_at_once(crowded, prompts, max_tokens=40)
    expected = [ask(crowded, prompt, max_tokens=40) for prompt in prompts]
    crowded.close()
    assert [one.text for one in found] == [one.text for one in expected]
    assert {one.end.usage.completion_tokens for one in found} == {40}


def test_each_request_has_the_whole_context(engine: Engine, path: Path) -> None:
    loaded = engine.load(path, 300, requests=2)
    prompts = [render("a" * 200), render("b" * 150)]
    found = ask_at_once(loaded, prompts)
    loaded.close()
    assert loaded.info.context_tokens == 300
    assert [(one.end.finish_reason, one.prompt_tokens + one.end.usage.completion_tokens) for one in found] == [
        ("context", 300),
        ("context", 300),
    ]


def test_a_cancel_ends_its_own_request_alone(model: LoadedModel) -> None:
    flag = threading.Event()
    expected = ask(model, PROMPTS[1], max_tokens=200).text
    cancelled = model.generate(GenerateRequest(PROMPTS[0], GREEDY, max_tokens=900, cancelled=flag.is_set))
    other = model.generate(GenerateRequest(PROMPTS[1], GREEDY, max_tokens=200))
    kept = []
    for chunks in (cancelled, other):
        next(chunks)
        kept.append(next(chunks))
    flag.set()
    *_, end = cancelled
    assert isinstance(end, Finished)
    assert end.finish_reason == "cancelled"
    assert end.usage.completion_tokens < 900
    *pieces, end = other
    assert isinstance(end, Finished)
    assert (end.finish_reason, end.usage.completion_tokens) == ("length", 200)
    assert "".join(piece.text for piece in (kept[1], *pieces)) == expected  # type: ignore[union-attr]


def test_every_conversation_finds_its_own_turn_in_the_cache(model: LoadedModel) -> None:
    turns = [render("the first conversation is about trees"), render("another one, 12345, is about the sea")]
    for turn in turns:
        ask(model, turn, max_tokens=4)
    for turn in turns:
        again = ask(model, turn + "and on", max_tokens=4)
        assert again.end.usage.cached_tokens >= len(turn) - 40, turn  # words that are a token's make fewer of them


def test_more_requests_than_that_wait_for_their_turn(model: LoadedModel) -> None:
    with ThreadPoolExecutor(3 * PARALLEL) as pool:
        found = list(pool.map(lambda number: ask(model, PROMPTS[number % 3], max_tokens=20).text, range(3 * PARALLEL)))
    assert found[:3] * 3 == found
    assert len(set(found)) == 3


@pytest.mark.parametrize("other", [one for one in ENGINES if not one.batches], ids=lambda engine: engine.backend)
def test_an_engine_that_computes_one_at_a_time_says_so(other: Engine, tmp_path: Path) -> None:
    other.make_random(tmp_path / other.file_name, Shape())
    loaded = other.load(tmp_path / other.file_name, requests=4)
    loaded.close()
    assert loaded.info.parallel == 1

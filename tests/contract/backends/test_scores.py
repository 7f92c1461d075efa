"""What every adapter promises of the likelihood of a given text, on real engines, against numpy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.contract.backends.engines import GREEDY, Engine, ask, find_engine, never
from tests.fixtures import scripted
from tests.fixtures.scripted import network
from tests.fixtures.scripted.embedding import find_states

from localfirst.errors import ContextError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

SHAPE = scripted.Shape(layers=2, context=512)
VOCABULARY = scripted.Vocabulary(minimum_size=512)
TEXT = "The second text is longer, 12345. And so on it goes."
LONG = " ".join([TEXT] * 5)
LIKELIEST = 8
OTHER = "Another beginning. "


@pytest.fixture(scope="module")
def engine(engine: Engine) -> Engine:
    if engine.scores is None:
        pytest.skip("it tells of no text how likely it is")
    return engine


@pytest.fixture(scope="module")
def path(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(f"scores-{engine.backend}") / engine.file_name
    engine.make_random(path, SHAPE)
    return path


@pytest.fixture(scope="module")
def model(engine: Engine, path: Path) -> Iterator[LoadedModel]:
    loaded = engine.load(path)
    yield loaded
    loaded.close()


def expect(tokens: list[int]) -> np.ndarray:
    """The logarithm of how likely each token of the vocabulary is after each of these."""
    weights = network.random_weights(SHAPE, VOCABULARY.size, seed=0)
    logits = (find_states(weights, SHAPE, tokens) @ weights["head"].T).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("text", [TEXT, LONG], ids=["short", "in several parts"])
def test_a_text_is_as_likely_as_its_network_says(engine: Engine, model: LoadedModel, text: str) -> None:
    tokens = model.tokenize(text)
    found = np.array(model.score(tokens, 0, never).log_probs)
    expected = expect(tokens)
    assert len(found) == len(tokens) - 1
    assert np.abs(found - expected[np.arange(len(tokens) - 1), tokens[1:]]).max() < engine.scores
    slipped = expected[np.arange(1, len(tokens)), tokens[1:]]  # after itself, as well
    assert np.abs(found - slipped).max() > 1


def test_the_likeliest_tokens_are_those_of_the_network(engine: Engine, model: LoadedModel) -> None:
    tokens = model.tokenize(TEXT)
    scores = model.score(tokens, LIKELIEST, never)
    assert len(scores.log_probs) == len(tokens) - 1
    if not engine.tells_likeliest:
        assert scores.likeliest == ()
        return
    assert [len(place) for place in scores.likeliest] == [LIKELIEST] * (len(tokens) - 1)
    for place, row in zip(scores.likeliest, expect(tokens), strict=False):
        chances = [chance for _, chance in place]
        assert chances == sorted(chances, reverse=True)
        assert np.abs(np.sort(row)[::-1][:LIKELIEST] - chances).max() < engine.scores
        assert all(abs(row[token] - chance) < engine.scores for token, chance in place)


def test_a_text_is_as_likely_again_and_after_others(engine: Engine, model: LoadedModel) -> None:
    tokens = model.tokenize(LONG)
    first = np.array(model.score(tokens, 0, never).log_probs)
    said = ask(model, tuple(tokens), max_tokens=4)
    model.score(model.tokenize(OTHER + LONG), 0, never)
    again = np.array(model.score(tokens, 0, never).log_probs)
    assert np.abs(first - again).max() < engine.scores
    assert ask(model, tuple(tokens), max_tokens=4).text == said.text, "scoring has changed an answer"


def test_a_text_as_long_as_the_context_is_scored_and_a_longer_one_is_an_error(
    engine: Engine, model: LoadedModel
) -> None:
    limit = model.info.context_tokens - (engine.backend == "litert")  # it keeps one free
    tokens = model.tokenize(LONG * 4)
    assert len(tokens) > limit
    found = np.array(model.score(tokens[:limit], 0, never).log_probs)
    expected = expect(tokens[:limit])
    assert np.abs(found - expected[np.arange(limit - 1), tokens[1:limit]]).max() < engine.scores
    with pytest.raises(ContextError, match=rf"has {limit + 1} tokens; the context is {limit}"):
        model.score(tokens[: limit + 1], 0, never)


def test_a_text_of_one_token_has_nothing_to_score(model: LoadedModel) -> None:
    with pytest.raises(UsageError, match="comes after another"):
        model.score(model.tokenize("a")[:1], 0, never)


def test_the_first_token_that_a_model_wants_comes_before_the_text(engine: Engine, tmp_path: Path) -> None:
    engine.make_random(tmp_path / engine.file_name, SHAPE, add_bos=True)
    loaded = engine.load(tmp_path / engine.file_name)
    try:
        tokens = loaded.tokenize(TEXT)
        bos = loaded.tokenize(loaded.info.bos_token)
        expected = expect([*bos, *tokens])[1:]
        found = np.array(loaded.score(tokens, 0, never).log_probs)
        assert len(found) == len(tokens) - 1
        assert np.abs(found - expected[np.arange(len(found)), tokens[1:]]).max() < engine.scores
        if engine.backend == "litert":
            with pytest.raises(UsageError, match="itself"):
                loaded.score([*bos, *tokens], 0, never)
            return
        written = loaded.score([*bos, *tokens], 0, never).log_probs
        assert len(written) == len(tokens)
        assert written[1:] == pytest.approx(found, abs=engine.scores)
    finally:
        loaded.close()


def test_a_cancelled_text_has_no_scores(model: LoadedModel) -> None:
    flag = threading.Event()
    flag.set()
    assert model.score(model.tokenize(LONG), LIKELIEST, flag.is_set).log_probs == ()
    assert ask(model, "hi", GREEDY, max_tokens=1).end.usage.completion_tokens == 1


def test_a_token_that_ends_an_answer_is_scored_as_any_other(engine: Engine, model: LoadedModel) -> None:
    tokens = [*model.tokenize("Hello there"), scripted.END_ID, *model.tokenize("and more")]
    if engine.backend == "litert":
        tokens = model.tokenize(f"Hello there{model.info.eos_token}and more")
        assert scripted.END_ID in tokens
    found = np.array(model.score(tokens, 0, never).log_probs)
    expected = expect(tokens)[np.arange(len(tokens) - 1), tokens[1:]]
    assert np.abs(found - expected).max() < engine.scores


@pytest.mark.parametrize("backend", ["llama-server", "llamafile"])
def test_an_engine_that_cannot_says_so_and_what_can(backend: str, tmp_path: Path) -> None:
    other = find_engine(backend)
    other.make_random(tmp_path / other.file_name, SHAPE)
    loaded = other.load(tmp_path / other.file_name)
    with pytest.raises(EngineError, match="does not tell here") as caught:
        loaded.score(loaded.tokenize(TEXT), 0, never)
    loaded.close()
    assert "ONNX" in (caught.value.detail or "")

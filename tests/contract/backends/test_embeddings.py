"""What every adapter that embeds promises, on real engines with models whose vectors numpy computes as well."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.contract.backends.conftest import SKIP
from tests.contract.backends.engines import BINDINGS, ENGINES, GREEDY, Engine, find_engine, never
from tests.fixtures import scripted
from tests.fixtures.scripted import bert, embedding, network

from localfirst.backends.base import GenerateRequest
from localfirst.errors import ContextError, EngineError, ModelFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

SHAPE = scripted.Shape(layers=2, context=512)
TEXTS = ["hi", "The second text is longer, 12345.", "Grüße 😀"]
LLAMAS = [find_engine("xllamacpp"), pytest.param(BINDINGS, marks=SKIP)]
POOLINGS = ["mean", "cls", "last"]


@pytest.fixture(scope="module")
def engine(engine: Engine) -> Engine:
    if not engine.embeds:
        pytest.skip("it computes no embeddings")
    return engine


@pytest.fixture(scope="module", params=POOLINGS)
def pooling(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def embedder(engine: Engine, pooling: str, folder: Path) -> Iterator[LoadedModel]:
    path = folder / pooling / engine.file_name
    engine.make_random(path, SHAPE, pooling=pooling)
    loaded = engine.load(path)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"embed-{engine.backend}")


def find_tokens(text: str, pooling: str) -> list[int]:
    tokens = scripted.Vocabulary(minimum_size=512).tokenize(text)
    return [*tokens, scripted.END_ID] if pooling == "last" else tokens


def expect(text: str, pooling: str) -> np.ndarray:
    weights = network.random_weights(SHAPE, scripted.Vocabulary(minimum_size=512).size, seed=0)
    return embedding.embed(weights, SHAPE, find_tokens(text, pooling), pooling)


def test_the_vectors_are_those_of_the_network(embedder: LoadedModel, pooling: str) -> None:
    found = embedder.embed(TEXTS, never)
    for text, one in zip(TEXTS, found, strict=True):
        assert np.abs(np.array(one.vector) - expect(text, pooling)).max() < 1e-3  # attention is computed in 16 bits
        assert np.linalg.norm(one.vector) == pytest.approx(1, abs=1e-6)
        assert one.tokens == len(find_tokens(text, pooling))
    assert embedder.info.pooling == pooling


@pytest.mark.parametrize("llama", LLAMAS, ids=lambda engine: engine.backend)
@pytest.mark.parametrize("pooling_", ["mean", "cls"])
def test_an_encoder_computes_its_vectors(llama: Engine, pooling_: str, tmp_path: Path) -> None:
    bert.make_bert(tmp_path / "bert.gguf", pooling_)
    loaded = llama.load(tmp_path / "bert.gguf")
    texts = ["hi", "the second text is longer", "ab" * (bert.CONTEXT // 2 - 1)]
    for text, one in zip(texts, loaded.embed(texts, never), strict=True):
        assert np.abs(np.array(one.vector) - bert.embed(text, pooling_)).max() < 2e-3
        assert one.tokens == len(bert.tokenize(text))
    loaded.close()


def test_a_text_has_the_same_vector_alone_and_among_others(embedder: LoadedModel) -> None:
    together = embedder.embed(TEXTS, never)
    for text, one in zip(TEXTS, together, strict=True):
        (alone,) = embedder.embed([text], never)
        assert np.abs(np.array(one.vector) - np.array(alone.vector)).max() < 1e-4


def test_a_text_as_long_as_the_context_is_read_whole(embedder: LoadedModel, pooling: str) -> None:
    limit = embedder.info.context_tokens
    text = "ab" * limit
    text = text[: limit - len(find_tokens("", pooling))]
    (found,) = embedder.embed([text], never)
    assert found.tokens == limit
    assert np.abs(np.array(found.vector) - expect(text, pooling)).max() < 1e-3


def test_a_text_longer_than_the_context_is_an_error_with_both_numbers(embedder: LoadedModel) -> None:
    limit = embedder.info.context_tokens
    with pytest.raises(ContextError, match=rf"has {limit + 30} tokens; the model reads {limit} at once"):
        embedder.embed(["short", "x" * (limit + 30 - len(find_tokens("", embedder.info.pooling or "")))], never)
    assert embedder.embed(["short"], never)


def test_no_texts_have_no_vectors_and_an_empty_one_is_an_error(embedder: LoadedModel) -> None:
    assert embedder.embed([], never) == []
    for empty in ("", " \n"):
        with pytest.raises(UsageError, match="empty text"):
            embedder.embed(["full", empty], never)


def test_a_model_that_embeds_does_not_answer(embedder: LoadedModel) -> None:
    with pytest.raises(UsageError, match="answers nothing"):
        next(iter(embedder.generate(GenerateRequest("hi", GREEDY))))


def test_a_model_that_answers_embeds_only_with_a_pooling_that_is_named(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / engine.file_name
    engine.make_random(path, SHAPE)
    for pooling in (None, "mean") if engine.embeds_any else (None,):
        loaded = engine.load(path, pooling=pooling)
        try:
            assert loaded.info.pooling == pooling
            if pooling is None:
                with pytest.raises(UsageError) as caught:
                    loaded.embed(["hi"], never)
                assert "--pooling" in (caught.value.hint or "")
            else:
                (found,) = loaded.embed(["hi"], never)
                assert np.abs(np.array(found.vector) - expect("hi", pooling)).max() < 1e-3
        finally:
            loaded.close()


def test_a_model_that_only_answers_is_refused_with_what_to_take(tmp_path: Path) -> None:
    openvino = find_engine("openvino")
    openvino.make_random(tmp_path / "model", SHAPE)
    with pytest.raises(ModelFileError, match="gives no states") as caught:
        openvino.load(tmp_path / "model", pooling="mean")
    assert "feature-extraction" in (caught.value.hint or "")


def test_a_cancel_ends_it_without_the_texts_that_were_left(engine: Engine, tmp_path: Path) -> None:
    shape = scripted.Shape(hidden=256, layers=4, heads=8, kv_heads=8, feed_forward=1024, context=512)
    engine.make_random(tmp_path / engine.file_name, shape, pooling="mean")
    loaded = engine.load(tmp_path / engine.file_name)
    try:
        flag = threading.Event()
        timer = threading.Timer(0.2, flag.set)
        timer.start()
        assert loaded.embed(["x" * 500] * 4000, flag.is_set) == []
        timer.join()
        began = time.perf_counter()
        assert len(loaded.embed(["hi"], never)) == 1
        assert time.perf_counter() - began < 30, "the texts that were left were computed"
    finally:
        loaded.close()


@pytest.mark.parametrize("other", [one for one in ENGINES if not one.embeds], ids=lambda engine: engine.backend)
def test_an_engine_without_embeddings_says_so_and_what_has_them(other: Engine, tmp_path: Path) -> None:
    other.make_random(tmp_path / other.file_name, SHAPE)
    loaded = other.load(tmp_path / other.file_name)
    with pytest.raises(EngineError) as caught:
        loaded.embed(["hi"], never)
    loaded.close()
    assert "llama.cpp" in (caught.value.hint or "")

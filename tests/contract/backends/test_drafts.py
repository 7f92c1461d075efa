"""What every adapter promises that lets a smaller model draft, on real engines: the same answer, guessed ahead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import Engine, ask
from tests.fixtures.scripted import Shape, render

from localfirst.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ["one", "a second, which is longer", render("3")]


@pytest.fixture(scope="module")
def engine(engine: Engine) -> Engine:
    if not engine.drafts:
        pytest.skip("it takes no draft")
    return engine


@pytest.fixture(scope="module")
def target(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(f"draft-{engine.backend}") / "target" / engine.file_name
    engine.make_random(path, Shape(layers=3))
    return path


@pytest.mark.parametrize("seed", [0, 1], ids=["a draft that is often right", "a draft that never is"])
def test_the_answer_is_the_same_with_a_draft(engine: Engine, target: Path, tmp_path: Path, seed: int) -> None:
    engine.make_random(tmp_path / engine.file_name, Shape(layers=1), seed=seed)
    alone = engine.load(target)
    expected = [ask(alone, prompt, max_tokens=60) for prompt in PROMPTS]
    alone.close()
    drafted = engine.load(target, draft=tmp_path / engine.file_name, requests=2)
    found = [ask(drafted, prompt, max_tokens=60) for prompt in PROMPTS]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda prompt: ask(drafted, prompt, max_tokens=60), PROMPTS))
    drafted.close()
    for one, other, third in zip(expected, found, together, strict=True):
        assert one.text == other.text == third.text
        assert other.end.usage.completion_tokens == 60
    if seed == 0:  # the first layers of the target, whose embedding and output are the draft's as well
        assert min(one.end.usage.drafted_tokens for one in found) > 20
    assert {one.end.usage.drafted_tokens for one in expected} == {0}


def test_how_likely_tokens_were_is_told_without_a_draft_alone(engine: Engine, target: Path) -> None:
    alone, drafted = engine.load(target), engine.load(target, draft=target)
    try:
        assert len(ask(alone, PROMPTS[0], max_tokens=3, likeliest=1).weighed) > 0
        assert drafted.info.likeliest is None
        with pytest.raises(UsageError, match="does not tell here how likely"):
            ask(drafted, PROMPTS[0], max_tokens=3, likeliest=1)
    finally:
        alone.close()
        drafted.close()


def test_a_scripted_answer_ends_and_stops_where_it_should(engine: Engine, tmp_path: Path) -> None:
    engine.make(tmp_path / "target" / engine.file_name, TEXT, shape=Shape(hidden=128, heads=4))
    engine.make(tmp_path / "draft" / engine.file_name, TEXT)
    loaded = engine.load(tmp_path / "target" / engine.file_name, draft=tmp_path / "draft" / engine.file_name)
    whole, short = ask(loaded, render("hi")), ask(loaded, render("hi"), max_tokens=3)
    stopped = ask(loaded, render("hi"), stop=("tiny",))
    loaded.close()
    assert (whole.text, whole.end.finish_reason) == (TEXT, "stop")
    assert whole.end.usage.drafted_tokens > 3
    assert (short.end.usage.completion_tokens, short.end.finish_reason) == (3, "length")
    assert (stopped.text, stopped.end.finish_reason) == (TEXT.partition("tiny")[0], "stop")


@pytest.mark.parametrize("size", [512, 1024], ids=["other words", "another size"])
def test_a_draft_of_another_vocabulary_is_refused_by_name(
    engine: Engine, target: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / f"other-{engine.file_name}"
    if size == 512:
        engine.make(path, reply_tokens=tuple(f"{number} is another word".encode() for number in range(200)))
    else:
        engine.make_random(path, Shape(), vocabulary_size=size)
    with pytest.raises(UsageError, match=rf"other-{engine.file_name} cannot draft for {engine.file_name}") as caught:
        engine.load(target, draft=path)
    assert caught.value.detail
    assert (" tokens, not 512" in caught.value.detail) == (size == 1024)


def test_a_damaged_draft_is_told_by_its_name(engine: Engine, target: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(target.read_bytes()[:2000])
    with pytest.raises(ModelFileError, match=r"cut\.gguf"):
        engine.load(target, draft=tmp_path / "cut.gguf")

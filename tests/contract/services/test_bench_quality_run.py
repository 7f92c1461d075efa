"""How well a text is foretold, on real engines: builds of one model against each other, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine

from localfirst.bench.quality import WINDOW_TOKENS, Report
from localfirst.errors import LfError, UsageError
from localfirst.services.bench.asked import Asked
from localfirst.services.bench.quality import Quality, Text, read_text
from localfirst.services.preparing import Allowed

OFFLINE = Allowed(network=False, install=False)
SHAPE = scripted.Shape(layers=2, context=1024)
TEXT = Text("words", "The second text is longer, 12345. And so on it goes. " * 3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def make(path: Path, **options: object) -> str:
    scripted.make_random_gguf(path, SHAPE, **options)
    return str(path)


def measure(*models: str, reference: str | None = None, text: Text = TEXT, **asked: object) -> Report:
    one = Quality(Asked(models, **asked), reference, text, OFFLINE)
    one.prepare(lambda _: None)
    one.measure(lambda _: None)
    return one.finish()


def test_fewer_bits_are_further_from_the_reference(tmp_path: Path) -> None:
    whole, eight, four = (make(tmp_path / f"{name}.gguf", quantization=name) for name in ("F32", "Q8_0", "Q4_0"))
    report = measure(four, eight, reference=whole)
    assert (report.whole, report.failures) == (True, ())
    base, worst, better = report.rows
    assert (base.is_reference, base.comparison) == (True, None)
    assert worst.comparison is not None
    assert better.comparison is not None
    assert worst.comparison.divergence is not None
    assert better.comparison.divergence is not None
    assert worst.comparison.divergence.value > 20 * better.comparison.divergence.value > 0
    assert worst.comparison.told is not None
    assert 0.1 < worst.comparison.told < 1
    assert base.quality.tokens == worst.quality.tokens > 100


def test_the_reference_is_measured_once_where_it_is_asked_for_too(tmp_path: Path) -> None:
    whole = make(tmp_path / "F32.gguf")
    report = measure(whole, reference=whole)
    assert [row.is_reference for row in report.rows] == [True]


def test_another_vocabulary_is_refused_by_name_and_the_others_measured(tmp_path: Path) -> None:
    whole, same = make(tmp_path / "whole.gguf"), make(tmp_path / "same.gguf", seed=1)
    other = tmp_path / "other.gguf"
    scripted.make_gguf(other, text="And so on it goes. ")
    report = measure(str(other), same, reference=whole)
    assert [Path(row.contender.model).stem for row in report.rows] == ["whole", "same"]
    (failure,) = report.failures
    assert "cut the text into different tokens" in failure
    assert "other" in failure


def test_a_text_of_several_windows_is_scored_in_each(tmp_path: Path) -> None:
    text = Text("words", "ab" * WINDOW_TOKENS)
    (row,) = measure(make(tmp_path / "one.gguf"), text=text).rows
    assert row.quality.tokens == 2 * WINDOW_TOKENS - 2


def test_a_text_of_one_token_cannot_be_foretold(tmp_path: Path) -> None:
    one = Quality(Asked((make(tmp_path / "one.gguf"),)), None, Text("one", "a"), OFFLINE)
    one.prepare(lambda _: None)
    one.measure(lambda _: None)
    assert one.finish().rows == ()
    assert "too short" in one.errors[0].message


def test_a_reference_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LfError):
        measure(make(tmp_path / "one.gguf"), reference=str(tmp_path / "none.gguf"))


def test_texts_are_the_built_in_one_or_a_file(tmp_path: Path) -> None:
    assert "ferry" in read_text(None).content
    (tmp_path / "mine.txt").write_text("My own words.")
    assert read_text(tmp_path / "mine.txt") == Text("mine.txt", "My own words.")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UsageError, match="no text"):
        read_text(tmp_path / "empty.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        read_text(tmp_path / "none.txt")

"""What was scored of a text when it is stopped stays, on a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine

from localfirst.bench.quality import WINDOW_TOKENS, Report
from localfirst.services.bench.asked import Asked
from localfirst.services.bench.quality import Quality, Text
from localfirst.services.preparing import Allowed
from localfirst.types import Progress

SHAPE = scripted.Shape(layers=2, context=1024)
TEXT = Text("words", "ab" * WINDOW_TOKENS)
"""Two windows of bytes."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("onnx")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


@pytest.fixture
def builds(tmp_path: Path) -> tuple[str, str]:
    for seed, name in enumerate(("base", "other")):
        scripted.make_random_onnx(tmp_path / name, SHAPE, seed=seed)
    return str(tmp_path / "base"), str(tmp_path / "other")


def measure_until(said: str, model: str, reference: str | None = None) -> Report:
    """As far as it comes until something is said, when Ctrl-C is pressed."""

    def report(progress: Progress) -> None:
        if said in str(progress.detail["line"]):
            raise KeyboardInterrupt

    one = Quality(Asked((model,)), reference, TEXT, Allowed(network=False, install=False))
    one.prepare(lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        one.measure(report)
    return one.finish()


def test_what_was_scored_when_it_is_stopped_is_held_against_the_same_tokens(builds: tuple[str, str]) -> None:
    base, other = builds
    report = measure_until("other in onnx-cpu: part 2", other, base)
    whole, stopped = report.rows
    assert (report.complete, whole.partial, stopped.partial) == (False, False, True)
    assert (whole.quality.tokens, stopped.quality.tokens) == (2 * WINDOW_TOKENS - 2, WINDOW_TOKENS - 1)
    assert stopped.comparison is not None
    reference = measure_until("base in onnx-cpu: part 2", base).rows[0]
    assert stopped.comparison.excess.value == pytest.approx(
        stopped.quality.cost.value - reference.quality.cost.value, abs=1e-6
    )
    assert stopped.comparison.divergence is not None
    assert stopped.comparison.divergence.value > 0


def test_what_was_stopped_before_anything_was_scored_has_no_rows(builds: tuple[str, str]) -> None:
    assert measure_until("part 1", builds[0]).rows == ()

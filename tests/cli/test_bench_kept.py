"""A bench of a real engine is kept, compared and held to a bar, and never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Lf

SMALL = ("bench", "starter", "-p", "16", "-n", "8", "-r", "3", "--warmup", "0")


def test_a_bench_is_kept_and_held_to_an_earlier_one(lf: Lf, tmp_path: Path) -> None:
    first = lf(*SMALL, "-o", "json")
    assert first.returncode == 0
    told = json.loads(first.stdout)
    assert first.stderr == ""
    assert json.loads(lf("bench", "export").stdout) == told
    second = lf(*SMALL, "--compare", "last", "--fail-under", "99.9%")
    assert (second.returncode, f"against {told['id']}" in second.stdout) == (0, True)
    assert "`lf bench report` draws it" in second.stderr
    for series in told["series"]:
        for sample in series["samples"]:
            sample |= {name: sample[name] and sample[name] * 1e6 for name in ("prefill_tps", "decode_tps")}
    (tmp_path / "fast.json").write_text(json.dumps(told))
    third = lf(*SMALL, "-o", "csv", "--compare", str(tmp_path / "fast.json"), "--fail-under", "5%")
    assert (third.returncode, len(third.stdout.splitlines())) == (12, 3)
    assert "worse by more than 5%" in third.stderr
    assert "slower" in third.stderr
    assert len(json.loads(lf("bench", "history", "--json").stdout)["benches"]) == 3


def test_a_bench_that_cannot_be_kept_is_printed_all_the_same(lf: Lf, tmp_path: Path) -> None:
    (lf.home / "measurements.sqlite").mkdir(parents=True)
    lf.environment |= {"TMPDIR": str(tmp_path)}
    done = lf(*SMALL)
    assert (done.returncode, "pp16" in done.stdout) == (0, True)
    assert "This bench is not kept" in done.stderr
    assert "; `lf bench report`" not in done.stderr
    (rescued,) = tmp_path.glob("lf-bench-*.json")
    assert lf("bench", "export", str(rescued), "-o", "csv").stdout.count("\n") == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--fail-under", "5%"), 2, "needs something to hold against"),
        (("--compare", "zzzz"), 3, "There is no bench `zzzz`"),
        (("--compare", "none.json"), 1, "none.json cannot be read"),
    ],
)
def test_what_cannot_be_compared_with_is_said_before_anything_is_measured(
    lf: Lf, words: tuple[str, ...], code: int, said: str
) -> None:
    done = lf(*SMALL, *words)
    assert (done.returncode, done.stdout, said in done.stderr) == (code, "", True)

"""`lf bench calibrate` as a user types it."""

from __future__ import annotations

import io
import json

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine

from localfirst.bench.values import Conditions
from localfirst.catalog.pace import Line
from localfirst.cli.screen import Screen
from localfirst.cli.views.calibrate import render_calibration
from localfirst.services.bench.calibrate import Calibration, Figure
from localfirst.types import Rates


def test_speeds_follow_from_it_and_it_is_said_from_where(lf: Lf) -> None:
    need_engine("onnx")
    assert "(estimated)" in lf("model", "explain", "starter#onnx").stdout
    done = lf("bench", "calibrate", "--backend", "onnx-cpu", "-o", "json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["schema"], told["complete"], told["failures"]) == ("lf.calibration/1", True, [])
    (one,) = told["runtimes"]
    assert one["runtime"] == "onnx-cpu"
    assert [row["network"] for row in one["measured"]] == ["small", "medium", "large"]
    assert all(row["decode_tps"] > 0 for row in one["measured"])
    assert one["before"] != one["after"]
    assert "(expected from what others reached here)" in lf("model", "explain", "starter#onnx").stdout


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (("--backend", "nonsense"), "No engine or runtime named `nonsense`", 3),
        (("--backend", "mlx-metal"), "Not here: mlx-metal", 8),
        (("-o", "csv"), "does not know `csv`", 2),
    ],
)
def test_what_cannot_be_done_is_said(lf: Lf, words: tuple[str, ...], says: str, code: int) -> None:
    done = lf("bench", "calibrate", *words)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("share", "said"), [(0.9, True), (0.02, False), (None, False)])
def test_what_a_busy_machine_reached_is_told_to_be_too_low(share: float | None, said: bool) -> None:
    figure = Figure("onnx-cpu", "0.18.0", "CPU", {"small": Rates(50.0, 900.0)}, None, Line(0.001, 1e-9))
    before = Conditions("2026-11-28T12:00:00+00:00", 0.1, busy_share=share)
    found = Calibration("a processor", before, 10**10, (figure,), (), (), 60.0, complete=True)
    told = " ".join(" ".join(render_calibration(found, Screen(io.StringIO(), 80))).split())
    assert ("these figures are too low, and models may be refused as too slow by them" in told) == said

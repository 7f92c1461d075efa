"""`lf bench calibrate` as a user types it."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine


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

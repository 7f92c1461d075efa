"""`lf bench --quality` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine


@pytest.fixture(autouse=True)
def engine() -> None:
    need_engine("onnx")


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "mine.txt").write_text("What is QAT? A model that was trained while its weights are rounded.\n" * 4)
    return str(tmp_path / "mine.txt")


def test_a_table_says_what_was_measured_and_how_far_it_is_true(lf: Lf, text: str) -> None:
    need_engine("openvino")
    words = ("--text", text, "--reference", "starter", "--backend", "onnx,openvino")
    done = lf("bench", "starter", "--quality", *words)
    assert done.returncode == 0, done.stderr
    header, base, other, blank, *notes = done.stdout.splitlines()
    assert header.split() == ["MODEL", "BUILD", "RUNTIME", "PERPLEXITY", "LOSS", "MARK"]
    assert base.split()[:3] == ["starter", "int4", "onnx-cpu"]
    assert base.endswith("reference")
    assert other.split()[2] == "openvino-cpu"
    assert blank == ""
    assert notes[0].startswith("-  mine.txt: ")
    assert any("Without KL" in note for note in notes)
    said = " ".join(done.stdout.split())
    assert "Lower is better, among builds of one model" in said
    assert "near 0 is as good as that" in said
    kept = lf("bench", "history", "starter", "--quality").stdout.splitlines()
    assert ["mine.txt" in row for row in kept] == [False, True, True]
    assert lf("bench", "history", "phi-4-mini", "--quality").stderr.startswith("Nothing of that is kept")
    assert re.search(r"int4-ov by openvino-cpu: the perplexity is \d+\.\d% (higher|lower)", said)
    assert "\x1b" not in done.stdout


def test_json_has_the_divergence_and_how_much_of_it_was_told(lf: Lf, text: str) -> None:
    need_engine("xllamacpp")
    words = ("--text", text, "--reference", "starter@q4_0", "--json")
    done = lf("bench", "starter@int4", "--quality", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["schema"] == "lf.quality/1"
    base, other = told["results"]
    assert (base["reference"], base["kl_at_least"]) == (True, None)
    assert other["tokens"] == base["tokens"] > 20
    assert 0 < other["kl_at_least"]["value"] < 0.01, "both builds have the same codes and scales"
    assert 0.5 < other["kl_told"] <= 1
    assert other["perplexity"]["value"] == pytest.approx(base["perplexity"]["value"], rel=0.05)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--reference", "starter"), "are for `--quality`"),
        (("--quality", "-p", "16"), "measures no speed"),
        (("--quality", "-r", "5"), "measures no speed"),
        (("--quality", "--warmup", "0"), "measures no speed"),
        (("--quality", "-o", "sql"), "does not print `sql`"),
        (("--quality", "--text", "none.txt"), "none.txt"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(lf: Lf, words: tuple[str, ...], says: str) -> None:
    done = lf("bench", "starter", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_scored_when_it_is_stopped_is_printed(
    lf: Lf, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    import pty

    (tmp_path / "long.txt").write_text("What is QAT? A model that was trained while its weights are rounded.\n" * 1000)
    words = ("bench", "starter", "--quality", "--text", str(tmp_path / "long.txt"), "--backend", "onnx", "--json")
    parent, child = pty.openpty()
    with subprocess.Popen(lf.command(*words), stdout=subprocess.PIPE, stderr=child, env=lf.env()) as process:
        os.close(child)
        seen = b""
        while b"part 3 of 16" not in seen and (more := os.read(parent, 4096)):
            seen += more
        process.send_signal(number)
        told, _ = process.communicate(timeout=60)
    os.close(parent)
    report = json.loads(told)
    assert json.loads(lf("bench", "history", "--quality", "--json").stdout) == {"qualities": [report]}
    (row,) = report["results"]
    assert (process.returncode, report["complete"], row["partial"]) == (code, False, True)
    assert 2 * 511 <= row["tokens"] < 16 * 511

"""The real builder of ONNX Runtime GenAI, where its environment is (300 MB to fetch): what it builds answers.

Name one in `LF_RUNTIME_ONNX_BUILDER`, an interpreter of an environment with `pins/onnx-builder.txt` and PyTorch.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.scripted.safetensors_folder import make_checkpoint
from tests.fixtures.starter_checkpoint import make_starter_checkpoint

VARIABLE = "LF_RUNTIME_ONNX_BUILDER"
pytestmark = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"no builder: {VARIABLE} is not set")

REPLY = "Hello from a checkpoint that was built here, on this machine."
QUESTIONS = (
    "How do I list the models that fit this machine?",
    "What is QAT?",
    "What is a variant?",
    "How do I remove a model?",
    "Does anything leave my machine?",
)


@pytest.fixture
def builder(lf: Lf) -> Lf:
    lf.environment[VARIABLE] = os.environ[VARIABLE]
    return lf


def build(lf: Lf, folder: Path, *words: str) -> str:
    made = lf("model", "optimize", str(folder), "-y", "--name", "made", *words, timeout_s=600)
    assert made.returncode == 0, made.stderr
    return made.stderr


@pytest.mark.parametrize("precision", ["int4", "fp32"])
def test_a_checkpoint_answers_what_it_was_made_to_answer(builder: Lf, tmp_path: Path, precision: str) -> None:
    make_checkpoint(tmp_path / "scripted", REPLY)
    build(builder, tmp_path / "scripted", "--precision", precision)
    assert builder("run", "made", "Hello?").stdout == f"{REPLY}\n"
    assert builder("run", "made", "And this, of several words?", "--temp", "0").stdout == f"{REPLY}\n"


def test_the_starter_in_32_bits_says_what_the_starter_says(builder: Lf, tmp_path: Path) -> None:
    make_starter_checkpoint(tmp_path / "starter")
    build(builder, tmp_path / "starter", "--precision", "fp32")
    for question in QUESTIONS:
        said = [builder("run", name, question, "--temp", "0").stdout for name in ("starter#onnx", "made")]
        assert said[0] == said[1] != ""


def test_the_starter_in_4_bits_still_knows_what_it_knows(builder: Lf, tmp_path: Path) -> None:
    make_starter_checkpoint(tmp_path / "starter")
    build(builder, tmp_path / "starter")
    assert "lf model list --fits" in builder("run", "made", QUESTIONS[0], "--temp", "0").stdout


def test_the_environment_passes_the_test_of_runtimes(builder: Lf) -> None:
    tested = builder("runtime", "test", "onnx-builder")
    assert (tested.returncode, tested.stdout.partition(" ")[0]) == (0, "ok")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_connection_is_tried_and_nothing_is_left_in_the_users_folders(builder: Lf, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "scripted", REPLY)
    (tmp_path / "user").mkdir()
    environment = builder.env() | {"HOME": str(tmp_path / "user")}
    argv = builder.command("model", "optimize", str(tmp_path / "scripted"), "-y")
    words = ("strace", "-f", "-qq", "-e", "trace=connect", "-o", str(tmp_path / "calls"), *argv)
    subprocess.run(words, env=environment, check=True, capture_output=True, timeout=600)
    calls = (tmp_path / "calls").read_text()
    assert re.findall(r"connect\(.*AF_INET6?.*", calls) == []
    assert [path for path in (tmp_path / "user").rglob("*") if path.is_file()] == []

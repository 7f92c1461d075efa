"""`lf embed` end to end: a real process, a real engine, a small embedding model."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.scripted import Shape, make_gguf, make_onnx, make_random_gguf


@pytest.fixture
def model(tmp_path: Path) -> str:
    make_random_gguf(tmp_path / "embedder.gguf", Shape(), pooling="mean")
    return str(tmp_path / "embedder.gguf")


def read(lines: str) -> list[dict]:
    return [json.loads(line) for line in lines.splitlines()]


def test_every_text_becomes_a_line_of_json(lf: Lf, model: str) -> None:
    done = lf("embed", model, "one text", "Grüße", "--json")
    first, second = read(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (first["index"], first["text"], first["tokens"]) == (0, "one text", len("one text"))
    assert (second["index"], second["text"], second["tokens"]) == (1, "Grüße", len("Grüße".encode()))
    assert len(first["embedding"]) == 64
    assert sum(number**2 for number in second["embedding"]) == pytest.approx(1, abs=1e-5)


def test_lines_come_from_a_file_or_the_input_and_keep_their_numbers(lf: Lf, model: str, tmp_path: Path) -> None:
    lines = "\ufeffone\n\n  \nfour\r\n" + "".join(f"{number}\n" for number in range(40))
    (tmp_path / "lines.txt").write_text(lines, encoding="utf-8", newline="")
    named = lf("embed", model, "-i", str(tmp_path / "lines.txt"))
    found = [(one["index"], one["text"]) for one in read(named.stdout)]
    assert found == [(0, "one"), (3, "four"), *((4 + number, str(number)) for number in range(40))]
    assert read(lf("embed", model, "--input", "-", stdin=lines).stdout) == read(named.stdout)
    assert read(lf("embed", model, stdin=lines).stdout) == read(named.stdout)


def test_a_person_sees_the_beginning_of_a_vector(model: str, tmp_path: Path) -> None:
    parent, child = pty.openpty()
    environment = os.environ | {"LF_HOME": str(tmp_path / "home"), "TERM": "xterm", "COLUMNS": "90"}
    command = [sys.executable, "-m", "localfirst", "embed", model, "hi \x1b[31mred"]
    done = subprocess.run(command, stdin=child, stdout=child, stderr=child, env=environment, timeout=60, check=False)
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert done.returncode == 0
    assert "]  64 numbers  11 tokens  hi" in shown
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one", "-i", "FILE"], "not from both"),
        (["-i", "nowhere.txt"], "`nowhere.txt` cannot be read"),
        (["-i", "FILE"], "Line 2 of"),
        ([" "], "An empty text has no embedding"),
        (["one", "--pooling", "max"], "No pooling `max`"),
    ],
    ids=["both", "missing", "no text", "empty", "pooling"],
)
def test_what_cannot_be_embedded_is_said(lf: Lf, model: str, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "bytes").write_bytes(b"first\n\xff\xfe\n")
    done = lf("embed", model, *(str(tmp_path / "bytes") if word == "FILE" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_text_that_is_too_long_is_told_by_its_beginning_and_both_numbers(lf: Lf, model: str) -> None:
    done = lf("embed", model, "short", "word " * 400)
    assert (done.returncode, done.stdout) == (1, "")
    assert "A text has 2000 tokens; the model reads 1024 at once" in done.stderr
    assert "it begins: word word" in done.stderr


def test_a_model_that_answers_needs_a_pooling_and_one_that_embeds_does_not_chat(
    lf: Lf, model: str, tmp_path: Path
) -> None:
    make_gguf(tmp_path / "chat.gguf", "Hello.")
    make_onnx(tmp_path / "chat-onnx", "Hello.")
    refused = lf("embed", str(tmp_path / "chat.gguf"), "hi")
    assert refused.returncode == 2
    assert "`--pooling mean`" in refused.stderr
    assert len(read(lf("embed", str(tmp_path / "chat.gguf"), "hi", "--pooling", "last").stdout)) == 1
    engine = lf("embed", str(tmp_path / "chat-onnx"), "hi", "--pooling", "mean")
    assert engine.returncode == 8
    assert "computes no embeddings" in engine.stderr
    chat = lf("run", model, "hi")
    assert chat.returncode == 2
    assert f"`lf embed {model} TEXT`" in chat.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_it_between_two_lines(model: str, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("".join(f"text {number} {'x' * 900}\n" for number in range(20_000)))
    environment = os.environ | {"LF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "localfirst", "embed", model, "-i", str(tmp_path / "many.txt")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest, errors = process.stdout.read(), process.stderr.read()
        code = process.wait()
    assert (code, json.loads(first)["index"]) == (130, 0)
    assert "Traceback" not in errors
    assert all(json.loads(line) for line in rest.splitlines())
    assert len(rest.splitlines()) < 19_000
    assert time.monotonic() - began < 30

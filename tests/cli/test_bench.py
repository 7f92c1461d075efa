"""`lf bench` as a user types it."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine

SMALL = ("-p", "16", "-n", "8", "-r", "2", "--warmup", "0")


@pytest.fixture(autouse=True)
def engine() -> None:
    need_engine("xllamacpp")


def test_a_look_at_the_table_is_enough(lf: Lf) -> None:
    done = lf("bench", "starter", *SMALL, "--backend", "llama-cpu")
    assert done.returncode == 0
    machine, conditions, blank, header, reading, writing, *notes = done.stdout.splitlines()
    assert "core" in machine
    assert "no energy counter" in conditions or "energy by" in conditions
    assert blank == ""
    assert header.split()[:5] == ["MODEL", "BUILD", "RUNTIME", "DEVICE", "TEST"]
    assert reading.split()[:5] == ["starter", "q4_0", "llama-cpu", "CPU", "pp16"]
    assert writing.split()[4] == "tg8"
    assert any(note.startswith("-  starter@q4_0 in llama-cpu: llama.cpp ") for note in notes)
    assert "tg8, 1 of 2" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("words", [("-o", "json"), ("--json",)])
def test_json_is_one_object_and_alone_on_stdout(lf: Lf, words: tuple[str, ...]) -> None:
    done = lf("bench", "starter", *SMALL, "--backend", "llama-cpu", *words)
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert [row["test"] for row in told["results"]] == ["pp16", "tg8"]
    assert [len(row["samples_ts"]) for row in told["results"]] == [2, 2]
    assert told["arguments"][:2] == ["bench", "starter"]
    assert told["complete"] is True


def test_lines_tables_and_statements_are_for_programs(lf: Lf) -> None:
    words = ("bench", "starter", "-p", "0", "-n", "8", "-r", "1", "--warmup", "0", "--backend", "llama-cpu", "-o")
    assert json.loads(lf(*words, "jsonl").stdout)["n_gen"] == 8
    (row,) = csv.DictReader(io.StringIO(lf(*words, "csv").stdout))
    assert (row["test"], row["runtime"]) == ("tg8", "llama-cpu")
    database = sqlite3.connect(":memory:")
    database.executescript(lf(*words, "sql").stdout)
    assert database.execute("select count(*), max(n_gen) from lf_bench").fetchone() == (1, 8)
    database.close()
    assert "| starter Q4_0 | 1.88 MiB | llama-cpu | CPU |" in lf(*words, "md").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("starter", "-p", "many"), 2, "`-p many` is no such number"),
        (("starter", "-pg", "512"), 2, "is no pair"),
        (("starter", "-o", "xml"), 2, "`-o` does not know `xml`"),
        (("starter", "--backend", "nope"), 3, "No backend named `nope`"),
        (("starter", "--backend", "onnx", "--all-backends"), 2, "say one of them"),
        (("starter", "--scenario", "poem"), 2, "`poem` is no scenario"),
        (("starter", "--concurrency", "0"), 2, "`--concurrency 0` is no such number"),
        (("starter", "-p", "0", "-n", "0"), 2, "nothing to measure"),
        (("starter", "--ctx", "256"), 2, "A context of 256 tokens is too short"),
        (("starter", "-p", "9000", "-n", "0"), 1, "The prompt has 9000 tokens"),
        (("starter", "--device", "npu"), 9, "cannot run on the npu"),
        (("starter", "-p", "8", "-n", "0", "--backend", "litert", "-b", "64"), 2, "decides itself"),
        (("no-such-model",), 3, "No model named"),
        ((), 2, "No model is on this disk"),
        (("--api", "http://127.0.0.1:9/v1"), 6, "does not answer"),
        (("--api", "ftp://x"), 2, "not the address of a server"),
        (("starter", "--api", "127.0.0.1"), 2, "not the address of a server"),
        (("--offline", "--api", "http://127.0.0.1:9"), 6, "the network is switched off"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(lf: Lf, words: tuple[str, ...], code: int, said: str) -> None:
    if "litert" in words:
        need_engine("litert")
    done = lf("bench", *words, "-q")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_how_to_measure(lf: Lf) -> None:
    for words in (("bench", "--help"), ("bench", "run", "--help")):
        told = lf(*words).stdout
        assert "--concurrency" in told
        assert "[MODEL]..." in told


def wait_for_a_sample(process: subprocess.Popen[str]) -> None:
    """Wait until one of a thousand is taken: another one is announced."""
    assert process.stderr is not None
    for line in process.stderr:
        if (told := re.search(r"(\d+) of 1000", line)) and int(told[1]) > 1:
            return


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_measured_when_it_is_stopped_is_kept(lf: Lf, number: signal.Signals, code: int) -> None:
    words = ("bench", "starter", "-p", "128", "-n", "8", "-r", "1000", "--warmup", "0", "--backend", "llama-cpu")
    process = lf.start(*words, "-o", "table")
    wait_for_a_sample(process)
    process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "pp128" in told
    assert "did not come to its end" in told


def test_what_is_stopped_says_so_though_there_is_nothing_to_compare(lf: Lf, tmp_path: Path) -> None:
    small = ("bench", "starter", "-n", "0", "--warmup", "0", "--backend", "llama-cpu")
    other = json.loads(lf(*small, "-p", "8", "-r", "1", "-o", "json").stdout) | {"machine": "another"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    process = lf.start(*small, "-p", "128", "-r", "1000", "--compare", str(tmp_path / "other.json"))
    wait_for_a_sample(process)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert (process.returncode, "pp128" in told, "Two different machines" in told) == (130, True, True)


def test_a_disk_that_is_full_is_said(lf: Lf) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    words = lf.command("bench", "starter", "-p", "0", "-n", "8", "-r", "1", "--warmup", "0", "--backend", "llama-cpu")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=lf.env())
    assert done.returncode == 1
    assert "cannot be written" in done.stderr

"""A command that does not exist is answered with the one that was probably meant, wherever that is.

What a command does not take is said in the terms of every other error where a program asks.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Lf


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["info", "phi-4"], "Did you mean `lf model info`?"),
        (["explian"], "Did you mean `lf model explain`?"),
        (["model", "lst"], "Did you mean `lf model list`?"),
        (["runtime", "instal", "onnx-cpu"], "Did you mean `lf runtime install`?"),
        (["frobnicate"], "See what there is: `lf --help`"),
        (["chat", "starter"], "Did you mean `lf run`?"),
        (["help"], "Did you mean `lf --help`?"),
        (["version"], "Did you mean `lf --version`?"),
        (["delete", "phi-4"], "Did you mean `lf rm`?"),
        (["model", "delete", "phi-4"], "Did you mean `lf model rm`?"),
        (["runtime", "uninstall", "onnx-cpu"], "Did you mean `lf runtime remove`?"),
        (["search", "qwen"], "Did you mean `lf list TEXT`?"),
        (["model", "search", "qwen"], "Did you mean `lf model list TEXT`?"),
        (["download", "phi-4"], "Did you mean `lf pull`?"),
    ],
)
def test_an_unknown_command_is_answered_with_what_was_meant(lf: Lf, typed: list[str], hint: str) -> None:
    done = lf(*typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: `lf")
    assert done.stderr.rstrip().endswith(f"hint: {hint}")


def test_a_command_of_bench_that_is_misspelt_is_no_model_only(lf: Lf) -> None:
    done = lf("bench", "histroy")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith("error: No model named `histroy`\n\nhint: Did you mean `lf bench history`?\n")
    assert lf("bench", "phi4-mino").stderr.endswith("hint: Did you mean phi-4-mini?\n")


def test_models_are_found_by_a_text(lf: Lf) -> None:
    found = json.loads(lf("list", "QWEN", "coder", "--json").stdout)["models"]
    assert found
    assert all("coder" in one["name"] for one in found)
    assert lf("list", "no such").stderr == "No models to show: none is called `no such`; `lf list` shows every one\n"


def test_a_file_that_cannot_be_read_is_told_in_words(lf: Lf, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    for name, said in (("none.txt", "No such file or directory"), ("bad.txt", "byte 4 is 0xff")):
        for option in ("--file", "--schema"):
            assert lf("run", "starter", "hi", option, str(tmp_path / name)).stderr.endswith(f"\n  {said}\n")


@pytest.mark.parametrize("typed", [["run", "a" * 300, "hi"], ["model", "optimize", "a" * 300], ["rm", "a" * 300]])
def test_a_name_that_no_file_can_have_is_only_an_unknown_name(lf: Lf, typed: list[str]) -> None:
    done = lf(*typed)
    assert done.returncode in {2, 3}
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("typed", "environment", "code"),
    [
        (["store", "move", "~nobody-of-this-name"], {}, 0),
        (["model", "optimize", "~nobody-of-this-name"], {}, 2),
        (["runtime", "list"], {"LF_RUNTIME_ONNX_CPU": "~nobody-of-this-name"}, 0),
        (["list"], {"LF_HOME": "~nobody-of-this-name"}, 0),
    ],
)
def test_the_home_of_nobody_is_a_name_like_others(
    lf: Lf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], environment: dict[str, str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    lf.environment |= environment
    assert (lf(*typed).returncode, lf(*typed).stderr.count("Traceback")) == (code, 0)


@pytest.mark.parametrize(
    ("typed", "message", "command"),
    [
        (["list", "--json", "--fit"], "No such option: --fit", "lf list"),
        (["model", "info", "--json"], "Missing argument 'MODEL'", "lf model info"),
        (["list", "--min-tps", "nan", "--json"], "Invalid value for '--min-tps': nan is no number", "lf list"),
        (["run", "starter", "hi", "--top-p", "nan", "--json"], "Invalid value for '--top-p': nan is no", "lf run"),
        (["list", "--max-size", "much", "--json"], "Invalid value for '--max-size'", "lf list"),
        (["--json", "list"], "No such option: --json", "lf"),
        (["explian", "--json"], "`lf` has no command `explian`", None),
    ],
)
def test_a_mistake_in_the_words_is_an_error_object_under_json(
    lf: Lf, typed: list[str], message: str, command: str | None
) -> None:
    done = lf(*typed)
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "usage"
    assert error["message"].startswith(message)
    if command is not None:
        assert error["hint"].startswith(f"`{command} --help`")
        assert error["detail"].startswith(f"Usage: {command}")

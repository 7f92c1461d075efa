"""`lf model import` as a user types it, for every format, and what other commands make of what it leaves."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures import formats as make
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import make_gguf, make_onnx

from localfirst.cli.screen import Screen
from localfirst.cli.views.imports import render_imported
from localfirst.services.imported import describe
from localfirst.services.importing import Imported
from localfirst.types import InstalledFile, InstalledModel

REPLY = "Imported, and answering."
WIDTH = 80


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    make_gguf(tmp_path / "my-model-Q4_0.gguf", REPLY)
    return tmp_path / "my-model-Q4_0.gguf"


def test_a_file_is_ready_where_it_lies(lf: Lf, gguf: Path) -> None:
    done = lf("model", "import", str(gguf), "-q")
    assert (done.returncode, done.stderr) == (0, "")
    size = f"{gguf.stat().st_size / 1000:.0f} kB"
    assert done.stdout.splitlines() == [
        "my-model-q4_0 is ready",
        "  Model    scripted, 74K parameters, 1K context",
        f"  Build    gguf Q4_0, {size} in 1 file",
        f"  Left in  {gguf.parent}",
        "Run it: `lf run my-model-q4_0`",
    ]
    assert lf("run", "my-model-q4_0", "hi").stdout == f"{REPLY}\n"


@pytest.mark.parametrize("command", [["rm"], *(["model", word] for word in ("explain", "info", "verify", "pin"))])
def test_a_misspelt_name_is_answered_with_that_of_an_import(lf: Lf, gguf: Path, command: list[str]) -> None:
    assert lf("model", "import", str(gguf), "--name", "my-notes-model").returncode == 0
    done = lf(*command, "my-notes-modle")
    assert done.returncode == 3
    assert done.stderr.rstrip().endswith("hint: Did you mean my-notes-model?")


def test_a_damaged_original_is_not_said_to_be_mended_by_a_connection(lf: Lf, gguf: Path) -> None:
    assert lf("model", "import", str(gguf), "--name", "mine").returncode == 0
    gguf.write_bytes(gguf.read_bytes()[:-1] + b"x")
    found = lf("--offline", "model", "verify", "mine", "--repair")
    assert (found.returncode, "connection" in found.stderr) == (7, False)
    assert "lf cannot fetch it" in found.stdout


@pytest.mark.parametrize("words", [("model", "import"), ("store", "move"), ("model", "optimize")])
def test_an_empty_path_is_not_the_current_folder(lf: Lf, words: tuple[str, ...]) -> None:
    done = lf(*words, "")
    assert (done.returncode, "empty" in done.stderr) == (2, True)
    assert [path.name for path in lf.home.iterdir()] == ["cache"]


def test_links_in_a_circle_are_no_files_of_a_folder(lf: Lf, tmp_path: Path) -> None:
    need_engine("onnx")
    folder = tmp_path / "looped"
    make_onnx(folder, REPLY)
    (folder / "circle").symlink_to("circle")
    (folder / "again").symlink_to(".")
    assert lf("run", str(folder), "hi").stdout == f"{REPLY}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are UTF-8")
def test_a_path_that_the_encoding_lacks_is_a_problem_and_no_crash(lf: Lf, gguf: Path) -> None:
    folder = gguf.parent / "a\u2013b"
    folder.mkdir()
    assert lf("model", "import", str(gguf.rename(folder / gguf.name)), "--name", "mine").returncode == 0
    lf.environment |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words, code in ((("doctor",), 1), (("list", "--installed"), 2), (("run", "mine", "hi"), 2)):
        done = lf(*words)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert "PYTHONUTF8=1" in done.stdout + done.stderr


def test_an_original_that_was_moved_is_said_to_be_where_it_no_longer_is(lf: Lf, gguf: Path) -> None:
    assert lf("model", "import", str(gguf), "--name", "mine").returncode == 0
    gguf.rename(gguf.with_name("other.gguf"))
    (row,) = (row for row in lf("list", "--installed").stdout.splitlines() if row.split()[:1] == ["mine"])
    assert row.endswith("files gone")
    assert "moved, or deleted: lf cannot fetch it: put the file back" in lf("model", "info", "mine").stdout
    refused = lf("run", "mine", "hi")
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (
        7,
        "error: The files of `mine` are not where they were: moved, or deleted",
    )


def test_a_mark_of_names_behind_the_path_of_a_file_is_told_what_says_so_there(lf: Lf, gguf: Path) -> None:
    for mark, hint in (
        ("#onnx", "Say `--backend onnx` instead"),
        ("@q8_0", "Leave it out: a file or folder is one build"),
    ):
        done = lf("run", f"{gguf}{mark}", "hi")
        assert done.returncode == 2
        assert done.stderr == f"error: {gguf} is a path, behind which `{mark}` means nothing\n\nhint: {hint}\n"


def test_a_copy_runs_without_its_original_and_is_removed_in_whole(lf: Lf, gguf: Path) -> None:
    size = gguf.stat().st_size
    shown = json.loads(lf("model", "import", str(gguf), "--name", "mine", "--copy", "--json").stdout)
    assert (shown["name"], shown["keeper"], shown["parameters"]) == ("mine", None, 73_920)
    gguf.unlink()
    assert lf("run", "mine", "hi").stdout == f"{REPLY}\n"
    assert lf("model", "verify", "mine").returncode == 0
    removed = json.loads(lf("rm", "mine", "--json").stdout)
    assert removed["freed_bytes"] >= size
    assert [path for path in (lf.home / "models").rglob("*") if path.is_file() and ".locks" not in path.parts] == []


def test_hashing_and_copying_show_how_far_they_are(lf: Lf, gguf: Path) -> None:
    for words in ((), ("--copy", "--name", "copied")):
        assert "100 %" in lf("model", "import", str(gguf), *words).stderr


def test_every_line_fits_a_terminal(tmp_path: Path) -> None:
    installed = InstalledModel(
        "gemma-3-4b-it-q4_0", "q4_0", "safetensors", "Q4_0", "import", None, None, str(tmp_path),
        (InstalledFile("a", 5, "0"),) * 3, "2026", keeper="you",
    )  # fmt: skip
    model = describe(installed)._replace(title="A title of many words " * 6, parameters=4 * 10**9, license="gemma")
    rows = render_imported(
        Imported(installed, model, "vLLM, TensorRT-LLM or SGLang", "nothing loads it"), Screen(io.StringIO(), WIDTH)
    )
    assert max(len(row) for row in rows if str(tmp_path) not in row) <= WIDTH
    assert "4.0B parameters, licence gemma" in " ".join(" ".join(rows).split())


MAKERS = {
    "safetensors": (
        lambda folder: make.make_mlx(folder / "m", quantization_config={"quant_method": "gptq"}),
        "vLLM, TensorRT-LLM or SGLang",
    ),
}


@pytest.mark.parametrize(("format_", "made"), MAKERS.items(), ids=MAKERS)
def test_a_format_without_an_engine_is_imported_and_told_so(lf: Lf, tmp_path: Path, format_: str, made: tuple) -> None:
    build, engine = made
    path = build(tmp_path)
    done = lf("model", "import", str(path), "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("m is imported\n")
    assert f"No engine here loads it: it needs {engine}" in " ".join(done.stdout.split())
    for words in (("model", "explain", "m"), ("run", "m", "hi"), ("run", str(path), "hi")):
        refused = lf(*words)
        assert refused.returncode == 8
        assert f"{format_} needs {engine}" in " ".join(refused.stderr.split())
        assert "Traceback" not in refused.stderr
    listed = {one["name"]: one for one in json.loads(lf("list", "--installed", "--all", "--json").stdout)["models"]}
    assert listed["m"]["format"] == format_
    assert listed["m"]["need_bytes"] > 0


def test_what_has_no_engine_for_this_machine_is_not_said_to_be_ready(lf: Lf, tmp_path: Path) -> None:
    path = make.make_mlx(tmp_path / "m")
    done = lf("model", "import", str(path), "--json")
    told = json.loads(done.stdout)
    runs = lf("run", "m", "hi", "--no-install").returncode != 8
    assert (told["obstacle"] is None, told["engine_missing"] is None) == (runs, runs)
    if not runs:
        assert "mlx" in told["obstacle"].lower()
        shown = " ".join(lf("model", "import", str(path), "-q").stdout.split())
        assert shown.startswith("m is imported")
        assert "Run it" not in shown


@pytest.mark.parametrize(
    ("given", "hint"), [("remote:http://127.0.0.1:9/v1@m", "Only `lf run`"), ("hf:org/repo", "`lf pull hf:org/repo`")]
)
def test_what_is_no_path_is_told_what_to_type(lf: Lf, given: str, hint: str) -> None:
    refused = lf("model", "import", given)
    assert (refused.returncode, hint in refused.stderr) == (2, True)


def test_a_projector_is_recorded_with_its_model(lf: Lf, gguf: Path) -> None:
    data = gguf.read_bytes()
    gguf.with_name("mmproj-my-model-f16.gguf").write_bytes(data)
    shown = json.loads(lf("model", "import", str(gguf), "--json").stdout)
    assert [file["path"] for file in shown["files"]] == [gguf.name, "mmproj-my-model-f16.gguf"]
    assert lf("run", "my-model-q4_0", "hi").stdout == f"{REPLY}\n"


def test_a_file_of_another_tools_naming_runs(lf: Lf, gguf: Path) -> None:
    blob = gguf.rename(gguf.with_name("sha256-0123abcd"))
    assert lf("model", "import", str(blob), "--name", "blob", "-q").returncode == 0
    assert lf("run", "blob", "hi").stdout == f"{REPLY}\n"


def test_a_pipe_is_refused_and_nobody_waits_for_it(lf: Lf, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    refused = lf("model", "import", str(tmp_path / "m.gguf"), timeout_s=60)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is a pipe, not a model's file or folder" in " ".join(refused.stderr.split())


def test_a_title_does_not_drive_the_terminal(lf: Lf, tmp_path: Path) -> None:
    import gguf as gguf_package
    import numpy as np

    writer = gguf_package.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_name("evil \x1b]52;c;aGk=\x07 \x1b[2J" + "x" * 500)
    writer.add_license("\x1b[31mmit")
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = lf("model", "import", str(tmp_path / "m.gguf"), "-q")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "x" * 100 not in done.stdout


def test_names_that_mean_two_files_elsewhere_are_refused(lf: Lf, tmp_path: Path) -> None:
    folder = make.make_onnx(tmp_path / "onnx")
    (folder / "aux.json").write_text("{}")
    refused = lf("model", "import", str(folder))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "aux.json" in refused.stderr
    assert "Rename the file" in refused.stderr
    (folder / "aux.json").rename(folder / "Tokenizer.json")
    assert "differ only in case" in " ".join(lf("model", "import", str(folder)).stderr.split())

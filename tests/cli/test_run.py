"""`lf run` end to end: real processes, real engines, scripted models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import Shape, make_gguf, make_litert, make_onnx

REPLY = "Hello there, I am a very small model — 漢字 and all."
FORMATS = {
    "gguf": ("model.gguf", make_gguf, "llama-cpu"),
    "onnx": ("model", make_onnx, "onnx-cpu"),
    "litert": ("model.litertlm", make_litert, "litert-cpu"),
}


@pytest.fixture(params=FORMATS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    need_engine(request.param)
    name, make, _ = FORMATS[request.param]
    make(tmp_path / name, REPLY)
    return str(tmp_path / name)


def test_an_answer_is_the_only_thing_on_stdout(lf: Lf, model: str) -> None:
    done = lf("run", model, "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{REPLY}\n", "")


def test_json_has_the_text_the_counts_and_the_times(lf: Lf, model: str) -> None:
    answer = json.loads(lf("run", model, "hi", "--json").stdout)
    assert (answer["text"], answer["finish_reason"], answer["device"]) == (REPLY, "stop", "cpu")
    assert answer["usage"]["prompt_tokens"] == 5
    assert answer["usage"]["completion_tokens"] > 5
    assert set(answer["timings"]) == {"load_s", "first_token_s", "prefill_tps", "decode_tps"}
    assert answer["timings"]["load_s"] > 0


def test_stats_go_to_stderr(lf: Lf, model: str) -> None:
    done = lf("run", model, "hi", "--stats")
    assert done.stdout == f"{REPLY}\n"
    assert "tok/s" in done.stderr


def test_verbose_says_which_build_runs_where_and_why(lf: Lf, model: str) -> None:
    done = lf("run", model, "hi", "-v")
    assert done.stdout == f"{REPLY}\n"
    assert "the only build that runs here" in done.stderr


def test_what_is_piped_in_and_attached_becomes_part_of_the_prompt(lf: Lf, model: str, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("remember the milk\n")
    bare = json.loads(lf("run", model, "hi", "--json").stdout)["usage"]["prompt_tokens"]
    piped = json.loads(lf("run", model, "hi", "--json", stdin="0123456789").stdout)["usage"]["prompt_tokens"]
    both = json.loads(lf("run", model, "hi", "--json", "--file", str(note), stdin="0123456789").stdout)
    assert piped == bare + len("\n\n0123456789")
    assert both["usage"]["prompt_tokens"] == piped + len("\n\nnote.txt:\n```\nremember the milk\n```")


def test_several_words_are_one_prompt_and_the_system_text_is_sent(lf: Lf, model: str) -> None:
    joined = json.loads(lf("run", model, "a", "b", "--json").stdout)["usage"]["prompt_tokens"]
    assert joined == json.loads(lf("run", model, "a b", "--json").stdout)["usage"]["prompt_tokens"]
    system = json.loads(lf("run", model, "a b", "--system", "be brief", "--json").stdout)["usage"]["prompt_tokens"]
    assert system == joined + len("be brief") + 2


def test_max_tokens_and_stop_end_the_answer(lf: Lf, model: str) -> None:
    short = json.loads(lf("run", model, "hi", "--max-tokens", "2", "--json").stdout)
    assert (short["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 2)
    stopped = json.loads(lf("run", model, "hi", "--stop", "very small", "--json").stdout)
    assert (stopped["finish_reason"], stopped["text"]) == ("stop", REPLY.partition("very small")[0])


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(lf: Lf, model: str) -> None:
    done = lf("run", model, "x" * 3000)
    assert (done.returncode, done.stdout) == (1, "")
    assert "3003" in done.stderr
    assert "1024" in done.stderr


def test_control_characters_of_a_model_do_not_reach_the_terminal_unless_raw(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "evil.gguf", "look \x1b]52;c;ZXZpbA==\x07here \x1b[2Jnow")
    assert lf("run", str(tmp_path / "evil.gguf"), "hi").stdout == "look here now\n"
    assert "\x1b[2J" in lf("run", str(tmp_path / "evil.gguf"), "hi", "--raw").stdout


@pytest.mark.parametrize(
    ("words", "stdin", "code", "error"),
    [
        (["--temp", "11"], "", 2, "--temp"),
        (["--device", "tpu"], "", 2, "No device `tpu`"),
        (["--device", "npu"], "", 9, "npu"),
        (["--backend", "mlx"], "", 3, "mlx"),
        (["--ctx", "1"], "", 2, "--ctx"),
        (["--file", "nowhere.txt"], "", 2, "nowhere.txt"),
        (["--file", "/dev/zero"], "", 2, "/dev/zero"),
        ([], b"\xff\xfe", 2, "not UTF-8"),
        ([], b"a" * (4 * 2**20 + 1), 2, "What is piped in is too large: the most is 4.19 MB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_bad_option_is_named(lf: Lf, model: str, words: list[str], stdin: str, code: int, error: str) -> None:
    done = lf("run", model, "hi", *words, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_prompt_and_without_a_terminal_the_way_out_is_named(lf: Lf, model: str) -> None:
    done = lf("run", model)
    assert done.returncode == 2
    assert "no prompt was given" in done.stderr


def test_an_error_under_json_is_one_object_on_stderr(lf: Lf) -> None:
    done = lf("run", "phi-5-huge", "hi", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    error = json.loads(done.stderr)["error"]
    assert set(error) == {"code", "message", "detail", "hint"}
    assert error["code"] == "unknown-name"


FAKES = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n",
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("content", FAKES.values(), ids=FAKES)
def test_a_file_that_is_no_model_is_refused_by_what_it_is(lf: Lf, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    done = lf("run", str(tmp_path / "model.gguf"), "hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_truncated_model_is_refused(lf: Lf, model: str) -> None:
    path = Path(model) if Path(model).is_file() else Path(model, "model.onnx")
    os.truncate(path, path.stat().st_size // 2)
    done = lf("run", model, "hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr


def test_an_onnx_folder_with_a_file_missing_names_the_file(lf: Lf, tmp_path: Path) -> None:
    make_onnx(tmp_path / "model", REPLY)
    (tmp_path / "model" / "tokenizer.json").unlink()
    done = lf("run", str(tmp_path / "model"), "hi")
    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr


@pytest.mark.parametrize(
    ("template", "words"),
    [("{{ raise_exception('only one turn') }}", "only one turn"), ("{% if %}", "line 1")],
    ids=["raises", "has a syntax error"],
)
def test_a_template_that_fails_says_why(lf: Lf, template: str, words: str, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", REPLY, template=template)
    done = lf("run", str(tmp_path / "model.gguf"), "hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


@pytest.fixture
def endless(tmp_path: Path) -> str:
    """A model that goes on for many seconds."""
    make_onnx(tmp_path / "endless", "on and on ", loop=True, shape=Shape(context=65536))
    return str(tmp_path / "endless")


def start_endless(lf: Lf, endless: str) -> subprocess.Popen:
    process = lf.start("run", endless, "hi", "--ctx", "65536")
    assert process.stdout.read(5) == "on an"
    return process


def find_worker(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@needs_proc
def test_a_worker_killed_in_the_middle_of_an_answer_is_told_and_lf_ends_cleanly(lf: Lf, endless: str) -> None:
    process = start_endless(lf, endless)
    os.kill(find_worker(process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("error: The worker died of SIGKILL\n")


@needs_proc
def test_no_worker_is_left_when_lf_is_killed(lf: Lf, endless: str) -> None:
    process = start_endless(lf, endless)
    worker = find_worker(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{worker}").exists()


def test_ctrl_c_ends_with_130(lf: Lf, endless: str) -> None:
    process = start_endless(lf, endless)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_the_speed_of_a_run_takes_the_place_of_the_estimate(lf: Lf) -> None:
    def find_speed() -> float | None:
        listed = json.loads(lf("list", "--json").stdout)["models"]
        return next(one["decode_tps"]["measured"] for one in listed if one["name"] == "starter")

    assert find_speed() is None
    answer = json.loads(lf("run", "starter", "What is QAT?", "--json").stdout)
    assert answer["usage"]["completion_tokens"] >= 16
    assert find_speed() == pytest.approx(answer["timings"]["decode_tps"])
    other = json.loads(lf("list", "--json", "--profile", "macbook-air-m2-8gb").stdout)["models"]
    assert all(one["decode_tps"]["measured"] is None for one in other)


def test_an_import_whose_file_is_gone_costs_nothing_but_itself(lf: Lf, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    make_gguf(path, REPLY)
    assert lf("model", "import", str(path)).returncode == 0
    path.unlink()
    assert "mine" in lf("list", "--installed").stdout
    ran = lf("run", "mine", "hi")
    assert (ran.returncode != 0, "moved, or deleted" in ran.stderr, str(path) in ran.stderr) == (True, True, True)
    stores = [check for check in json.loads(lf("doctor", "--json").stdout)["checks"] if check["name"] == "Store"]
    assert [check["state"] for check in stores] == ["ok", "problem"]
    assert lf("rm", "mine").returncode == 0
    assert "mine" not in lf("list", "--installed").stdout


@pytest.mark.parametrize("name", ["phi-4", "Phi4", "starter", "qwen3", "gemma3:4b"])
def test_an_import_takes_no_name_of_the_catalog(lf: Lf, tmp_path: Path, name: str) -> None:
    make_gguf(tmp_path / "mine.gguf", REPLY)
    refused = lf("model", "import", str(tmp_path / "mine.gguf"), "--name", name)
    assert (refused.returncode, "--name" in refused.stderr or "name" in refused.stderr) == (2, True)
    assert lf("list", "--installed", "--json").stdout.count('"state"') == 1


def test_a_context_longer_than_the_models_is_said(lf: Lf) -> None:
    done = lf("run", "starter", "hi", "--ctx", "100000")
    assert (
        done.returncode,
        "is 2,048 tokens, not the 100,000 asked for; `lf model explain starter@q4_0#xllamacpp --ctx 100000` says why"
        in done.stderr,
    ) == (0, True)
    assert lf("run", "starter", "hi", "--ctx", "1024").stderr == ""


def test_the_built_in_model_can_be_verified(lf: Lf) -> None:
    named, every = lf("model", "verify", "starter", "-q"), lf("model", "verify", "--all", "-q")
    assert (named.returncode, every.returncode) == (0, 0)
    assert named.stdout == every.stdout
    assert [row.split()[:2] for row in named.stdout.splitlines()] == [
        ["ok", f"starter@{name}:"] for name in ("q4_0", "int4", "mlx-4bit", "int4-ov", "int8")
    ]


def test_a_draft_changes_no_answer_and_is_named(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "large.gguf", REPLY, shape=Shape(hidden=128, heads=4))
    make_gguf(tmp_path / "small.gguf", REPLY)
    large, small = str(tmp_path / "large.gguf"), str(tmp_path / "small.gguf")
    answer = json.loads(lf("run", large, "hi", "--draft", small, "--json").stdout)
    assert (answer["text"], answer["draft"]) == (REPLY, "small@f32")
    assert answer["usage"]["drafted_tokens"] > 3
    told = lf("run", large, "hi", "--draft", small, "-v", "--stats")
    assert told.stdout == f"{REPLY}\n"
    assert " drafted)" in told.stderr
    assert "Draft" in told.stderr
    plain = json.loads(lf("run", large, "hi", "--json").stdout)
    assert (plain["draft"], plain["usage"]["drafted_tokens"]) == (None, 0)
    explained = json.loads(lf("model", "explain", large, "--draft", small, "--json").stdout)["chosen"]
    bare = json.loads(lf("model", "explain", large, "--json").stdout)["chosen"]
    assert explained["draft"] == "small@f32"
    assert explained["need_bytes"] > bare["need_bytes"] + Path(small).stat().st_size


def test_a_draft_that_cannot_is_refused_by_name(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "large.gguf", REPLY)
    make_gguf(tmp_path / "other.gguf", "Quite another answer, of other words.")
    large = str(tmp_path / "large.gguf")
    other = lf("run", large, "hi", "--draft", str(tmp_path / "other.gguf"))
    assert (other.returncode, other.stdout) == (2, "")
    assert "other.gguf cannot draft for large.gguf: its vocabulary is another one" in other.stderr
    unnamed = lf("run", large, "hi", "--draft", "auto")
    assert unnamed.returncode == 2
    assert "The catalog names no draft for `large`" in unnamed.stderr
    make_onnx(tmp_path / "model", REPLY)
    engine = lf("run", str(tmp_path / "model"), "hi", "--draft", large)
    assert engine.returncode == 8
    assert "its engine takes no draft" in engine.stderr

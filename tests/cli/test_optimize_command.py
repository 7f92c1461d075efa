"""`lf model optimize` with a stand-in for the builder: a real process, in an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tests.conftest import Lf
from tests.fixtures.builder import VERSION, make_builder
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted import make_onnx
from tests.fixtures.scripted.safetensors_folder import make_checkpoint

REPLY = "Built here, of its own weights."
WAIT_S = 60


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_builder(tmp_path_factory.mktemp("builder") / "environment")


@pytest.fixture
def checkpoint(lf: Lf, python: Path, tmp_path: Path) -> Path:
    lf.environment["LF_RUNTIME_ONNX_BUILDER"] = str(python)
    make_onnx(tmp_path / "built", REPLY)
    make_checkpoint(tmp_path / "Tiny Llama", REPLY)
    say(tmp_path / "Tiny Llama", copy=str(tmp_path / "built"))
    return tmp_path / "Tiny Llama"


def say(folder: Path, **does: object) -> None:
    """Tell the stand-in what to do."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"does": does}))


def list_left(lf: Lf) -> list[str]:
    """What is in the store but for lock files."""
    models = lf.home / "models"
    return sorted(
        str(path.relative_to(models))
        for path in models.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "darwin", reason="MLX runs it there as it is")
def test_who_has_only_a_checkpoint_is_told_how_to_make_a_build_of_it(lf: Lf, checkpoint: Path) -> None:
    advice = f"`lf model optimize '{checkpoint}'` makes a build of it that runs here"
    for words in (("run", str(checkpoint), "hi"), ("model", "explain", str(checkpoint))):
        refused = lf(*words)
        assert (refused.returncode, advice in " ".join(refused.stderr.split())) == (8, True)
    imported = lf("model", "import", str(checkpoint), "--name", "mine")
    assert (imported.returncode, advice in " ".join(imported.stdout.split())) == (0, True)
    assert advice in " ".join(lf("run", "mine", "hi").stderr.split())


def test_what_is_built_is_a_model_with_its_recipe(lf: Lf, checkpoint: Path, tmp_path: Path) -> None:
    say(checkpoint, copy=str(tmp_path / "built"), report=str(tmp_path / "said.json"))
    made = lf("model", "optimize", str(checkpoint), "-y")
    assert (made.returncode, made.stdout.splitlines()[-1]) == (0, "Run it: `lf run tiny-llama-int4-cpu`")
    for told in ("LlamaForCausalLM", "onnx int4 for cpu", "at the peak", "  Disk", "  Time"):
        assert told in made.stderr
    assert lf("run", "tiny-llama-int4-cpu", "hi").stdout == f"{REPLY}\n"
    info = lf("model", "info", "tiny-llama-int4-cpu").stdout
    assert f"by ONNX Runtime GenAI model builder {VERSION}, int4 for cpu" in info
    assert "community" in info
    (installed,) = json.loads(lf("model", "info", "tiny-llama-int4-cpu", "--json").stdout)["installed"]
    recipe = installed["recipe"]
    assert recipe.pop("files") == [
        {"path": path.name, "size_bytes": path.stat().st_size, "sha256": sha256(path.read_bytes())}
        for path in sorted(checkpoint.iterdir())
    ]
    assert recipe == {
        "tool": "ONNX Runtime GenAI model builder",
        "version": VERSION,
        "precision": "int4",
        "device": "cpu",
        "options": ["hf_remote=false", "hf_token=false"],
        "source": str(checkpoint),
    }
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["environ"]["HF_HUB_OFFLINE"] == "1"
    assert not Path(said["cwd"]).exists()
    assert lf("model", "verify", "--all").returncode == 0
    assert lf("rm", "tiny-llama-int4-cpu").returncode == 0
    assert list_left(lf) == []


def test_a_name_is_never_taken_twice(lf: Lf, checkpoint: Path) -> None:
    words = ("model", "optimize", str(checkpoint), "-y", "--name", "mine")
    assert lf(*words).returncode == 0
    for again in (words, (*words, "--precision", "fp32"), (*words[:-1], "phi-4-mini")):
        refused = lf(*again)
        assert (refused.returncode, refused.stdout) == (2, "")
    assert lf("run", "mine", "hi").stdout == f"{REPLY}\n"


def test_without_a_terminal_the_plan_is_shown_and_nothing_is_done(lf: Lf, checkpoint: Path) -> None:
    asked = lf("model", "optimize", str(checkpoint))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "Memory" in asked.stderr
    assert "`-y`" in asked.stderr
    told = lf("model", "optimize", str(checkpoint), "--json")
    assert "Memory" in json.loads(told.stderr)["error"]["detail"], "a program reads an error, and nothing besides"
    assert list_left(lf) == []


def test_json_is_the_model_and_nothing_else(lf: Lf, checkpoint: Path, tmp_path: Path) -> None:
    config = tmp_path / "built" / "genai_config.json"
    config.write_text(config.read_text().replace('"provider_options": []', '"provider_options": [{"cuda": {}}]'))
    made = lf("model", "optimize", str(checkpoint), "-y", "--json", "--for", "cuda", "--precision", "fp16")
    record = json.loads(made.stdout)
    assert (record["name"], record["recipe"]["device"], made.stderr) == ("tiny-llama-fp16-cuda", "cuda", "")
    refused = lf("run", "tiny-llama-fp16-cuda", "hi")
    assert refused.returncode == 8
    (variant,) = json.loads(lf("model", "info", "tiny-llama-fp16-cuda", "--json").stdout)["variants"]
    assert (variant["devices"], variant["origin"], variant["tier"]) == (["cuda"], "community", "community")


def test_a_builder_that_fails_is_told_with_its_last_lines_and_its_log(lf: Lf, checkpoint: Path) -> None:
    say(checkpoint, die="KeyError: rope_scaling\x1b[31m")
    failed = lf("model", "optimize", str(checkpoint), "-y")
    assert failed.returncode == 1
    assert "KeyError: rope_scaling" in failed.stderr
    assert "\x1b" not in failed.stderr
    log = lf.home / "cache" / "onnx-builder.log"
    assert str(log) in failed.stderr.replace("\n", "")
    assert "Reading embedding layer" in log.read_text()
    assert list_left(lf) == []


def test_what_is_no_model_is_not_made_one(lf: Lf, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "built" / "model.onnx.data").write_bytes(b"short")
    failed = lf("model", "optimize", str(checkpoint), "-y")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert list_left(lf) == []


def test_the_builder_gets_no_connection(lf: Lf, checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        say(checkpoint, connect=server.getsockname())
        failed = lf("model", "optimize", str(checkpoint), "-y")
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert failed.returncode == 1
    assert "lf builds without a network" in failed.stderr


def test_an_environment_without_the_builder_is_told_of(lf: Lf, checkpoint: Path) -> None:
    lf.environment["LF_RUNTIME_ONNX_BUILDER"] = sys.executable  # has onnxruntime-genai, and not what its builder needs
    failed = lf("model", "optimize", str(checkpoint), "-y")
    assert failed.returncode == 1
    assert "The ONNX Runtime GenAI model builder does not start" in failed.stderr
    tested = lf("runtime", "test", "onnx-builder")
    assert (tested.returncode, tested.stdout.partition(" ")[0]) == (1, "FAIL")


def test_the_builder_is_among_the_runtimes(lf: Lf, checkpoint: Path) -> None:
    listed = json.loads(lf("runtime", "list", "--json").stdout)["runtimes"]
    (tool,) = [one for one in listed if one["name"] == "onnx-builder"]
    assert (tool["formats"], tool["state"]) == ([], "external")
    tested = lf("runtime", "test", "onnx-builder")
    assert (tested.returncode, VERSION in tested.stdout) == (0, True)
    del lf.environment["LF_RUNTIME_ONNX_BUILDER"]
    shown = lf("model", "optimize", str(checkpoint), "--offline", "-y")
    assert shown.returncode == 8
    assert "to fetch" in shown.stderr
    assert "  Memory" not in shown.stderr, "what cannot be done is not planned"
    assert list_left(lf) == []


@pytest.mark.parametrize(
    "words",
    [("--for", "gpu"), ("--precision", "int8"), ("--name", "phi-4-mini"), ("-o", "Not A Name")],
    ids=lambda words: words[0],
)
def test_options_are_looked_at_before_the_hub_is_asked(lf: Lf, hub: Hub, words: tuple[str, ...]) -> None:
    refused = lf("model", "optimize", "hf:Org/Tiny-Llama", *words)
    assert (refused.returncode, refused.stdout, hub.requests) == (2, "", [])


@pytest.mark.parametrize(
    ("files", "missing"),
    [(("tokenizer.json",), "no tokenizer"), (("model.safetensors",), "no config.json with .safetensors files")],
)
def test_a_checkpoint_without_what_it_takes_is_not_planned(
    lf: Lf, hub: Hub, checkpoint: Path, files: tuple[str, ...], missing: str
) -> None:
    (there,) = hub.repos["Org/Tiny-Llama"].commits.values()
    for name in files:
        (checkpoint / name).unlink()
        del there[name]
    for source in (str(checkpoint), "hf:Org/Tiny-Llama"):
        refused = lf("model", "optimize", source, "-y")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert missing in refused.stderr
        assert "  Memory" not in refused.stderr
    assert list_left(lf) == []


REFUSED = {
    "an architecture that the builder does not know": ({"architectures": ["MambaForCausalLM"]}, "LlamaForCausalLM"),
    "code of its own": ({"auto_map": {"AutoConfig": "x.Y"}}, "never done"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_refused_before_anything_is_done(lf: Lf, checkpoint: Path, case: str) -> None:
    changes, said = REFUSED[case]
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | changes))
    refused = lf("model", "optimize", str(checkpoint), "-y")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert said in refused.stderr
    assert list_left(lf) == []


@pytest.mark.parametrize(
    "words", [("nothing-here",), ("phi-4-mini",), ("hf:org/repo:file.gguf",), ("hf:org/repo", "--offline")]
)
def test_what_is_no_checkpoint_is_told_of(lf: Lf, words: tuple[str, ...]) -> None:
    refused = lf("model", "optimize", *words, "-y")
    assert refused.returncode == (6 if "--offline" in words else 2)
    assert "hint:" in refused.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_stopped_leaves_no_process_and_no_file(
    lf: Lf, checkpoint: Path, tmp_path: Path, how: signal.Signals
) -> None:
    say(checkpoint, hang=str(tmp_path / "pid"))
    with lf.start("model", "optimize", str(checkpoint), "-y") as running:
        builder = wait_for_number(tmp_path / "pid")
        running.send_signal(how)
        running.communicate(timeout=WAIT_S)
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[how]
    wait_for_end(builder)
    assert lf("store", "gc").returncode == 0
    assert list_left(lf) == []
    assert not (lf.home / "models" / ".builds").exists()


def wait_for_number(path: Path) -> int:
    end = time.monotonic() + WAIT_S
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    return int(path.read_text())


def wait_for_end(number: int) -> None:
    end = time.monotonic() + WAIT_S
    while Path(f"/proc/{number}").exists() if sys.platform == "linux" else _is_alive(number):
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def hub(lf: Lf, checkpoint: Path, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        running.add_repo("Org/Tiny-Llama", {path.name: path.read_bytes() for path in checkpoint.iterdir()})
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def test_a_repository_is_fetched_verified_built_and_removed(lf: Lf, hub: Hub) -> None:
    made = lf("model", "optimize", "hf:Org/Tiny-Llama", "-y", "--json")
    record = json.loads(made.stdout)
    (commit,) = hub.repos["Org/Tiny-Llama"].commits
    files = hub.repos["Org/Tiny-Llama"].commits[commit]
    assert (record["name"], record["license"]) == ("tiny-llama-int4-cpu", "mit")
    assert record["recipe"]["source"] == f"hf:Org/Tiny-Llama@{commit}"
    assert {file["path"]: file["sha256"] for file in record["recipe"]["files"]} == {
        path: sha256(data) for path, data in files.items()
    }
    assert {path.partition("/")[0] for path in list_left(lf)} == {"import--tiny-llama-int4-cpu"}
    assert lf("run", "tiny-llama-int4-cpu", "hi").stdout == f"{REPLY}\n"


def test_of_a_repository_that_cannot_be_built_only_the_configuration_is_fetched(lf: Lf, hub: Hub) -> None:
    (files,) = hub.repos["Org/Tiny-Llama"].commits.values()
    config = json.loads(files["config.json"]) | {"architectures": ["MambaForCausalLM"]}
    files["config.json"] = json.dumps(config).encode()
    refused = lf("model", "optimize", "hf:Org/Tiny-Llama", "-y")
    assert refused.returncode == 1
    assert "MambaForCausalLM" in refused.stderr
    fetched = [one.path.rpartition("/")[2] for one in hub.requests if "/resolve/" in one.path]
    assert set(fetched) == {"config.json"}
    assert list_left(lf) == []


def test_a_repository_with_code_is_refused_before_a_file_is_fetched(lf: Lf, hub: Hub) -> None:
    (files,) = hub.repos["Org/Tiny-Llama"].commits.values()
    files["modeling_tiny.py"] = b"import os"
    refused = lf("model", "optimize", "hf:Org/Tiny-Llama", "-y")
    assert (refused.returncode, "modeling_tiny.py" in refused.stderr) == (1, True)
    assert [one.path for one in hub.requests if "/resolve/" in one.path] == []


def test_weights_are_fetched_once_though_the_builder_fails_first(lf: Lf, hub: Hub, checkpoint: Path) -> None:
    (files,) = hub.repos["Org/Tiny-Llama"].commits.values()
    whole = files["config.json"]
    files["config.json"] = json.dumps(json.loads(whole) | {"does": {"die": "no"}}).encode()
    failed = lf("model", "optimize", "hf:Org/Tiny-Llama", "-y")
    assert (failed.returncode, "kept for another try" in failed.stderr) == (1, True)
    files["config.json"] = whole
    assert lf("model", "optimize", "hf:Org/Tiny-Llama").returncode == 2  # nobody agrees to the plan this time
    assert lf("model", "optimize", "hf:Org/Tiny-Llama", "-y").returncode == 0
    bodies = [one for one in hub.requests if one.port == "cdn" and one.method == "GET"]
    assert len(bodies) == 1


def test_what_a_failed_build_has_fetched_is_garbage(lf: Lf, hub: Hub, checkpoint: Path) -> None:
    (files,) = hub.repos["Org/Tiny-Llama"].commits.values()
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"does": {"die": "no"}}).encode()
    assert lf("model", "optimize", "hf:Org/Tiny-Llama", "-y").returncode == 1
    assert list_left(lf) != []
    assert lf("list", "--installed", "--json").stdout.count("Tiny") == 0
    assert lf("store", "gc").returncode == 0
    assert list_left(lf) == []


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals of POSIX")
@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("what", 1), ("", 0), ("y", 0)])
def test_on_a_terminal_it_is_asked_whether_to(lf: Lf, checkpoint: Path, answer: str, code: int) -> None:
    words = lf.command("model", "optimize", str(checkpoint))
    child = pexpect.spawn(words[0], words[1:], env=lf.env(), timeout=WAIT_S, encoding="utf-8")
    child.expect_exact("Begin? [Y/n]")
    assert list_left(lf) == []
    child.sendline(answer)
    child.expect("ready" if code == 0 else "Nothing was done")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert (list_left(lf) != []) == (code == 0)

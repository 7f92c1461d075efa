"""Programs that serve, servers elsewhere, and llamafiles, as a user types them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import Lf
from tests.fixtures import scripted, servers

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLY = "Hello there, I am served — 漢字 and all."


@pytest.fixture
def llamafile(tmp_path: Path) -> str:
    servers.make_llamafile(tmp_path / "m.llamafile", REPLY)
    return str(tmp_path / "m.llamafile")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server that somebody else started, and its key."""
    folder = tmp_path_factory.mktemp("remote")
    scripted.make_gguf(folder / "model.gguf", REPLY)
    program = servers.make_program(folder / "llama-server", "llama_server.py")
    loaded = make_backend("llama-server", program).load(ModelFiles(str(folder / "model.gguf")), LoadOptions(None, 1))
    yield f"remote:http://127.0.0.1:{loaded._address.port}/v1", loaded._address.key
    loaded.close()


def test_a_llamafile_is_its_own_engine(lf: Lf, llamafile: str) -> None:
    done = lf("run", llamafile, "hi", "--json")
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["runtime"], answer["finish_reason"]) == (REPLY, "llamafile", "stop")
    assert answer["usage"]["prompt_tokens"] == 5


def test_a_program_on_the_path_is_used_where_it_is_named_and_not_otherwise(lf: Lf, tmp_path: Path) -> None:
    scripted.make_gguf(tmp_path / "m.gguf", REPLY)
    program = servers.make_program(tmp_path / "bin" / "llama-server", "llama_server.py")
    lf.environment["LF_RUNTIME_LLAMA_SERVER"] = program
    used = [
        json.loads(lf("run", str(tmp_path / "m.gguf"), "hi", "--json", *words).stdout)["runtime"]
        for words in ((), ("--backend", "llama-server"))
    ]
    assert used == ["llama-cpu", "llama-server"]
    tested = lf("runtime", "test", "llama-server")
    assert tested.returncode == 0, tested.stdout


def test_an_engine_that_is_not_here_says_what_it_takes(lf: Lf) -> None:
    done = lf("runtime", "install", "vllm")
    assert done.returncode == 8
    assert "compute capability 7.5" in done.stderr
    assert "no `vllm` on the path" in lf("runtime", "list").stdout


def test_spreading_over_gpus_is_a_usage_error_that_names_the_engine(lf: Lf, llamafile: str) -> None:
    done = lf("run", llamafile, "hi", "--tensor-parallel", "2")
    assert done.returncode == 2
    assert "llamafile has no `--tensor-parallel`" in done.stderr


def test_a_server_elsewhere_answers(lf: Lf, remote: tuple[str, str]) -> None:
    address, key = remote
    lf.environment["LF_REMOTE_KEY"] = key
    done = lf("run", address, "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{REPLY}\n", "")
    assert not (lf.home / "cache" / "measurements.json").exists()
    told = json.loads(lf("run", address, "hi", "--json").stdout)
    assert (told["runtime"], told["device"]) == ("remote", None), "where it is computed, nobody here knows"


def test_nobody_there_is_told_in_words_with_a_way_on(lf: Lf) -> None:
    refused = lf("run", "remote:http://127.0.0.1:9/v1@m", "hi")
    assert refused.returncode == 6
    assert "  Connection refused\n" in refused.stderr
    assert "hint:" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--offline",), 6, "the network is switched off"),
        (("--device", "gpu"), 2, "has no `--device`"),
        (("--min-tps", "5"), 2, "has no `--min-tps`"),
        (("--ctx", "9000"), 2, "has no `--ctx`"),
        (("--top-k", "5"), 2, "has no `top_k`"),
        (("--regex", "a"), 1, "lf cannot hold the answers of http://127.0.0.1:"),
    ],
    ids=["offline", "device", "speed", "context", "top-k", "constraint"],
)
def test_what_a_server_elsewhere_cannot_be_asked(
    lf: Lf, remote: tuple[str, str], words: tuple[str, ...], code: int, said: str
) -> None:
    address, key = remote
    lf.environment["LF_REMOTE_KEY"] = key
    done = lf("run", address, "hi", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert key not in done.stderr


def test_programs_and_servers_elsewhere_embed(lf: Lf, tmp_path: Path) -> None:
    path = tmp_path / "embed.gguf"
    scripted.make_random_gguf(path, scripted.Shape(layers=2, context=512), pooling="mean")
    program = servers.make_program(tmp_path / "bin" / "llama-server", "llama_server.py")
    lf.environment["LF_RUNTIME_LLAMA_SERVER"] = program
    texts = ("one text", "and another")
    own, served = (
        [json.loads(line) for line in lf("embed", str(path), *texts, "--json", *words).stdout.splitlines()]
        for words in ((), ("--backend", "llama-server"))
    )
    loaded = make_backend("llama-server", program).load(ModelFiles(str(path)), LoadOptions(None, 1))
    try:
        lf.environment["LF_REMOTE_KEY"] = loaded._address.key
        name = f"remote:http://127.0.0.1:{loaded._address.port}/v1"
        elsewhere = [json.loads(line) for line in lf("embed", name, *texts, "--json").stdout.splitlines()]
        refused = lf("embed", name, *texts, "--pooling", "mean")
    finally:
        loaded.close()
    assert len(own) == len(served) == len(elsewhere) == 2
    for ours, theirs, others in zip(own, served, elsewhere, strict=True):
        assert theirs["embedding"] == pytest.approx(ours["embedding"], abs=1e-4)
        assert others["embedding"] == pytest.approx(ours["embedding"], abs=1e-4)
        assert theirs["tokens"] == ours["tokens"]
        assert others["tokens"] is None
    assert refused.returncode == 2
    assert "it has no `--pooling`" in refused.stderr


def test_a_server_elsewhere_is_only_ever_run(lf: Lf, remote: tuple[str, str]) -> None:
    done = lf("model", "info", remote[0])
    assert done.returncode == 2
    assert "Only `lf run` and `lf embed` speak to it" in done.stderr


def test_a_model_is_packed_into_a_program_and_runs_from_there(lf: Lf, tmp_path: Path) -> None:
    scripted.make_gguf(tmp_path / "my model.gguf", REPLY)
    engine = servers.make_llamafile_engine(tmp_path / "engine")
    parts = [path.read_bytes() for path in (engine, tmp_path / "my model.gguf")]
    target = tmp_path / "out.llamafile"
    words = ("model", "pack", str(tmp_path / "my model.gguf"), "-o", str(target), "--engine", str(engine))
    done = lf(*words, "--arg", "--temp", "--arg", "0.1", "--json")
    told = json.loads(done.stdout)
    assert told["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert told["model_sha256"] == hashlib.sha256(parts[1]).hexdigest()
    assert [path.read_bytes() for path in (engine, tmp_path / "my model.gguf")] == parts
    assert lf("run", str(target), "hi").stdout == f"{REPLY}\n"
    assert lf("model", "import", str(target), "-q").stdout.startswith("out is ready\n")
    again = lf(*words)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_without_a_program_nothing_is_packed(lf: Lf, tmp_path: Path) -> None:
    done = lf("model", "pack", "starter", "-o", str(tmp_path / "out.llamafile"))
    assert done.returncode == 8
    assert "LF_RUNTIME_LLAMAFILE" in done.stderr
    assert list(tmp_path.glob("*.llamafile")) == []


def test_a_llamafile_runs_offline_and_speaks_to_this_machine_only(lf: Lf, llamafile: str, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    home, log = tmp_path / "user-home", tmp_path / "trace"
    home.mkdir()
    lf.environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,bind", "-o", str(log)]
    done = subprocess.run(
        [*command, *lf.command("--offline", "run", llamafile, "hi")],
        capture_output=True,
        text=True,
        env=lf.env(),
        stdin=subprocess.DEVNULL,
    )
    if "PTRACE" in done.stderr:
        pytest.skip("this system does not let strace trace")
    assert done.stdout == f"{REPLY}\n"
    calls = [one for one in log.read_text().splitlines() if re.search(r"(connect|bind)\(.*AF_INET", one)]
    assert calls
    assert [one for one in calls if '"127.0.0.1"' not in one] == []
    assert list(home.iterdir()) == []

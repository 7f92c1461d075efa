"""Offline means offline: not one connection is tried, not one file of an engine's telemetry is written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.contract.backends.conftest import SKIP
from tests.contract.backends.llama_bindings import find_interpreter
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import make_gguf, make_litert, make_mlx, make_onnx, make_openvino

MAKERS = {
    "xllamacpp": (make_gguf, "model.gguf"),
    "onnx": (make_onnx, "model"),
    "openvino": (make_openvino, "model"),
    "litert": (make_litert, "model.litertlm"),
}


WORKER = """
import sys
from localfirst.conversation import Message, Sampling
from localfirst.worker import protocol
from localfirst.worker.client import Worker
with Worker(sys.executable) as worker:
    worker.load(protocol.Load(sys.argv[1], sys.argv[2], None, 1, "cpu"))
    *_, answer = worker.answer(protocol.Chat((Message("user", "hi"),), Sampling(temperature=0)))
    assert answer.text == "All by myself."
"""


def trace(lf: Lf, folder: Path, *words: str) -> list[str]:
    """The network calls of `lf` and all its children."""
    return trace_command(lf, folder, lf.command(*words))


def trace_command(lf: Lf, folder: Path, argv: Sequence[str]) -> list[str]:
    """The network calls of a command and all its children, but for sockets inside this machine's kernel (AF_UNIX)."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = folder / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,bind", "-o", str(log), *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=lf.env(), stdin=subprocess.DEVNULL)
    if "PTRACE" in done.stderr:
        pytest.skip("this system does not let strace trace")
    assert done.returncode == 0, done.stderr
    return [line for line in log.read_text().splitlines() if re.search(r"AF_INET|AF_NETLINK|sin_port", line)]


@pytest.mark.parametrize("backend", MAKERS)
def test_an_offline_run_opens_no_connection_and_leaves_no_trace(lf: Lf, backend: str, tmp_path: Path) -> None:
    need_engine(backend)
    make, name = MAKERS[backend]
    make(tmp_path / name, "All by myself.")
    home = tmp_path / "user-home"
    home.mkdir()
    lf.environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    assert trace(lf, tmp_path, "--offline", "model", "run", str(tmp_path / name), "hi") == []
    assert list(home.iterdir()) == []


def test_an_engine_for_another_system_opens_no_connection_and_leaves_no_trace(lf: Lf, tmp_path: Path) -> None:
    """`lf` itself offers MLX on Macs only; its worker is the same here."""
    need_engine("mlx")
    make_mlx(tmp_path / "model", "All by myself.")
    home = tmp_path / "user-home"
    home.mkdir()
    lf.environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    assert trace_command(lf, tmp_path, [sys.executable, "-c", WORKER, "mlx", str(tmp_path / "model")]) == []
    assert list(home.iterdir()) == []


@SKIP
def test_an_offline_run_by_llama_cpp_python_opens_no_connection_and_leaves_no_trace(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", "All by myself.")
    home = tmp_path / "user-home"
    home.mkdir()
    lf.environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    lf.environment["LF_RUNTIME_LLAMA_NATIVE"] = find_interpreter() or ""
    words = ("--offline", "run", str(tmp_path / "model.gguf"), "--backend", "llama-native", "hi")
    assert trace(lf, tmp_path, *words) == []
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("words", [["list", "--fits"], ["model", "explain", "phi-4-mini"], ["hw"], ["runtime", "list"]])
def test_what_needs_no_network_opens_no_connection(lf: Lf, words: list[str], tmp_path: Path) -> None:
    assert trace(lf, tmp_path, *words) == []


@pytest.mark.parametrize("words", [("doctor",), ("list", "--installed"), ("--offline", "hw")])
def test_a_variable_that_says_neither_yes_nor_no_is_named_by_every_command(lf: Lf, words: tuple[str, ...]) -> None:
    lf.environment["LF_OFFLINE"] = "maybe"
    done = lf(*words)
    named = "error: LF_OFFLINE says neither yes nor no: maybe" in done.stderr
    assert (done.returncode, named) == ((0, False) if "--offline" in words else (2, True))
    lf.environment["LF_OFFLINE"] = "Off"
    assert lf("hw").returncode == 0

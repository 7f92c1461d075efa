"""The comparison with peers, run: lf and llama.cpp's server on a network made on the spot, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
from tests.fixtures.scripted import Shape, make_random_gguf


def test_lf_and_a_server_are_measured_by_turns_and_ended(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    make_random_gguf(model, Shape(context=2048))
    command = [sys.executable, "-m", "benchmarks.peers", "--model", str(model), "--only", "xllamacpp", "--threads", "1"]
    done = subprocess.run(
        [*command, "--prompt", "64", "--tokens", "8", "--rounds", "2", "-o", "json"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)
    by_name = {one["name"]: one for one in group["contenders"]}
    assert {"lf, xllamacpp", "xllamacpp's server"} <= set(by_name)
    for one in by_name.values():
        assert len(one["samples"]) == 2
        assert all(sample[figure] > 0 for sample in one["samples"] for figure in ("first_s", "prefill_tps", "round_s"))
    assert by_name["xllamacpp's server"]["lf_times_as_good"]["first_s"]["middle"] > 0
    left = [one for one in psutil.process_iter(["cmdline"]) if str(model) in (one.info["cmdline"] or ())]
    assert not left


def test_what_is_no_model_and_no_peer_is_said(tmp_path: Path) -> None:
    for words, said in (
        (["--model", "no-such"], "no-such is none of starter"),
        (["--only", "no-such"], "no-such is no peer"),
        (["--server", "a=http://127.0.0.1:1"], "--server needs --model"),
    ):
        command = [sys.executable, "-m", "benchmarks.peers", *words]
        done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())

"""`lf pull` and what follows it, with catalog models from a hub on loopback: real file names, tiny real content."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_offline import trace
from tests.conftest import Lf
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted import make_gguf, make_onnx

REPLY = "Pulled, verified, and all by myself."
ONNX_FOLDER = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4"


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    """Serves Phi-4-mini's ONNX repository and SmolLM2-360M's GGUF repository."""
    make_onnx(tmp_path / "onnx", REPLY)
    make_gguf(tmp_path / "model.gguf", REPLY)
    folder = {f"{ONNX_FOLDER}/{path.name}": path.read_bytes() for path in (tmp_path / "onnx").iterdir()}
    with Hub() as running:
        running.add_repo("microsoft/Phi-4-mini-instruct-onnx", {**folder, "README.md": b"# Phi", "gpu/x.onnx": b"no"})
        running.add_repo(
            "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            {"smollm2-360m-instruct-q8_0.gguf": (tmp_path / "model.gguf").read_bytes()},
        )
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


NAMES = {"phi-4-mini": "phi-4-mini@int4-cpu", "smollm2-360m": "smollm2-360m@q8_0"}


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_model_is_pulled_and_then_runs_without_a_single_connection(
    lf: Lf, hub: Hub, name: str, tmp_path: Path
) -> None:
    pulled = lf("pull", name)
    assert (pulled.returncode, pulled.stdout.partition(":")[0]) == (0, f"{NAMES[name]} is ready")
    requests = len(hub.requests)
    assert trace(lf, tmp_path, "--offline", "model", "run", name, "hi") == []
    assert lf("--offline", "run", name, "hi").stdout == f"{REPLY}\n"
    assert len(hub.requests) == requests
    listed = {model["name"]: model for model in json.loads(lf("list", "--installed", "--json").stdout)["models"]}
    assert set(listed) == {"starter", name}
    assert lf("model", "verify", "--all").returncode == 0


@pytest.mark.parametrize("name", ["Phi-4-mini-instruct-generic-cpu", "microsoft/Phi-4-mini-instruct-gguf"])
def test_a_name_for_an_engine_or_a_device_removes_nothing(lf: Lf, hub: Hub, name: str) -> None:
    assert lf("pull", "phi-4-mini").returncode == 0
    refused = lf("rm", name)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "`lf rm phi-4-mini@int4-cpu`" in refused.stderr
    assert lf("rm", "phi-4-mini@INT4-CPU").returncode == 0


def test_after_the_download_the_file_itself_says_what_it_needs(lf: Lf, hub: Hub) -> None:
    def find_need() -> int:
        return int(json.loads(lf("model", "explain", "smollm2-360m", "--json").stdout)["chosen"]["need_bytes"])

    before = find_need()
    assert lf("pull", "smollm2-360m").returncode == 0
    cache_bytes = 32 * 8192 * 5 * 64 * 2 * 2
    assert before - find_need() > 0.9 * cache_bytes, "the model of the test has one layer, not 32"


def test_run_fetches_what_is_missing_and_nothing_else(lf: Lf, hub: Hub) -> None:
    done = lf("run", "phi-4-mini", "hi")
    assert (done.returncode, done.stdout) == (0, f"{REPLY}\n")
    fetched = {
        request.path.rpartition("/")[2] for request in hub.requests if request.port == "hub" and request.method == "GET"
    }
    assert "x.onnx" not in fetched
    assert "README.md" not in fetched


def test_a_repository_is_run_by_its_own_name_and_again_without_the_hub(lf: Lf, hub: Hub) -> None:
    name = "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"
    assert lf("run", name, "hi").stdout == f"{REPLY}\n"
    requests = len(hub.requests)
    assert lf("run", name, "hi").stdout == f"{REPLY}\n"
    assert len(hub.requests) == requests
    assert "freed" in lf("rm", name).stdout
    assert (lf("rm", name).returncode, lf("--offline", "run", name, "hi").returncode) == (3, 6)


def test_a_pull_is_removed_with_all_its_bytes(lf: Lf, hub: Hub) -> None:
    assert lf("pull", "smollm2-360m").returncode == 0
    removed = json.loads(lf("rm", "smollm2-360m", "--json").stdout)
    assert removed["freed_bytes"] > 100_000
    assert lf("rm", "smollm2-360m").returncode == 3
    left = [path for path in (lf.home / "models").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_a_damaged_byte_is_found_by_verify_and_mended_by_pull(lf: Lf, hub: Hub) -> None:
    assert lf("pull", "smollm2-360m").returncode == 0
    (path,) = (lf.home / "models").rglob("*.gguf")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    verified = lf("model", "verify", "smollm2-360m")
    assert verified.returncode == 7
    assert "digest" in verified.stdout
    (found,) = json.loads(lf("model", "verify", "--all", "--json").stdout)["models"][0]["problems"]
    assert found["path"] == path.name
    assert found["found_sha256"] == sha256(bytes(data))
    assert found["expected_sha256"] not in {None, found["found_sha256"]}
    os.truncate(path, 1000)
    refused = lf("run", "smollm2-360m", "hi", "--offline")
    assert refused.returncode == 7
    assert lf("pull", "smollm2-360m").returncode == 0
    assert lf("model", "verify", "smollm2-360m").returncode == 0


def test_several_are_verified_mended_as_far_as_the_network_goes_and_removed(lf: Lf, hub: Hub) -> None:
    for name in NAMES:
        assert lf("pull", name).returncode == 0
    for path in (*(lf.home / "models").rglob("*.gguf"), *(lf.home / "models").rglob("model.onnx")):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (commit,) = hub.repos["microsoft/Phi-4-mini-instruct-onnx"].commits
    hub.fail("status", "api", path=commit, times=None, status=400)
    mended = lf("model", "verify", "--all", "--repair", "-q")
    assert (mended.returncode, mended.stderr) == (6, "")
    states = {line.split()[1].rstrip(":"): line.split()[0] for line in mended.stdout.splitlines() if line[0] != " "}
    assert {name: states[name] for name in NAMES.values()} == {
        "phi-4-mini@int4-cpu": "BAD",
        "smollm2-360m@q8_0": "repaired",
    }
    assert "not repaired: " in mended.stdout
    found = json.loads(lf("model", "verify", *NAMES, "--repair", "--json").stdout)["models"]
    assert [one["error"] and one["error"]["code"] for one in found] == ["network", None]
    assert lf("rm", "smollm2-360m", "nothing-like-it").returncode == 3
    removed = json.loads(lf("rm", "-q", *NAMES, "--json").stdout)
    assert {one["name"] for one in removed["models"]} == set(NAMES)
    assert [lf("rm", name).returncode for name in NAMES] == [3, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_pull_says_that_it_can_go_on_and_does(lf: Lf, hub: Hub, how: signal.Signals, code: int) -> None:
    hub.add_repo("org/slow", {"slow-q4_0.gguf": random.Random(1).randbytes(8_000_000)})  # noqa: S311
    hub.rate_bytes_per_s = 2_000_000
    process = lf.start("pull", "hf:org/slow", "--quant", "q4_0", "--device", "cpu")
    deadline = time.monotonic() + 30
    while hub.bytes_sent < 2_000_000 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    (part,) = json.loads(lf("model", "info", "hf:org/slow", "--json").stdout)["partial"]
    assert (part["variant"], 0 < part["size_bytes"] < 8_100_000) == ("q4_0", True)
    assert "In part" in lf("model", "info", "hf:org/slow").stdout
    for name, command in itertools.product(("hf:org/slow", "hf:org/slow:q4_0"), (["rm"], ["model", "verify"])):
        refused = lf(*command, name)
        told = " ".join(refused.stderr.split())
        assert "MB so far" in told
        assert (refused.returncode, "only a part of it" in told) == (3, True)
        assert "`lf pull hf:org/slow:q4_0` goes on with it, `lf store gc` removes it" in told
    sent, hub.rate_bytes_per_s = hub.bytes_sent, None
    again = lf("pull", "hf:org/slow", "--quant", "q4_0", "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert hub.bytes_sent - sent <= 6_100_000


def test_without_a_network_the_exit_code_says_so_and_the_hint_what_to_type(lf: Lf) -> None:
    done = lf("--offline", "pull", "smollm2-360m")
    assert done.returncode == 6
    assert "lf pull smollm2-360m" in done.stderr


def test_a_hub_that_is_not_there_is_a_network_error(lf: Lf, tmp_path: Path) -> None:
    lf.environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
    done = lf("pull", "smollm2-360m")
    assert (done.returncode, done.stdout) == (6, "")
    assert "127.0.0.1:9" in done.stderr


def test_a_gate_names_the_page_to_accept_it_on(lf: Lf, hub: Hub) -> None:
    hub.add_repo("vendor/gated-model", {"gated-q4_0.gguf": b"x" * 1000}, gated="manual")
    done = lf("pull", "hf:vendor/gated-model")
    assert done.returncode == 10
    assert "vendor/gated-model" in done.stderr
    assert "HF_TOKEN" in done.stderr


def test_bytes_that_are_not_the_pinned_ones_are_refused(lf: Lf, hub: Hub) -> None:
    hub.add_repo("Qwen/Qwen3-4B-GGUF", {"Qwen3-4B-Q4_K_M.gguf": b"something else"})
    done = lf("pull", "qwen3-4b#llama.cpp")
    assert (done.returncode, done.stdout) == (7, "")
    assert "Traceback" not in done.stderr


def test_a_missing_repository_is_said(lf: Lf, hub: Hub) -> None:
    done = lf("pull", "hf:nobody/nothing")
    assert done.returncode == 3
    assert "nobody/nothing" in done.stderr


def test_a_home_that_cannot_be_written_is_named(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lf.home = tmp_path / "file" / "home"
    done = lf("pull", "smollm2-360m")
    assert done.returncode == 1
    assert str(lf.home) in done.stderr
    assert "LF_HOME" in done.stderr
    assert lf("list", "--fits").returncode == 0


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    lf.home.mkdir()
    if os.system(f"mount -t tmpfs -o size=200k tmpfs {lf.home}") != 0:  # noqa: S605 - our own path
        pytest.skip("this system does not let root mount")
    try:
        done = lf("pull", "smollm2-360m")
        assert done.returncode == 5
        assert hub.bytes_sent == 0
    finally:
        os.system(f"umount {lf.home}")  # noqa: S605 - our own path


def test_what_is_on_this_disk_is_listed_though_another_build_is_better(lf: Lf, hub: Hub) -> None:
    assert lf("pull", "phi-4-mini").returncode == 0
    listed = json.loads(lf("list", "--installed", "--json", "--profile", "macbook-air-m2-8gb").stdout)["models"]
    assert ("phi-4-mini", "int4-cpu") in {(one["name"], one["variant"]) for one in listed}
    here = sum(path.stat().st_size for path in (lf.home / "models").rglob("cpu-int4*/*"))
    (size,) = (one["size_bytes"] for one in listed if one["name"] == "phi-4-mini")
    assert size == here > 0, "the size here, not the one that a catalog names"


def test_a_repository_whose_file_is_gone_is_shown_fetched_again_mended_and_removed(lf: Lf, hub: Hub) -> None:
    name = "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"
    assert lf("pull", name).returncode == 0

    def lose() -> None:
        (path,) = (lf.home / "models").rglob("*.gguf")
        path.unlink()

    lose()
    shown = lf("model", "info", name)
    assert (shown.returncode, "On disk" in shown.stdout) == (0, True), shown.stderr
    refused = lf("run", name, "hi")
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "missing" in refused.stderr
    assert f"lf pull {name}" in " ".join(refused.stderr.split())
    assert "missing" in lf("model", "verify", name).stdout
    offline = lf("--offline", "model", "verify", "--all", "--repair")
    assert (offline.returncode, "with a connection" in offline.stderr) == (7, True)
    told, *others = [line[:4].strip() for line in offline.stdout.splitlines() if line[0] != " "]
    assert (told, set(others)) == ("BAD", {"ok"})  # the others are what lf has built in
    repaired = json.loads(lf("model", "verify", name, "--repair", "--json").stdout)["models"][0]
    assert repaired["repaired"]
    assert repaired["problems"][0] | {"found_sha256": None, "detail": None} == repaired["problems"][0]
    assert lf("run", name, "hi").stdout == f"{REPLY}\n"
    lose()
    assert lf("pull", name).returncode == 0
    assert lf("run", name, "hi").stdout == f"{REPLY}\n"
    lose()
    assert lf("rm", name).returncode == 0
    assert lf("rm", name).returncode == 3


def test_what_a_hub_said_of_a_repository_is_still_known_once_it_is_pulled(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    name = "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"

    def show() -> dict[str, str]:
        rows = (row.split(maxsplit=1) for row in lf("model", "info", name, "--offline").stdout.splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}

    assert lf("pull", name).returncode == 0
    assert show()["License"].startswith("mit")
    listed = {one["name"]: one for one in json.loads(lf("list", "--installed", "--json").stdout)["models"]}
    assert listed[name]["license"] == "mit"
    params = next(row.split()[1] for row in lf("list", "--installed").stdout.splitlines() if row.split()[:1] == [name])
    assert show()["Parameters"] == params != "?"
    (path,) = (lf.home / "models").rglob("*.gguf")
    os.truncate(path, 1000)
    assert lf("model", "verify", name, "--repair").returncode == 0
    (tmp_path / "lf.lock").write_text(lf("model", "lock", name).stdout)
    assert json.loads((tmp_path / "lf.lock").read_text())["models"][0]["license"] == "mit"
    assert lf("rm", name).returncode == 0
    assert lf("pull", "--locked", str(tmp_path / "lf.lock")).returncode == 0
    assert show()["License"].startswith("mit")

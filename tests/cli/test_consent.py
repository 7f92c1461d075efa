"""A licence with terms of its own is accepted once, before anything is fetched: by a flag, or on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf

REPLY = "Terms and all."


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    """Serves two models of Liquid AI, both under `lfm1.0`."""
    make_gguf(tmp_path / "model.gguf", REPLY)
    data = (tmp_path / "model.gguf").read_bytes()
    with Hub() as running:
        for name in ("LFM2-350M", "LFM2-1.2B"):
            running.add_repo(f"LiquidAI/{name}-GGUF", {f"{name}-Q4_K_M.gguf": data})
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def list_fetched(hub: Hub) -> list[str]:
    return [request.path for request in hub.requests if request.method == "GET" and request.path.endswith(".gguf")]


@pytest.mark.parametrize("words", [("pull", "lfm2-350m"), ("run", "lfm2-350m", "hi")], ids=["pull", "run"])
def test_without_a_terminal_the_flag_has_to_say_it(lf: Lf, hub: Hub, words: tuple[str, ...]) -> None:
    refused = lf(*words)
    assert (refused.returncode, refused.stdout) == (10, "")
    assert "https://www.liquid.ai/lfm-license" in refused.stderr
    assert "--accept-license" in refused.stderr
    assert list_fetched(hub) == []
    assert lf(*words, "--accept-license").returncode == 0
    assert list_fetched(hub)
    assert lf("run", "lfm2-1.2b", "hi").stdout == f"{REPLY}\n", "one answer for each licence"


def test_the_refusal_is_told_to_programs(lf: Lf, hub: Hub) -> None:
    done = lf("pull", "lfm2-350m", "--json")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["detail"]) == ("license", "https://www.liquid.ai/lfm-license")
    assert list_fetched(hub) == []


@pytest.mark.parametrize(("typed", "exit_code"), [("y", 0), ("n", 10), ("", 10)])
def test_on_a_terminal_it_is_asked(lf: Lf, hub: Hub, typed: str, exit_code: int) -> None:
    environment = lf.env() | {"TERM": "xterm"}
    command = ["-m", "localfirst", "pull", "lfm2-350m"]
    shown = pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=60, dimensions=(40, 100))
    shown.expect("lfm-license")
    shown.expect("Do you accept it")
    shown.sendline(typed)
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == exit_code
    assert bool(list_fetched(hub)) == (exit_code == 0)
    assert lf("list", "--installed", "--json").stdout.count("lfm2-350m") == (1 if exit_code == 0 else 0)


@pytest.mark.parametrize(("key", "exit_code"), [("\x03", 130), ("\x04", 10)], ids=["Ctrl-C", "end of input"])
def test_a_question_can_be_left(lf: Lf, hub: Hub, key: str, exit_code: int) -> None:
    command = ["-m", "localfirst", "pull", "lfm2-350m"]
    shown = pexpect.spawn(sys.executable, command, env=lf.env() | {"TERM": "xterm"}, encoding="utf-8", timeout=60)
    shown.expect("Do you accept it")
    shown.send(key)
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == exit_code
    assert list_fetched(hub) == []


def test_a_repository_under_such_a_licence_is_asked_about_too(lf: Lf, hub: Hub) -> None:
    (files,) = hub.repos["LiquidAI/LFM2-350M-GGUF"].commits.values()
    hub.add_repo("someone/Copy-GGUF", {"copy-q4_0.gguf": next(iter(files.values()))}, license="lfm1.0")
    refused = lf("pull", "hf:someone/Copy-GGUF")
    assert (refused.returncode, list_fetched(hub)) == (10, [])
    assert "https://www.liquid.ai/lfm-license" in refused.stderr
    assert lf("pull", "hf:someone/Copy-GGUF", "--accept-license").returncode == 0


def test_offline_there_is_nothing_to_accept(lf: Lf, hub: Hub) -> None:
    done = lf("--offline", "run", "lfm2-350m", "hi", "--accept-license")
    assert done.returncode == 6
    assert not (lf.home / "licenses.json").exists()


def test_what_was_accepted_is_not_asked_for_any_more(lf: Lf, hub: Hub) -> None:
    asking = "has to be accepted"
    assert asking in lf("model", "explain", "lfm2-1.2b").stdout
    assert lf("pull", "lfm2-350m", "--accept-license").returncode == 0
    assert asking not in lf("model", "explain", "lfm2-1.2b").stdout


def test_info_answers_for_the_build_that_the_name_says(lf: Lf) -> None:
    unknown = lf("model", "info", "qwen3-4b@nope")
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert "has no build `@nope`" in unknown.stderr
    assert "Q4_K_M" in lf("model", "info", "qwen3-4b@q4_k_m").stdout.partition("Here")[2].splitlines()[0]


def test_a_file_that_says_nothing_accepts_nothing(lf: Lf, hub: Hub) -> None:
    lf.home.mkdir()
    (lf.home / "licenses.json").write_text("[1, 2", encoding="utf-8")
    assert lf("pull", "lfm2-350m").returncode == 10
    assert list_fetched(hub) == []

"""`lf run` where a server has the model loaded: it answers, and nothing is loaded twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.conftest import Lf
from tests.contract.server.test_serving_faults import LONG, start_endless
from tests.fixtures.scripted import Shape, make_gguf
from tests.fixtures.serving import CALL, REPLY, Server, serving, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sockets")
CHOICES = "answers; `--no-server` loads it here"


def show(lf: Lf) -> dict[str, dict]:
    return {one["name"]: one for one in json.loads(lf("ps", "--json").stdout)["models"]}


@contextmanager
def loaded(lf: Lf, *words: str, model: str = "greeter") -> Iterator[Server]:
    """A server that has a model loaded."""
    with serving(lf, *words) as server:
        assert lf("load", model).returncode == 0
        yield server


@contextmanager
def running(lf: Lf, *words: str) -> Iterator[subprocess.Popen]:
    """`lf run` that has begun to answer."""
    run = lf.start("run", *words)
    try:
        assert run.stdout.read(8)
        yield run
    finally:
        run.kill()
        run.communicate()


def test_the_server_answers_with_the_same_in_the_same_shape(home: Lf) -> None:
    alone = json.loads(home("run", "greeter", "hi", "--json").stdout)
    with loaded(home):
        done = home("run", "greeter", "hi")
        assert (done.returncode, done.stdout) == (0, f"{REPLY}\n")
        (line,) = done.stderr.splitlines()
        assert line.startswith("greeter is loaded in the server at http://127.0.0.1:")
        assert line.endswith(CHOICES)
        assert show(home)["greeter"]["used_s"] is not None
        through = json.loads(home("run", "greeter", "hi", "--json").stdout)
        assert through["usage"].pop("cached_tokens") > 0  # the server still knows what was asked before
        assert alone["usage"].pop("cached_tokens") == 0
        assert through.pop("timings").keys() == alone.pop("timings").keys()
        assert through == alone
        assert home("run", "greeter", "hi", "--quiet").stderr == ""


def test_nothing_of_it_is_loaded_here(home: Lf) -> None:
    with loaded(home, *LONG, model="endless") as server, running(home, "endless", "hi") as run:
        import psutil

        assert psutil.Process(run.pid).children(recursive=True) == []
        assert len(server.find_workers()) == 1
        assert show(home)["endless"]["active"] == 1


def test_without_the_server_it_is_loaded_here(home: Lf) -> None:
    with loaded(home):
        done = home("run", "greeter", "hi", "--no-server")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{REPLY}\n", "")
        assert show(home)["greeter"]["used_s"] is None


def test_what_no_server_has_loaded_is_loaded_here_and_nothing_is_said(home: Lf) -> None:
    with loaded(home):
        done = home("run", "thinker", "hi")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Blue.\n", "")
        assert show(home).keys() == {"greeter"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--ctx", "512"), "its context is 1,024 tokens, not 512 tokens"),
        (("--kv-cache", "q8_0"), "its KV cache is f16, not q8_0"),
        (("--threads", "{more}"), "its threads are "),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_the_loaded_one_is_not_is_loaded_here(home: Lf, words: tuple[str, ...], why: str) -> None:
    with loaded(home):
        threads = str((os.cpu_count() or 1) + 1)
        done = home("run", "greeter", "hi", *(word.format(more=threads) for word in words))
        assert (done.returncode, done.stdout) == (0, f"{REPLY}\n"), done.stderr
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("The server at")]
        assert why in line
        assert line.endswith("it is loaded here, too")
        assert show(home)["greeter"]["used_s"] is None


def test_options_of_the_answer_are_kept(home: Lf, tmp_path: Path) -> None:
    schema, tools = tmp_path / "schema.json", tmp_path / "tools.json"
    schema.write_text(
        '{"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": false}'
    )
    tools.write_text('[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]')
    asked = (
        ("greeter", "hi", "--max-tokens", "2"),
        ("greeter", "hi", "--stop", "Süden"),
        ("greeter", "hi", "--schema", str(schema), "--temp", "0"),
        ("caller", "hi", "--tools", str(tools)),
        ("thinker", "hi", "--system", "Think."),
        ("slow", "hi", "--seed", "7", "--temp", "2", "--top-k", "50", "--max-tokens", "6"),
    )
    alone = [json.loads(home("run", *words, "--json").stdout) for words in asked]
    with serving(home):
        for words, expected in zip(asked, alone, strict=True):
            assert home("load", words[0]).returncode == 0
            done = home("run", *words, "--json")
            told = json.loads(done.stdout)
            assert CHOICES in done.stderr
            for key in ("text", "reasoning", "finish_reason", "tool_calls"):
                assert _without_ids(told[key]) == _without_ids(expected[key]), words
    assert alone[3]["tool_calls"], CALL


def _without_ids(told: object) -> object:
    return [{**one, "id": ""} for one in told] if isinstance(told, list) else told


def test_an_error_is_the_same(home: Lf) -> None:
    words = ("run", "greeter", "word " * 3000, "--json")
    alone = home(*words)
    with loaded(home):
        through = home(*words)
    assert (through.returncode, through.stdout) == (alone.returncode, "") == (1, "")
    assert json.loads(through.stderr.splitlines()[-1]) == json.loads(alone.stderr.splitlines()[-1])


def test_a_server_with_a_key_answers(home: Lf, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key-of-some-length")
    with loaded(home, "--api-key-file", str(tmp_path / "key")):
        done = home("run", "greeter", "hi")
        assert (done.stdout, CHOICES in done.stderr) == (f"{REPLY}\n", True)


def test_a_server_at_a_socket_answers(home: Lf, tmp_path: Path) -> None:
    path = tmp_path / "lf.sock"
    server = home.start("serve", "--socket", str(path))
    try:
        wait_until(path.exists)
        assert home("load", "greeter").returncode == 0
        done = home("run", "greeter", "hi")
        assert (done.stdout, str(path) in done.stderr) == (f"{REPLY}\n", True)
    finally:
        server.kill()
        server.communicate()


def test_ctrl_c_ends_the_answer_at_the_server(home: Lf) -> None:
    with loaded(home, *LONG, model="endless"), running(home, "endless", "hi") as run:
        run.send_signal(signal.SIGINT)
        begun = time.monotonic()
        assert run.wait(timeout=20) == 130
        wait_until(lambda: show(home)["endless"]["active"] == 0)
        assert time.monotonic() - begun < 10  # an endless answer takes as long as its 65,536 tokens


def test_ctrl_c_gives_up_a_place_in_the_queue(home: Lf) -> None:
    with loaded(home, *LONG, model="endless") as server, start_endless(server):
        run = home.start("run", "endless", "hi")
        try:
            wait_until(lambda: show(home)["endless"]["waiting"] == 1)
            run.send_signal(signal.SIGINT)
            assert run.wait(timeout=20) == 130
            wait_until(lambda: show(home)["endless"]["waiting"] == 0)
        finally:
            run.kill()
            run.communicate()


def test_a_killed_run_ends_its_answer(home: Lf) -> None:
    with loaded(home, *LONG, model="endless"):
        with running(home, "endless", "hi") as run:
            run.kill()
        wait_until(lambda: show(home)["endless"]["active"] == 0)


def test_a_server_that_dies_in_mid_answer_is_told(home: Lf) -> None:
    with loaded(home, *LONG, model="endless") as server, running(home, "endless", "hi") as run:
        server.process.kill()
        told = run.communicate(timeout=30)[1]
        assert run.returncode == 11
        assert "error: The server ended, or was lost, before the answer was whole" in told
        assert f"process {server.process.pid}" in told
        assert "lf server logs" in told


def test_a_model_that_is_unloaded_in_mid_answer_is_told(home: Lf) -> None:
    with loaded(home, *LONG, model="endless"), running(home, "endless", "hi") as run:
        assert home("stop", "endless").returncode == 0
        told = run.communicate(timeout=30)[1]
        assert run.returncode == 1
        assert "error: The model was unloaded by who runs this server" in told


def test_a_server_that_hangs_is_done_without(home: Lf) -> None:
    with loaded(home) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            done = home("run", "greeter", "hi")
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{REPLY}\n", "")


def test_of_several_servers_the_one_that_has_it_answers(home: Lf) -> None:
    with loaded(home) as older, loaded(home, model="thinker") as newer:
        done = home("run", "greeter", "hi")
        assert done.stdout == f"{REPLY}\n"
        assert older.url in done.stderr
        assert newer.url not in done.stderr


def test_another_file_of_the_name_is_not_taken_for_it(home: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "greeter.gguf", "Another one.", shape=Shape())
    with loaded(home):
        done = home("run", str(tmp_path / "greeter.gguf"), "hi")
        assert done.stdout == "Another one.\n"
        assert CHOICES not in done.stderr


def test_ctrl_c_in_a_chat_gives_up_a_place_in_the_queue_while_the_chat_goes_on(home: Lf) -> None:
    with (
        loaded(home, *LONG, model="endless") as server,
        start_endless(server),
        closing(start_chat(home, "endless")) as chat,
    ):
        chat.expect(">>> ")
        chat.sendline("hi")
        wait_until(lambda: show(home)["endless"]["waiting"] == 1)
        chat.sendintr()
        wait_until(lambda: show(home)["endless"]["waiting"] == 0, within_s=9)  # sooner than a sign of life is sent
        chat.expect(">>> ")


def start_chat(home: Lf, model: str) -> Any:
    from tests.fixtures.terminal import Terminal  # of POSIX

    environment = home.env() | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    return Terminal([sys.executable, "-m", "localfirst", "run", model], environment, (40, 100))


def test_a_chat_goes_on_when_the_model_went_and_when_the_server_died(home: Lf) -> None:
    with loaded(home) as server:
        chat = start_chat(home, "greeter")
        for happens in (lambda: None, lambda: home("stop", "greeter"), server.process.kill):
            chat.expect(">>> ")
            happens()
            chat.sendline("hi")
            if happens == server.process.kill:
                chat.expect("before the answer was whole")
                chat.expect(">>> ")
                chat.sendline("hi")
            chat.expect("wie geht's")
        chat.expect(">>> ")
        chat.sendeof()
        chat.expect(pexpect.EOF)
        chat.close()

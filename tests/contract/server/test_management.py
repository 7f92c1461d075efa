"""`lf ps`, `lf load`, `lf stop`, and the routes that only they may ask, on a real server."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import httpx2
import openai
import pytest
from tests.conftest import Lf
from tests.contract.server.test_serving_faults import HI, LONG, ask, ask_shortly, start_endless
from tests.fixtures.serving import REPLY, serving, wait_until

KEY = "a-key-of-some-length"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sockets")


def show(lf: Lf) -> list[dict]:
    done = lf("ps", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["models"]


def test_without_a_server_ps_says_so_and_others_fail_with_what_to_type(lf: Lf) -> None:
    done = lf("ps")
    assert (done.returncode, done.stdout) == (0, "No server runs here: `lf server start` starts one\n")
    assert json.loads(lf("ps", "--json").stdout) == {"server": None, "models": []}
    for words in (("load", "starter"), ("stop", "--all"), ("env",), ("server", "status")):
        done = lf(*words)
        assert (done.returncode, done.stdout) == (11, "")
        assert "lf server start" in done.stderr


def test_a_server_says_to_whom_it_answers_and_where(home: Lf, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    server = home.start("serve", "--port", "0", "--api-key-file", str(tmp_path / "key"))
    try:
        who, *places = (server.stdout.readline() for _ in range(3))
        assert who == "Serving programs on this machine, by key\n"
        (models, api), (page, _) = (text.split(maxsplit=1) for text in places)
        assert api == "OpenAI's API\n"
        head = {"authorization": f"Bearer {KEY}"}
        assert httpx2.get(f"{models}/models", headers=head, trust_env=False).status_code == 200
        assert httpx2.get(page, trust_env=False).headers["content-type"] == "text/html; charset=utf-8"
    finally:
        server.kill()
        server.communicate()
    server = home.start("serve", "--socket", str(tmp_path / "s"))
    try:
        assert server.stdout.readline() == f"Serving your programs at the socket {tmp_path / 's'}\n"
    finally:
        server.kill()
        server.communicate()


def test_a_model_is_loaded_shown_and_unloaded(home: Lf) -> None:
    with serving(home) as server:
        assert home("ps").stdout == f"Nothing is loaded in the server at {server.url}\n"
        loaded = json.loads(home("load", "greeter", "--keep-alive", "1h", "--json").stdout)
        assert (loaded["name"], loaded["state"], loaded["pinned"], loaded["used_s"]) == ("greeter", "idle", False, None)
        assert 3500 < loaded["expires_in_s"] <= 3600
        assert ask(server) == REPLY
        (one,) = show(home)
        assert (one["device"], one["active"], one["waiting"], one["task"]) == ("CPU", 0, 0, "chat")
        assert one["memory_bytes"] > 0
        assert one["context_tokens"] > 0
        assert one["used_s"] >= one["since_s"]
        assert home("load", "embedder").returncode == 0
        assert {model["name"]: model["task"] for model in show(home)} == {"greeter": "chat", "embedder": "embedding"}
        assert home("stop", f"greeter@{one['build']}").stdout == "Unloaded greeter\n"
        assert [model["name"] for model in show(home)] == ["embedder"]
        assert home("stop", "--all").stdout == "Unloaded embedder\n"
        wait_until(lambda: not server.find_workers())
        table = home("load", "greeter").stdout
        assert table.splitlines()[0].split() == ["NAME", "STATE", "RUNTIME", "ON", "NEEDS", "CONTEXT", "SINCE", "GOES"]
        assert table.splitlines()[1].rstrip().endswith(" in 5 min")


def test_a_pinned_model_outlives_the_time_that_others_have(home: Lf) -> None:
    with serving(home, "--keep-alive", "1s") as server:
        assert home("load", "thinker", "--keep-alive", "forever").returncode == 0
        assert ask(server) == REPLY
        wait_until(lambda: [one["name"] for one in show(home)] == ["thinker"])
        (one,) = show(home)
        assert (one["pinned"], one["expires_in_s"]) == (True, None)
        assert "never: pinned" in home("ps").stdout


def test_a_pin_ends_with_its_worker(home: Lf) -> None:
    with serving(home, "--keep-alive", "1s") as server:
        assert home("load", "greeter", "--keep-alive", "forever").returncode == 0
        (worker,) = server.find_workers()
        os.kill(worker.pid, signal.SIGKILL)
        assert ask(server) == REPLY
        assert [(one["name"], one["pinned"]) for one in show(home)] == [("greeter", False)]
        wait_until(lambda: not show(home))


def test_unloading_ends_an_answer_and_says_so(home: Lf) -> None:
    with serving(home, *LONG) as server:
        stream = start_endless(server)
        assert show(home)[0]["state"] == "answering"
        done = home("stop", "endless")
        assert (done.returncode, done.stdout) == (0, "Unloaded endless\n")
        with pytest.raises(openai.APIError) as raised:
            for _ in stream:
                pass
        assert raised.value.code == "model_unloaded"
        assert ask_shortly(server).usage.completion_tokens == 1  # and is loaded again when it is asked for


def test_what_cannot_be_done_is_said_with_the_exit_code_of_its_kind(home: Lf) -> None:
    with serving(home):
        assert (home("load", "no-such-model").returncode, home("stop", "greeter").returncode) == (3, 3)
        said = home("load", "no-such-model").stderr.splitlines()
        assert (said[0], said[-1]) == ("error: No model named `no-such-model`", "hint: List the names: `lf list`")
        assert home("stop").returncode == 2
        assert home("stop", "greeter", "--all").returncode == 2
        assert home("load", "greeter", "--keep-alive", "soon").returncode == 2


def test_no_key_but_the_servers_own_manages_it(home: Lf) -> None:
    home.environment["LF_API_KEY"] = KEY
    with serving(home) as server:
        for shown in ({}, {"Authorization": f"Bearer {KEY}"}):
            for path in ("server", "models", "nothing"):
                assert server.get(f"/lf/v1/{path}", headers=shown).status_code == 403
            for path in ("load", "unload", "stop"):
                assert server.post(f"/lf/v1/{path}", {"model": "greeter"}, headers=shown).status_code == 403
        (file,) = (home.home / "servers").glob("*.json")
        own = {"Authorization": f"Bearer {json.loads(file.read_text())['own_key']}"}
        assert server.get("/lf/v1/models", headers=own).json() == {"models": []}
        assert server.get("/lf/v1/models", headers=own | {"Origin": "http://evil.example"}).status_code == 403
        assert server.get("/lf/v1/models", headers=own | {"Host": "evil.example"}).status_code == 403
        assert server.get("/v1/models", headers=own).status_code == 200
        assert KEY not in file.read_text()
        assert show(home) == []


def test_a_socket_is_its_owners_alone_and_goes_with_the_server(home: Lf, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process = home.start("serve", "--socket", str(path), "--json")
    try:
        assert json.loads(process.stdout.readline())["socket"] == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://any.name") as client:
            asked = {"model": "greeter", "messages": HI}
            answer = client.post("/v1/chat/completions", json=asked, timeout=60).json()
            assert answer["choices"][0]["message"]["content"] == REPLY
        assert [one["name"] for one in show(home)] == ["greeter"]
        second = home("serve", "--socket", str(path))
        assert (second.returncode, second.stdout) == (11, "")
        assert "already" in second.stderr
        assert "socket" in home("env").stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert not path.exists()
    finally:
        process.kill()
        process.communicate()


def test_a_socket_that_a_killed_server_left_is_replaced_and_other_files_are_not(home: Lf, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    process = home.start("serve", "--socket", str(path), "--json")
    try:
        assert json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()
    path.unlink()
    path.write_text("precious")
    assert home("serve", "--socket", str(path)).returncode == 11
    assert path.read_text() == "precious"
    assert home("serve", "--socket", str(tmp_path / ("x" * 200))).returncode == 11
    assert home("serve", "--socket", str(tmp_path / "other"), "--port", "1").returncode == 2


def test_the_file_of_a_killed_server_is_not_believed_and_goes(home: Lf) -> None:
    with serving(home) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert list((home.home / "servers").glob("*.json"))
        assert "No server runs here" in home("ps").stdout
        assert not list((home.home / "servers").glob("*.json"))


def test_a_server_in_a_home_that_cannot_be_written_serves_all_the_same(home: Lf) -> None:
    (home.home / "servers").write_text("in the way")
    with serving(home) as server:
        assert ask(server) == REPLY
        assert "will not find this server" in server.stop()


def test_the_log_goes_to_a_file_with_times_and_no_words(home: Lf, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "lf.log"
    with serving(home, "--log", str(log)) as server:
        assert ask(server) == REPLY
        assert server.stop() == ""
    text = log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert all(line[:4].isdecimal() and line[10] == "T" for line in text.splitlines())
    assert "POST /v1/chat/completions 200" in text
    assert "Grüße" not in text

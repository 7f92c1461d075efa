"""`lf server start|stop|restart|status|logs` and `lf env`, with real processes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest
from openai import OpenAI
from tests.conftest import Lf
from tests.contract.server.test_serving_faults import HI
from tests.fixtures.serving import REPLY, is_running, wait_until

ANYWHERE = ("--port", "0")
TERMINAL = r"""
import sys, pexpect
terminal = pexpect.spawn("/bin/sh", ["-c", sys.argv[1]], encoding="utf-8", timeout=60)
terminal.expect(r"runs at (http://\S+)\s")
assert terminal.isalive()
terminal.close(force=True)
assert not terminal.isalive()
print(terminal.match[1])
"""
"""A terminal that is closed, in a process of its own: to fork one that has loaded engines is not safe."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sockets")


@pytest.fixture(autouse=True)
def leave_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a failed test left."""
    homes = [request.getfixturevalue(name).home for name in {"home", "lf"} & set(request.fixturenames)]
    yield
    for file in (file for folder in homes for file in (folder / "servers").glob("*.json")):
        with suppress(ProcessLookupError, ValueError):
            os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)


def start(lf: Lf, *words: str) -> dict:
    done = lf("server", "start", "--json", *(words or ANYWHERE))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(url: str, key: str = "unused") -> str:
    with OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60) as client:
        return client.chat.completions.create(model="greeter", messages=HI).choices[0].message.content


def test_a_server_is_started_seen_and_ended(home: Lf) -> None:
    said = home("server", "start", *ANYWHERE)
    assert said.returncode == 0, said.stderr
    (status,) = json.loads(home("server", "status", "--json").stdout)["servers"]
    assert f"A server runs at {status['url']} (process {status['pid']})" in said.stdout
    assert (status["ready"], status["background"], status["models"], status["key"]) == (True, True, 0, False)
    assert "own_key" not in status
    assert ask(status["url"]) == REPLY
    assert "ready, 1 model loaded" in home("server", "status").stdout
    assert "POST /v1/chat/completions 200" in home("server", "logs").stdout
    assert [len(home("server", "logs", "-n", n).stdout.splitlines()) for n in ("0", "1")] == [0, 1]
    assert stat.S_IMODE(Path(status["log"]).stat().st_mode) == 0o600
    assert home("server", "stop").stdout == f"The server at {status['url']} has ended\n"
    assert not is_running(status["pid"])
    assert home("server", "status").returncode == 11
    assert home("server", "stop").stdout == "No server runs here\n"
    assert not list((home.home / "servers").glob("*.json"))


def test_it_outlives_its_terminal(home: Lf) -> None:
    words = shlex.join(home.command("server", "start", *ANYWHERE))
    command = [sys.executable, "-c", TERMINAL, f"{words}; sleep 100"]
    seen = subprocess.run(command, env=home.env(), capture_output=True, text=True, timeout=120)
    assert seen.returncode == 0, seen.stderr
    time.sleep(0.5)  # for a signal that must not come
    assert ask(seen.stdout.strip()) == REPLY
    (status,) = json.loads(home("server", "status", "--json").stdout)["servers"]
    assert os.getsid(status["pid"]) == status["pid"]
    home("server", "stop")


def test_it_ends_soon_also_under_load_with_its_workers(home: Lf) -> None:
    record = start(home, *ANYWHERE, "--ctx", "65536")
    with OpenAI(base_url=record["url"], api_key="unused", max_retries=0) as client:
        stream = client.chat.completions.create(model="endless", messages=HI, stream=True)
        next(stream)
        workers = psutil.Process(record["pid"]).children(recursive=True)
        assert workers
        begun = time.monotonic()
        done = home("server", "stop", "--json")
        assert time.monotonic() - begun < 5 + 1.5  # and what it takes to start Python twice over
        assert json.loads(done.stdout)["forced"] is False
        stream.close()
    assert not any(is_running(worker.pid) for worker in workers)


def test_it_is_started_anew_as_it_was(home: Lf) -> None:
    record = start(home, *ANYWHERE, "--keep-alive", "forever", "--host", "0.0.0.0")  # noqa: S104
    assert record["made_key"]
    assert ask(record["url"], record["made_key"]) == REPLY
    again = json.loads(home("server", "restart", "--json").stdout)
    assert (again["pid"] != record["pid"], again["made_key"]) == (True, None)
    assert not is_running(record["pid"])
    assert ask(again["url"], record["made_key"]) == REPLY
    assert json.loads(home("ps", "--json").stdout)["models"][0]["expires_in_s"] is None
    assert record["made_key"] in home("env").stdout
    files = [file for file in home.home.rglob("*") if file.is_file() and not file.is_symlink()]
    assert not any(record["made_key"].encode() in file.read_bytes() for file in files)
    other = json.loads(home("server", "restart", "--json", *ANYWHERE).stdout)
    assert json.loads(home("server", "status", "--json").stdout)["servers"][0]["key"] is True
    assert other["pid"] != again["pid"]
    assert json.loads(home("server", "stop", "--json").stdout)["stopped"]["pid"] == other["pid"]


def test_a_killed_one_is_not_taken_for_running_and_another_starts(home: Lf) -> None:
    record = start(home)
    os.kill(record["pid"], signal.SIGKILL)
    wait_until(lambda: not is_running(record["pid"]))
    assert home("server", "status").returncode == 11
    assert start(home)["pid"] != record["pid"]
    assert len(list((home.home / "servers").glob("*.json"))) == 1
    home("server", "stop")


def test_one_that_hangs_is_said_and_ended_by_force(home: Lf) -> None:
    record = start(home)
    os.kill(record["pid"], signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        status, ps = pool.submit(home, "server", "status"), pool.submit(home, "ps")
        assert "does not answer" in status.result().stdout
        assert (ps.result().returncode, "does not answer" in ps.result().stderr) == (11, True)
    assert "by force" in home("server", "stop").stdout
    assert not is_running(record["pid"])


def test_of_two_starts_at_once_one_wins(home: Lf) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: home("server", "start", *ANYWHERE), range(2)))
    assert sorted(one.returncode for one in done) == [0, 11]
    assert len(json.loads(home("server", "status", "--json").stdout)["servers"]) == 1
    home("server", "stop")


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_what_keeps_it_from_starting_is_said_as_lf_serve_says_it(home: Lf) -> None:
    with taken_port() as port:
        done = home("server", "start", "--port", str(port))
        assert (done.returncode, done.stdout) == (11, "")
        assert f"Port {port} is taken by" in done.stderr
        assert f"(process {os.getpid()})" in done.stderr
    done = home("server", "start", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
    for option, value in (("--keep-alive", "soon"), ("--allow-origin", "app.example"), ("--allow-host", "http://x")):
        done = home("server", "start", option, value)
        assert done.returncode == 2
        assert f"{option}'" in done.stderr
        assert repr(value) in done.stderr
    assert home("server", "status").returncode == 11


def test_in_a_home_that_cannot_be_written_it_says_so() -> None:
    done = Lf(Path("/proc/lf"))("server", "start", *ANYWHERE)
    assert done.returncode == 1
    assert "LF_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_log_that_is_said(lf: Lf) -> None:
    done = lf("server", "logs")
    assert (done.returncode, "No server has been started" in done.stderr) == (11, True)


def test_the_log_is_followed(home: Lf) -> None:
    record = start(home)
    following = home.start("server", "logs", "--follow", "-n", "0")
    try:
        time.sleep(1)
        httpx2.get(f"{record['url']}/models", trust_env=False)
        assert any("GET /v1/models 200" in text for text in following.stdout)
    finally:
        following.kill()
        following.communicate()
    home("server", "stop")
    said = home("server", "logs").stdout.splitlines()
    assert f"serving at {record['url']}, as process {record['pid']}" in said[0]
    assert "ended, as it was told" in said[-1]


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_programs_find_the_server_by_the_variables(home: Lf, shell: str) -> None:
    home.environment["LF_API_KEY"] = "a-key-of-some-length"
    record = start(home)
    asking = "import openai; print([one.id for one in openai.OpenAI().models.list()])"
    script = f'eval "$({shlex.join(home.command("env"))})"; exec "$0" -c "{asking}"'
    done = subprocess.run([shell, "-c", script, sys.executable], capture_output=True, text=True, env=home.env())
    assert "'greeter'" in done.stdout, done.stderr
    assert f"set -gx OPENAI_BASE_URL '{record['url']}'" in home("env", "fish").stdout
    assert f"$env:OLLAMA_HOST = '{record['url'].removesuffix('/v1')}'" in home("env", "pwsh").stdout
    assert home("env", "tcsh").returncode == 2
    home("server", "stop")

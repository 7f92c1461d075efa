"""A real `lf serve` under load: clients that leave, workers that are killed, ends that are asked for."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import openai
import pytest
from tests.conftest import Lf
from tests.fixtures.serving import REPLY, Server, is_running, serving, wait_until

HI = [{"role": "user", "content": "hi"}]
LONG = ("--ctx", "65536")
"""An answer that fills it takes longer than a test."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def server(served_home: Lf) -> Iterator[Server]:
    with serving(served_home, *LONG) as running:
        yield running


def start_endless(server: Server) -> openai.Stream:
    """A stream that goes on, after its first words."""
    stream = server.client.chat.completions.create(model="endless", messages=HI, stream=True)
    while not next(stream).choices[0].delta.content:
        pass
    return stream


def ask_shortly(server: Server, model: str = "endless") -> openai.types.chat.ChatCompletion:
    return server.client.chat.completions.create(model=model, messages=HI, max_tokens=1)


def test_a_client_that_leaves_its_stream_makes_place_for_the_next(server: Server) -> None:
    for _ in range(3):
        start_endless(server).close()
    begun = time.monotonic()
    assert ask_shortly(server).usage.completion_tokens == 1
    assert time.monotonic() - begun < 5  # an endless answer takes as long as its 65,536 tokens
    assert len(server.find_workers()) == 1


def test_a_client_that_leaves_without_a_stream_makes_place_too(server: Server) -> None:
    ask_shortly(server)
    with pytest.raises(openai.APITimeoutError):
        server.client.chat.completions.create(model="endless", messages=HI, timeout=1)
    assert ask_shortly(server).usage.completion_tokens == 1
    assert len(server.find_workers()) == 1


def test_a_client_that_leaves_while_its_prompt_is_read_makes_place(server: Server) -> None:
    ask_shortly(server, "slow")
    (worker,) = server.find_workers()
    long = [{"role": "user", "content": "a b c d " * 1000}]
    with pytest.raises(openai.APITimeoutError):
        server.client.chat.completions.create(model="slow", messages=long, timeout=0.7, max_tokens=1)
    assert ask_shortly(server, "slow").usage.completion_tokens == 1
    assert server.find_workers() == [worker]


def test_a_client_that_leaves_while_it_waits_is_not_waited_for(server: Server) -> None:
    with closing(start_endless(server)), pytest.raises(openai.APITimeoutError):
        server.client.chat.completions.create(model="endless", messages=HI, timeout=0.5)
    assert ask_shortly(server).usage.completion_tokens == 1


def test_requests_beyond_the_queue_are_turned_away_with_a_time(served_home: Lf) -> None:
    with (
        serving(served_home, *LONG, "--queue", "2") as server,
        closing(start_endless(server)),
        ThreadPoolExecutor(8) as pool,
    ):
        done = list(pool.map(lambda _: try_shortly(server), range(8)))
    assert done.count("queue_full, again in 2 s") == 6
    assert done.count("APITimeoutError") == 2


def try_shortly(server: Server) -> str:
    try:
        server.client.chat.completions.create(model="endless", messages=HI, max_tokens=1, timeout=3)
    except openai.RateLimitError as error:
        return f"{error.code}, again in {error.response.headers['retry-after']} s"
    except openai.APIError as error:
        return type(error).__name__
    return "answered"


def test_many_at_once_are_all_answered_in_turn_by_one_worker(server: Server) -> None:
    with ThreadPoolExecutor(24) as pool:
        done = list(pool.map(lambda _: ask(server), range(24)))
    assert done == [REPLY] * 24
    assert len(server.find_workers()) == 1


def ask(server: Server) -> str:
    return server.client.chat.completions.create(model="greeter", messages=HI).choices[0].message.content


def test_parallel_answers_are_computed_at_the_same_time(served_home: Lf) -> None:
    with serving(served_home, *LONG, "--parallel", "2") as server, closing(start_endless(server)):
        assert ask_shortly(server).usage.completion_tokens == 1


def test_models_are_served_beside_each_other(server: Server) -> None:
    with closing(start_endless(server)):
        assert ask(server) == REPLY
    assert len(server.find_workers()) == 2


def test_each_stream_of_a_killed_worker_is_told_and_the_next_request_has_another(served_home: Lf) -> None:
    with serving(served_home, *LONG, "--parallel", "2") as server:
        streams = [start_endless(server), start_endless(server)]
        (worker,) = server.find_workers()
        os.kill(worker.pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(openai.APIError) as raised:
                for _ in stream:
                    pass
            assert raised.value.code == "engine_crashed"
            assert "SIGKILL" in raised.value.message
        assert ask_shortly(server).usage.completion_tokens == 1
        assert [one.pid for one in server.find_workers()] != [worker.pid]
        assert "ended unexpectedly" in server.stop()


def test_a_request_of_a_killed_worker_is_answered_by_an_error(server: Server) -> None:
    ask_shortly(server)
    (worker,) = server.find_workers()
    threading.Timer(1, os.kill, (worker.pid, signal.SIGKILL)).start()
    with pytest.raises(openai.InternalServerError) as raised:
        server.client.chat.completions.create(model="endless", messages=HI)
    assert raised.value.code == "engine_crashed"


def kill_before_it_hears(server: Server, ask: Callable[[], object]) -> None:
    """End the one worker after a request was handed to it, and before it can have read it."""
    (worker,) = server.find_workers()
    os.kill(worker.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        time.sleep(0.5)  # it has no way to tell that it was handed over
        os.kill(worker.pid, signal.SIGKILL)
        asked.result()
    assert [one.pid for one in server.find_workers()] != [worker.pid]


def test_a_request_that_meets_a_worker_just_dead_is_answered_by_the_next(server: Server) -> None:
    ask_shortly(server)
    kill_before_it_hears(server, lambda: ask_shortly(server))
    server.client.embeddings.create(model="embedder", input="hi")
    for one in server.find_workers():
        os.kill(one.pid, signal.SIGKILL)
    assert len(server.client.embeddings.create(model="embedder", input="hi").data) == 1
    kill_before_it_hears(server, lambda: server.client.embeddings.create(model="embedder", input="hi"))
    assert ask_shortly(server).usage.completion_tokens == 1


def test_a_model_that_ends_its_workers_again_and_again_is_left_alone_and_others_are_not(server: Server) -> None:
    for _ in range(4):
        assert ask_shortly(server).usage.completion_tokens == 1
        (worker,) = server.find_workers()
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(openai.InternalServerError) as raised:
        ask_shortly(server)
    assert (raised.value.status_code, raised.value.code) == (503, "model_broken")
    assert "4 workers within 5 minutes" in raised.value.message
    assert "SIGKILL" in raised.value.message
    assert ask(server) == REPLY


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_end_under_load_is_soon_and_said_to_every_client(server: Server, number: signal.Signals) -> None:
    stream = start_endless(server)
    workers = server.find_workers()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(try_shortly_by, server)
        wait_until(lambda: not waiting.done())
        begun = time.monotonic()
        server.process.send_signal(number)
        with pytest.raises(openai.APIError) as raised:
            for _ in stream:
                pass
        assert raised.value.code == "server_stopping"
        assert waiting.result() in {"server_stopping", "answered"}
    assert server.process.wait(timeout=20) == 0
    assert time.monotonic() - begun < 5
    assert not any(is_running(worker.pid) for worker in workers)
    assert "Traceback" not in server.process.stderr.read()


def try_shortly_by(server: Server) -> str:
    try:
        server.client.chat.completions.create(model="endless", messages=HI, max_tokens=1)
    except openai.APIStatusError as error:
        return error.code
    return "answered"


def test_answers_that_are_short_end_by_themselves_when_the_server_is_told_to(server: Server) -> None:
    stream = server.client.chat.completions.create(model="endless", messages=HI, stream=True, max_tokens=600)
    next(stream)
    server.process.send_signal(signal.SIGTERM)
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    assert server.process.wait(timeout=20) == 0


def test_no_worker_outlives_a_server_that_is_killed(server: Server) -> None:
    start_endless(server)
    workers = server.find_workers()
    server.process.kill()
    wait_until(lambda: not any(is_running(worker.pid) for worker in workers))


def test_what_nobody_uses_is_unloaded(served_home: Lf) -> None:
    with serving(served_home, "--keep-alive", "1s") as server:
        ask(server)
        assert len(server.find_workers()) == 1
        wait_until(lambda: not server.find_workers())
        assert ask(server) == REPLY


def test_a_taken_port_is_said_with_who_has_it(served_home: Lf, server: Server) -> None:
    done = served_home("serve", "--port", str(server.port))
    assert (done.returncode, done.stdout) == (11, "")
    assert f"Port {server.port} is taken by another `lf serve` (process {server.process.pid})" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = served_home("serve", "--port", str(other.getsockname()[1]), "--json")
    assert done.returncode == 11
    assert f"(process {os.getpid()})" in done.stderr


def test_beyond_this_machine_only_a_key_is_answered_which_is_made_and_shown_where_none_is_set(served_home: Lf) -> None:
    with serving(served_home, "--host", "0.0.0.0") as server:  # noqa: S104
        key = server.told["made_key"]
        assert server.get("/v1/models").status_code == 401
        assert server.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert (server.told["url"], server.told["everywhere"]) == (f"http://127.0.0.1:{server.port}/v1", True)
        assert key not in server.stop()
    with serving(served_home) as server:
        assert (server.told["key"], server.told["made_key"]) == (False, None)


def test_a_weak_key_and_an_address_that_is_none_are_refused(served_home: Lf) -> None:
    served_home.environment["LF_API_KEY"] = "short"
    try:
        weak = served_home("serve", "--port", "0")
    finally:
        del served_home.environment["LF_API_KEY"]
    assert weak.returncode == 2
    assert "short" not in weak.stderr
    assert served_home("serve", "--port", "0", "--host", "nowhere").returncode == 2

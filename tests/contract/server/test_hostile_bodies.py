"""Wrong values in every place of every request, one after the other, to a real `lf serve`: refused, by a name."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Lf
from tests.contract.server.test_spoiled_requests import ROUTES
from tests.fixtures.attack import Wire, find_error
from tests.fixtures.serving import Server, serving
from tests.unit.server.test_requests import find_places, put

BODIES = [*ROUTES, ("/lf/v1/load", {"model": "greeter", "keep_alive_s": 60}), ("/lf/v1/unload", {"model": "greeter"})]
MARK = "a value that is put here as text"
DIGITS = "9" * 400
WRONG = {
    "true": "true",
    "a negative number": "-1",
    "400 digits": DIGITS,
    "400 digits below zero": f"-{DIGITS}",
    "infinite": "1e999",
    "no text": '""',
    "a text": '"x"',
    "half of a letter": '"\\ud800\\u0000"',
    "no list": "[]",
    "a list": "[null, true, 1.5]",
    "no object": "{}",
    "an object": '{"": null, "type": {"type": []}, "role": 1}',
}
"""As they are written in JSON."""


@pytest.fixture(scope="module")
def owned(served_home: Lf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server, and what shows its own key. Its log goes to a file: nobody reads the pipe meanwhile."""
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(served_home, "--keep-alive", "forever", "--log", str(log)) as running:
        records = [json.loads(file.read_text()) for file in (served_home.home / "servers").glob("*.json")]
        (own,) = [record["own_key"] for record in records if record["pid"] == running.process.pid]
        yield running, {"authorization": f"Bearer {own}"}
    assert "internal error" not in log.read_text()
    assert "unexpectedly" not in log.read_text()


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[path for path, _ in BODIES])
def test_a_wrong_value_in_any_place_is_refused_or_asks_for_nothing(owned: Any, path: str, body: dict) -> None:
    server, shown = owned
    with Wire(server) as wire:
        for place in find_places(body)[1:]:
            marked = json.dumps(put(body, place, MARK))
            for kind, text in WRONG.items():
                data = marked.replace(json.dumps(MARK), text).encode()
                got = wire.ask("POST", path, data, **shown)
                assert got.status in {200, 400, 404}, (place, kind, got.body)
                if got.status != 200:
                    assert find_error(path, got)


QUERIES = {
    "/v1/models?limit=": {},
    "/v1/models?after_id=": {"anthropic_version": "2023-06-01"},
    "/v1/models?limit=%": {"anthropic_version": "2023-06-01"},
    "/v1/responses/": {},
    "/v1/responses/RESPONSE/input_items?limit=": {},
    "/v1/responses/RESPONSE/input_items?order=": {},
    "/v1/responses/RESPONSE/input_items?after=": {},
    "/v1/models/": {},
    "/api/blobs/": {},
}
IN_QUERIES = ["x", "-1", "1e9", "%ff%fe", "%00", "%d9%a3", "0" * 5000, "00001" + "0" * 5000, "%2e%2e%2f", "[]", "&&=&"]


@pytest.mark.parametrize(("path", "headers"), QUERIES.items(), ids=QUERIES)
def test_a_wrong_value_in_an_address_is_refused_or_asks_for_nothing(owned: Any, path: str, headers: dict) -> None:
    server, _ = owned
    with Wire(server) as wire:
        made = wire.post("/v1/responses", {"model": "greeter", "input": "hi", "max_output_tokens": 1}).read_json()
        for text in IN_QUERIES:
            got = wire.ask("GET", path.replace("RESPONSE", made["id"]) + text, **headers)
            assert got.status in {200, 307, 400, 404, 405, 501}, (text, got.body)


CHAT = {"model": "greeter", "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": "greeter", "input": "hi"}
MESSAGE = CHAT | {"max_tokens": 5}
SAID = {"role": "user", "content": "a"}
TOOL = {"type": "function", "function": {"name": "f"}}
COUNTS: list[tuple[str, dict[str, Any], str, list[Any]]] = [
    ("/v1/chat/completions", CHAT, "n", [0, 17, 10**30]),
    ("/v1/chat/completions", CHAT, "max_tokens", [0, -1, 2**31, 1.5]),
    ("/v1/chat/completions", CHAT, "max_completion_tokens", [0, 2**31]),
    ("/v1/chat/completions", CHAT, "stop", [["x"] * 17, [""], [1]]),
    ("/v1/chat/completions", CHAT, "temperature", [-0.1, 2.1, "1"]),
    ("/v1/chat/completions", CHAT, "top_p", [-0.1, 1.1]),
    ("/v1/chat/completions", CHAT, "top_k", [0, 2**31]),
    ("/v1/chat/completions", CHAT, "min_p", [-0.1, 1.1]),
    ("/v1/chat/completions", CHAT, "repetition_penalty", [0, 10.5]),
    ("/v1/chat/completions", CHAT, "seed", [2**63, -(2**63) - 1]),
    ("/v1/chat/completions", CHAT, "logit_bias", [{"1": 100.5}, {"x": 5}, {str(number): 1 for number in range(301)}]),
    ("/v1/chat/completions", CHAT, "presence_penalty", [-2.1, 2.1]),
    ("/v1/chat/completions", CHAT, "frequency_penalty", [-2.1, 2.1]),
    ("/v1/chat/completions", CHAT, "top_logprobs", [1, 21, -1]),
    ("/v1/chat/completions", CHAT, "tools", [[TOOL] * 129]),
    ("/v1/chat/completions", CHAT, "messages", [[], [SAID] * 10_001]),
    ("/v1/completions", {"model": "greeter", "prompt": "a"}, "prompt", [["a"] * 65, [], ""]),
    ("/v1/completions", {"model": "greeter", "prompt": "a"}, "best_of", [2]),
    ("/v1/embeddings", {"model": "embedder", "input": "a"}, "input", [["a"] * 2049, [], ""]),
    ("/v1/responses", RESPONSE, "max_output_tokens", [0, 2**31]),
    ("/v1/responses", RESPONSE, "metadata", [{str(number): "" for number in range(17)}]),
    ("/v1/responses", RESPONSE, "input", [[], [SAID] * 10_001]),
    ("/v1/messages", MESSAGE, "max_tokens", [0, 2**31]),
    ("/v1/messages", MESSAGE, "messages", [[], [SAID] * 10_001]),
    ("/v1/messages", MESSAGE, "stop_sequences", [["x"] * 17]),
    ("/v1/messages", MESSAGE, "top_k", [0]),
    ("/v1/messages", MESSAGE, "thinking", [{"type": "enabled", "budget_tokens": 1}]),
    ("/api/chat", CHAT, "messages", [[SAID] * 10_001]),
    ("/api/chat", CHAT, "options", [{"num_predict": value} for value in (0, -3, 2**31)]),
    ("/api/chat", CHAT, "options", [{"num_ctx": -1}, {"temperature": 3}, {"stop": ["x"] * 17}]),
    ("/api/embed", {"model": "embedder", "input": "a"}, "input", [["a"] * 2049]),
]


def test_what_is_out_of_bounds_is_refused_by_its_name(owned: Any) -> None:
    server, _ = owned
    with Wire(server) as wire:
        for path, body, name, values in COUNTS:
            for value in values:
                got = wire.post(path, body | {name: value})
                assert got.status == 400, (path, name, str(value)[:60], got.body)
                assert name in find_error(path, got), (path, name, str(value)[:60])


def test_the_largest_of_all_bounds_are_answered(owned: Any) -> None:
    server, _ = owned
    most = {
        "seed": 2**63 - 1,
        "max_tokens": 2**31 - 1,
        "stop": ["x"] * 16,
        "temperature": 2,
        "n": 16,
        "top_k": 2**31 - 1,
    }
    with Wire(server) as wire:
        got = wire.post("/v1/chat/completions", CHAT | most | {"metadata": json.loads("[" * 62 + "]" * 62)})
        assert len(got.read_json()["choices"]) == 16


@pytest.mark.parametrize(
    "data",
    [
        b'{"model": "greeter", "model": "embedder"}',
        b'{"model": "greeter", "messages": [{"role": "user", "role": "system"}]}',
        b'{"model": NaN}',
        b'{"model": -Infinity}',
        b'{"model": "\xff\xfe"}',
        b'{"model": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        b'{"metadata": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"metadata": ' + b'{"a":' * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"model": "greeter"} {}',
        b'"model"',
        b"{'model': 'greeter'}",
    ],
    ids=lambda data: data[:40],
)
def test_what_is_no_json_object_is_refused_on_every_route(owned: Any, data: bytes) -> None:
    server, shown = owned
    with Wire(server) as wire:
        for path, _ in BODIES:
            got = wire.ask("POST", path, data, **shown)
            assert got.status == 400, path
            assert "JSON" in find_error(path, got) or "nested" in find_error(path, got)


def find_texts(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of texts."""
    if isinstance(value, str):
        return [place]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inner for found in find_texts(one, (*place, key))]


IMAGES: list[tuple[str, Any]] = [
    ("/v1/chat/completions", lambda at: CHAT | {"messages": [{"role": "user", "content": [image_url(at)]}]}),
    ("/v1/responses", lambda at: RESPONSE | {"input": [{"role": "user", "content": [{**input_image(at)}]}]}),
    ("/v1/responses", lambda at: RESPONSE | {"input": [{"role": "user", "content": [{**input_file(at)}]}]}),
    ("/v1/messages", lambda at: MESSAGE | {"messages": [{"role": "user", "content": [image_source(at)]}]}),
    ("/api/chat", lambda at: CHAT | {"messages": [{"role": "user", "content": "a", "images": [at]}]}),
    ("/api/generate", lambda at: {"model": "greeter", "prompt": "a", "images": [at]}),
]


def image_url(at: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": at}}


def input_image(at: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": at, "file_id": at}


def input_file(at: str) -> dict[str, Any]:
    return {"type": "input_file", "file_url": at, "filename": at}


def image_source(at: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "url": at}}


class Watched:
    """A file, and whether anybody opened it: inotify(7)."""

    OPEN, NONBLOCK = 0x20, 0x800

    def __init__(self, path: Path) -> None:
        path.write_text("secret words")
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(self.NONBLOCK)
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(path), self.OPEN) >= 0

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_no_file_and_no_address_of_a_request_is_opened(
    served_home: Lf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    watched = Watched(tmp_path / "canary.gguf")
    assert watched.path.read_text()
    assert watched.was_opened()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ways = [str(watched.path), f"file://{watched.path}", f"{address}/x"]
        # A hub would be asked there, too.
        log = ("--log", str(tmp_path / "log"))
        with serving(Lf(served_home.home, {"HF_ENDPOINT": address}), "--keep-alive", "forever", *log) as server:
            with Wire(server) as wire:
                places = [(path, body, place) for path, body in ROUTES for place in find_texts(body)]
                for (path, body, place), at in zip(places, itertools.cycle(ways)):
                    assert wire.post(path, put(body, place, at)).status in {200, 400, 404}, (path, place)
                for at in ("hf:org/canary", f"hf:{watched.path}", *ways):
                    assert wire.post("/v1/chat/completions", CHAT | {"model": at}).status == 404
                    for path, make in IMAGES:
                        assert wire.post(path, make(at)).status == 400
                    for path in ("/v1/models/", "/v1/responses/", "/"):
                        assert wire.ask("GET", f"{path}{at}").status == 404
                (tmp_path / "here").touch()
                here, nowhere = (
                    wire.post("/v1/completions", {"model": name, "prompt": "a"}).body.replace(name.encode(), b"")
                    for name in ("here", "nowhere")
                )
                assert here == nowhere  # nor can it be told which files there are
            server.stop()
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not watched.was_opened()
    watched.close()

"""A server of another version of lf, whose frames say less or more than ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localfirst.backends.base import LoadedInfo
from localfirst.conversation import Sampling
from localfirst.errors import ServerError
from localfirst.server.found import Record, make_record
from localfirst.server.served import ServedModel, There, look
from localfirst.services.serving.alike import Loading
from localfirst.worker import protocol

LOAD = {"op": "load", "id": 0, "backend": "llama.cpp", "main": "/m.gguf", "context_tokens": 1, "threads": 1}
FREE = {"memory_bytes": 1, "devices_bytes": []}
TOLD = {
    "a field more": {"loaded": [{"build": "m", "runtime": "r", "device": "d", "load": LOAD | {"new": 1}}]},
    "a field less": {"loaded": [{"build": "m", "load": LOAD}]},
    "nothing of what is free": {"loaded": []},
    "another form": [],
}


@contextmanager
def serving(body: bytes) -> Iterator[Record]:
    """A server that answers whatever it is asked by this."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield make_record(f"http://127.0.0.1:{running.server_port}/v1", None, background=False)
        running.shutdown()
        thread.join()


@pytest.fixture(params=TOLD.values(), ids=TOLD.keys())
def server(request: pytest.FixtureRequest) -> Iterator[Record]:
    told = request.param
    if told and told["loaded"]:
        told = {"loaded": [{**one, "load": json.dumps(one["load"])} for one in told["loaded"]], "free": FREE}
    with serving(json.dumps(told).encode()) as running:
        yield running


def test_what_another_version_tells_is_done_without(server: Record) -> None:
    with pytest.raises(ServerError, match="of another version of lf") as raised:
        look(server, "m", 5)
    assert raised.value.hint == "End it, and start it anew: `lf server stop`"


def test_an_answer_in_words_of_another_version_is_not_waited_for() -> None:
    info = LoadedInfo("xllamacpp", "llama.cpp", "1", 512, "CPU", "cpu", 1, None)
    there = There("m", Loading("r", "d", protocol.Load("xllamacpp", "/m.gguf", None, 1, "cpu")), info)
    with (
        serving(b'\n{"event": "never-heard-of", "id": 0}\n') as record,
        ServedModel(record, there) as model,
        pytest.raises(ServerError, match="of another version of lf"),
    ):
        list(model.answer(protocol.Complete("hi", Sampling())))

"""A server of another version of lf, whose frames say less or more than ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localfirst.errors import ServerError
from localfirst.server.found import Record, make_record
from localfirst.server.served import look

LOAD = {"op": "load", "id": 0, "backend": "llama.cpp", "main": "/m.gguf", "context_tokens": 1, "threads": 1}
FREE = {"memory_bytes": 1, "devices_bytes": []}
TOLD = {
    "a field more": {"loaded": [{"build": "m", "runtime": "r", "device": "d", "load": LOAD | {"new": 1}}]},
    "a field less": {"loaded": [{"build": "m", "load": LOAD}]},
    "nothing of what is free": {"loaded": []},
    "another form": [],
}


@pytest.fixture(params=TOLD.values(), ids=TOLD.keys())
def server(request: pytest.FixtureRequest) -> Iterator[Record]:
    told = request.param
    if told and told["loaded"]:
        told = {"loaded": [{**one, "load": json.dumps(one["load"])} for one in told["loaded"]], "free": FREE}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            body = json.dumps(told).encode()
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


def test_what_another_version_tells_is_done_without(server: Record) -> None:
    with pytest.raises(ServerError, match="of another version of lf") as raised:
        look(server, "m", 5)
    assert raised.value.hint == "End it, and start it anew: `lf server stop`"

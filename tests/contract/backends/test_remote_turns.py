"""What a server elsewhere is sent of a conversation with tools, on a server that keeps it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.conversation import Message, Sampling, ToolCall

ANSWER = b'data: {"choices": [{"delta": {"content": "Warm."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


class Keeper(BaseHTTPRequestHandler):
    """Has one model, and answers every conversation alike."""

    asked: list[dict]

    def do_GET(self) -> None:
        self._reply("application/json", b'{"data": [{"id": "m"}]}')

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._reply("text/event-stream", ANSWER)

    def _reply(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Keeper.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def test_calls_and_results_are_sent_in_openai_s_form(server: ThreadingHTTPServer) -> None:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    model = make_backend("remote").load(ModelFiles(address), LoadOptions(None, 1))
    call = ToolCall("f", '{"a": 1}', "abcdefgh1")
    talk = (
        Message("user", "hi"),
        Message("assistant", "", (call,)),
        Message("tool", "21", tool_call_id=call.id, name="f"),
    )
    *_, piece, end = model.converse(talk, GenerateRequest("", Sampling(0)))
    assert piece.text == "Warm."
    assert isinstance(end, Finished)
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert Keeper.asked[0]["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "abcdefgh1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "21", "tool_call_id": "abcdefgh1"},
    ]

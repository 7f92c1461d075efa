"""Requests with anything in any place, against a real `lf serve`: never the server's fault."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.serving import Server
from tests.unit.server.test_dialect_requests import CHAT as OLLAMA
from tests.unit.server.test_dialect_requests import COUNT, EMBED, GENERATE, MESSAGE
from tests.unit.server.test_requests import CHAT, RESPONSE, VALUES, find_places, put

CHEAP = CHAT | {"model": "caller", "stream": False, "stream_options": None, "response_format": None}
ROUTES = [
    ("/v1/chat/completions", CHEAP),
    ("/v1/completions", {"model": "greeter", "prompt": ["a", "b"], "n": 2, "stop": ["x"], "max_tokens": 2}),
    ("/v1/embeddings", {"model": "embedder", "input": ["a", "b"], "encoding_format": "base64"}),
    ("/v1/messages", MESSAGE | {"model": "caller", "max_tokens": 8, "output_config": None, "thinking": None}),
    ("/v1/messages/count_tokens", COUNT | {"model": "caller"}),
    ("/api/chat", OLLAMA | {"model": "caller"}),
    ("/api/generate", GENERATE | {"model": "greeter", "format": None}),
    ("/api/embed", EMBED | {"model": "embedder"}),
    ("/api/embeddings", {"model": "embedder", "prompt": "a", "keep_alive": -1}),
    ("/api/show", {"model": "caller", "verbose": False}),
    ("/v1/responses", RESPONSE | {"model": "caller", "stream": False, "previous_response_id": None, "text": None}),
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize(("path", "body"), ROUTES, ids=[path for path, _ in ROUTES])
def test_a_spoiled_request_is_answered_or_refused(server: Server, path: str, body: dict, data: Any) -> None:
    place = data.draw(st.sampled_from(find_places(body)[1:]))
    answer = post(server, path, json.dumps(put(body, place, data.draw(VALUES))))
    assert answer.status_code in {200, 400, 404}, answer.text
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error if path.startswith("/api/") else error["message"]
        assert path.startswith(("/api/", "/v1/messages")) or error["code"]


def test_texts_that_no_utf8_can_carry_are_answered(server: Server) -> None:
    odd = "\\ud800 \\u0000 \\u001b[31m"
    for field in ('"model": "%s"', '"model": "greeter", "%s": 1', '"model": "greeter", "stop": "%s"'):
        data = "{" + field.replace("%s", odd) + ', "messages": [{"role": "user", "content": "' + odd + '"}]}'
        answer = post(server, "/v1/chat/completions", data)
        assert answer.status_code in {200, 400, 404}, answer.text
        answer.json()


def post(server: Server, path: str, data: str) -> httpx2.Response:
    """As it is: JSON of Python's own, with Infinity, which is none."""
    headers = {"content-type": "application/json"}
    return httpx2.post(f"{server.root}{path}", content=data, headers=headers, trust_env=False, timeout=60)

"""What attackers send, byte by byte, to a real `lf serve`: pages, rebound names, smuggled bodies, endless heads."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator

import httpx2
import pytest
from tests.conftest import Lf
from tests.fixtures.serving import REPLY, Server, serving

from localfirst.server import body

ASK = json.dumps({"model": "greeter", "messages": [{"role": "user", "content": "secret words"}]}).encode()
KEY = "0123456789abcdef-key"


def make(
    server: Server, *lines: str, host: str | None = None, data: bytes = b"", first: str = "GET /v1/models"
) -> bytes:
    named = [f"Host: {host}"] if host is not None else [f"Host: 127.0.0.1:{server.port}"]
    head = [f"{first} HTTP/1.1", *named, "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + data


def post(server: Server, *lines: str, data: bytes = ASK, **more: str) -> bytes:
    length = f"Content-Length: {len(data)}"
    return make(
        server, "Content-Type: application/json", length, *lines, data=data, first="POST /v1/chat/completions", **more
    )


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


ROUTES = ["GET /v1/models", "GET /health", "GET /", "POST /v1/chat/completions", "DELETE /x", "OPTIONS /v1/models"]


@pytest.mark.parametrize("first", ROUTES)
@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example", "localhost:1"])
def test_another_name_is_refused_on_every_route(server: Server, first: str, host: str) -> None:
    answer = server.send_raw(make(server, host=host, first=first))
    assert status(answer) == 403
    assert b"host_not_allowed" in answer


@pytest.mark.parametrize("first", ROUTES)
@pytest.mark.parametrize("line", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
def test_a_page_is_refused_on_every_route_and_may_read_nothing(server: Server, first: str, line: str) -> None:
    answer = server.send_raw(make(server, line, first=first))
    assert status(answer) == 403
    assert b"access-control" not in answer.lower()


def test_the_names_of_this_machine_are_answered(server: Server) -> None:
    for host in (f"localhost:{server.port}", f"127.0.0.1:{server.port}", f"[::1]:{server.port}"):
        assert status(server.send_raw(make(server, host=host))) == 200


def test_a_simple_post_of_a_page_is_no_json(server: Server) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        sent = post(server).replace(b"Content-Type: application/json", f"Content-Type: {kind}".encode())
        assert status(server.send_raw(sent)) == 415


CHAT = "POST /v1/chat/completions HTTP/1.1|Host: HERE|Content-Type: application/json|Connection: close|"
MALFORMED = {
    "GET /v1/models HTTP/1.1|Connection: close||": {400, 403},
    "GET /v1/models HTTP/1.0||": {400, 403},
    "GET /v1/models HTTP/1.1|Host: HERE|Host: evil.example||": {400},
    "GET http://evil.example/v1/models HTTP/1.1|Host: HERE|Connection: close||": {400},
    "GET //evil.example/v1/models HTTP/1.1|Host: HERE|Connection: close||": {404},
    "GET /v1/../v1/models HTTP/1.1|Host: HERE|Connection: close||": {404},
    "GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1|Host: HERE|Connection: close||": {404},
    "GARBAGE||": {400},
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + "||": {400},
    f"GET /v1/models HTTP/1.1|Host: HERE|Connection: close|X: {'a' * 100_000}||": {400, 431},
    f"GET /{'a' * 100_000} HTTP/1.1|Host: HERE|Connection: close||": {400, 431},
    f"{CHAT}Content-Length: 5|Transfer-Encoding: chunked||0||": {400},
    f"{CHAT}Content-Length: -1||": {400},
    f"{CHAT}Content-Length: 999000000||": {413},
    "GET /x HTTP/1.1|Host: HERE|Upgrade: websocket|Connection: Upgrade|Origin: https://evil.example||": {403},
}
"""Requests, `|` for the ends of lines, and how they may be refused."""


@pytest.mark.parametrize("sent", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_requests_are_refused(server: Server, sent: str) -> None:
    lines = sent.replace("HERE", f"127.0.0.1:{server.port}").replace("|", "\r\n")
    assert status(server.send_raw(lines.encode("latin-1"), wait_s=3)) in MALFORMED[sent]
    assert server.get("/health").json() == {"status": "ok"}


def test_a_chunked_body_without_end_is_cut_off_at_the_bound(server: Server) -> None:
    head = make(server, "Content-Type: application/json", "Transfer-Encoding: chunked", first="POST /v1/completions")
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head)
        sent = 0
        try:
            while sent <= 2 * body.MAX_BYTES:
                connection.sendall(chunk)
                sent += 0x100000
        except OSError:
            pass
        assert sent <= body.MAX_BYTES + 8 * 2**20
    assert server.get("/health").status_code == 200


def test_wrong_bodies_are_refused(server: Server) -> None:
    for data in (b"", b"[]", b"nonsense", b"\xff", b"[" * 50_000, b'{"model": NaN}', b'{"a":' * 5000):
        assert status(server.send_raw(post(server, data=data))) == 400
    assert server.post("/v1/nothing", {}).status_code == 404
    assert server.get("/v1/chat/completions").status_code == 405
    assert server.get("/v1/chat/completions").json()["error"]["code"] == "method_not_allowed"
    assert server.get("/docs").json()["error"]["code"] == "not_found"


def test_every_answer_forbids_to_be_embedded_elsewhere(server: Server) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        headers = server.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-request-id"]
        assert "server" not in headers


@pytest.fixture(scope="module")
def keyed(served_home: Lf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text(KEY + "\n")
    words = ("--api-key-file", str(file), "--allow-origin", "https://app.example", "--host", "0.0.0.0")  # noqa: S104
    with serving(served_home, *words) as running:
        yield running


def test_a_key_is_needed_but_for_health(keyed: Server) -> None:
    assert keyed.get("/v1/models").status_code == 401
    assert keyed.get("/v1/models", headers={"authorization": "Bearer wrong"}).json()["error"]["code"] == (
        "invalid_api_key"
    )
    assert keyed.get("/health").status_code == 200
    assert keyed.get("/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
    assert (
        keyed.get("/v1/models", headers={"authorization": f"Bearer {KEY}", "host": "evil.example"}).status_code == 403
    )


def test_an_allowed_page_can_ask_and_read(keyed: Server) -> None:
    page = {"origin": "https://app.example"}
    asked = page | {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    answer = httpx2.options(f"{keyed.root}/v1/chat/completions", headers=asked, trust_env=False)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization"
    listed = keyed.get("/v1/models", headers=page | {"authorization": f"Bearer {KEY}"})
    assert listed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in listed.headers
    assert keyed.get("/v1/models", headers=page).status_code == 401


def test_neither_the_key_nor_what_was_said_is_logged(served_home: Lf, tmp_path) -> None:
    (tmp_path / "key").write_text(KEY)
    with serving(served_home, "--api-key-file", str(tmp_path / "key")) as server:
        shown = {"authorization": f"Bearer {KEY}"}
        asked = json.loads(ASK)
        assert server.post("/v1/chat/completions", asked, headers=shown).json()["choices"][0]["message"]["content"] == (
            REPLY
        )
        server.post("/v1/chat/completions", asked | {"tools": "secret words"}, headers=shown)
        server.get("/v1/models?secret=words", headers=shown)
        server.get("/%1b[31mred", headers=shown)
        log = server.stop()
    assert "POST /v1/chat/completions 200" in log
    assert not any(word in log for word in ("secret", KEY, "Grüße", "\x1b"))


def test_the_file_of_the_address_is_for_its_owner_alone_and_goes(served_home: Lf) -> None:
    with serving(served_home) as server:
        files = list((served_home.home / "servers").glob("*.json"))
        records = {file: json.loads(file.read_text()) for file in files}
        ((file, record),) = [one for one in records.items() if one[1]["pid"] == server.process.pid]
        assert record["url"] == server.url
        if os.name == "posix":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        server.stop()
        assert not file.exists()

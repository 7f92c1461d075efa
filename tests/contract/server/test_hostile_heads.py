"""Heads of requests that are meant to do harm, on every route there is, to a real `lf serve` with a key."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from starlette.routing import Route
from tests.conftest import Lf
from tests.fixtures.attack import Wire
from tests.fixtures.serving import Server, read_all, serving

from localfirst.server.app import make_app
from localfirst.server.found import make_record
from localfirst.server.guard import OPEN_PATHS, Rules
from localfirst.server.management import About
from localfirst.services.serving.pool import Pool

KEY = "0123456789abcdef-key"


def list_routes() -> list[tuple[str, str]]:
    """The method and path of all that is served, as the application itself has it."""
    about = About(make_record("", None, background=False), None)
    routes = make_app(Pool(), Rules(port=1), about, str)._app.router.routes
    found = [(method, route.path) for route in routes if isinstance(route, Route) for method in route.methods or ()]
    return [(method, re.sub(r"{\w+(:path)?}", "greeter", path)) for method, path in found]


ROUTES = list_routes()


@pytest.fixture(scope="module")
def keyed(served_home: Lf) -> Iterator[Server]:
    with serving(Lf(served_home.home, {"LF_API_KEY": KEY})) as running:
        yield running


@pytest.fixture
def wire(keyed: Server) -> Iterator[Wire]:
    with Wire(keyed) as connected:
        yield connected


def test_the_list_of_routes_is_whole() -> None:
    assert {("GET", "/"), ("GET", "/metrics"), ("POST", "/v1/messages"), ("POST", "/lf/v1/stop")} <= set(ROUTES)
    assert len(ROUTES) > 50


def test_no_route_answers_a_page_or_another_name_even_with_the_key(wire: Wire) -> None:
    for method, path in ROUTES:
        for harm in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec_fetch_site": "cross-site"},
            {"host": "evil.example"},
            {"host": ""},
        ):
            got = wire.ask(method, path, authorization=f"Bearer {KEY}", **harm)
            assert got.status == 403, (method, path, harm)
            assert not [name for name in got.headers if name.startswith("access-control")]


def test_no_route_but_the_page_and_health_answers_without_the_key(wire: Wire) -> None:
    for method, path in ROUTES:
        for shown in ({}, {"authorization": "Bearer wrong"}, {"x_api_key": "wrong"}, {"authorization": KEY}):
            got = wire.ask(method, path, **shown)
            if path in OPEN_PATHS:
                assert got.status == 200
            else:
                assert got.status == (403 if path.startswith("/lf/") else 401), (method, path, shown)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1.evil.example:PORT",
        "localhost:1",
        "localhost",
        "localhost.:PORT",
        "localhost@evil.example:PORT",
        "evil.example@localhost:PORT",
        "127.0.0.1:PORT/x",
        "127.0.0.1:PORT?x",
        "127.0.0.1:PORT#x",
        "127.0.0.1:PORT, evil.example",
        "127.0.0.2:PORT",
        "0.0.0.0:PORT",
        "2130706433:PORT",
        "",
    ],
)
def test_a_name_that_only_looks_like_the_servers_is_refused(keyed: Server, host: str) -> None:
    sent = f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".replace("PORT", str(keyed.port))
    assert keyed.send_raw(sent.encode()).startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/page.js/../files.py",
        "/files.py",
        "/page.js%00.py",
        "/./page.js",
        "//page.js",
        "/PAGE.JS",
        "/..\\..\\etc\\passwd",
        "/page/index.html",
        "/static/../../../run.py",
        "/index.html",
        "/file:///etc/passwd",
    ],
)
def test_no_path_leads_to_a_file_but_those_of_the_page(keyed: Server, path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{keyed.port}\r\nConnection: close\r\nX-Api-Key: {KEY}\r\n\r\n"
    got = keyed.send_raw(sent.encode())
    assert got.startswith(b"HTTP/1.1 404"), path
    assert b"root:" not in got
    assert b"import" not in got


def test_requests_that_are_sent_ahead_are_answered_in_turn(keyed: Server) -> None:
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{keyed.port}\r\nX-Api-Key: {KEY}\r\n"
    sent = [
        f"GET /health {head}\r\n",
        f"POST /api/show {head}Content-Type: application/json\r\nContent-Length: 19\r\n\r\n" + '{"model":"greeter"}',
        f"GET /nothing {head}\r\n",
        f"GET /api/version {head}Connection: close\r\n\r\n",
    ]
    got = keyed.send_raw("".join(sent).encode())
    assert [int(one) for one in re.findall(rb"HTTP/1.1 (\d+)", got)] == [200, 200, 404, 200]
    assert got.endswith(b"}")


SMUGGLING = [
    "POST /v1/completions HTTP/1.1|Host: HERE|Content-Length: 5|Transfer-Encoding: chunked||0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Transfer-Encoding: gzip, chunked||0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Transfer-Encoding: \x0bchunked||0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Content-Length: 0|Content-Length: 5||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Content-Length: +0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Content-Length : 0||",
    "POST /v1/completions HTTP/1.1|Host: HERE|Transfer-Encoding: chunked||zz||",
    "GET http://127.0.0.1/health HTTP/1.1|Host: HERE||",
    "CONNECT evil.example:443 HTTP/1.1|Host: HERE||",
    "GET /health HTTP/1.1|Host: HERE|X: a|\x00||",
    "GET /health HTTP/1.1|Host: HERE| folded: a|Host: evil.example||",
]
"""After which it is in doubt where a next request begins: `|` for the ends of lines."""


@pytest.mark.parametrize("sent", SMUGGLING, ids=range(len(SMUGGLING)))
def test_what_comes_after_a_head_in_doubt_is_never_a_request(keyed: Server, sent: str) -> None:
    after = "GET /health HTTP/1.1|Host: HERE||"
    lines = (sent + after).replace("HERE", f"127.0.0.1:{keyed.port}").replace("|", "\r\n")
    got = keyed.send_raw(lines.encode("latin-1"), wait_s=3)
    assert got.count(b"HTTP/1.1 ") == 1
    assert not got.startswith(b"HTTP/1.1 2")
    assert b'"error"' in got


def test_a_log_has_a_line_for_each_request_whatever_it_is(served_home: Lf) -> None:
    with serving(Lf(served_home.home, {"LF_API_KEY": KEY})) as server:
        with Wire(server) as wire:
            wire.ask("GET", f"/v1/models?key={KEY}&secret=words", x_api_key=KEY)
            wire.ask("GET", "/%0aGET%20/health%20200%20%1b[2J%e2%80%ae")
            wire.ask("PROPFIND", "/" + "b" * 5000)
            wire.ask("GET", "/health", authorization=f"Bearer {KEY}x", x_secret="words")
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n")
            got = b""
            while not got.endswith(b"}}"):
                got += connection.recv(65536)
            assert got.startswith(b"HTTP/1.1 403")
            connection.sendall(b"no chunk\r\n\r\n")
            assert read_all(connection, 5) == b""
        log = server.stop()
    lines = log.splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) < 150
    assert not any(word in log for word in (KEY, "secret", "words", "\x1b", "\u202e", "Traceback"))

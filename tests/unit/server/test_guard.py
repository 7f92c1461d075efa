"""Who is let in, by the head of a request alone."""

from __future__ import annotations

import re

import pytest

from localfirst.server.guard import (
    Rules,
    allow_origin,
    find_refusal,
    is_key_shown,
    is_own_name,
    read_host,
    read_origin,
)

RULES = Rules(port=12060)
OPEN = Rules(port=12060, addresses=True, hosts=frozenset({"lab.local", "llm.example:443"}))
KEY = "0123456789abcdef"


@pytest.mark.parametrize("host", ["localhost:12060", "LOCALHOST:12060", "127.0.0.1:12060", "[::1]:12060"])
def test_names_of_this_machine_are_let_in(host: str) -> None:
    assert is_own_name(host, RULES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "evil.example",
        "evil.example:12060",
        "localhost",
        "localhost:1",
        "localhost:012060x",
        "localhost.:12060",
        "localhost:12060.evil.example",
        "127.0.0.1.evil.example:12060",
        "localhost@evil.example:12060",
        "evil.example@localhost:12060",
        "127.0.0.1:12060/x",
        "127.0.0.1:12060?x",
        "127.0.0.1:12060#x",
        "127.0.0.1:12060\n",
        "127.0.0.2:12060",
        "0.0.0.0:12060",
        "192.168.1.5:12060",
        "2130706433:12060",
        "[::1]",
        "[::1%lo]:12060",
        "::1:12060",
        "localhost:\u0661\u0662\u0660\u0666\u0660",
        "loc\u0430lhost:12060",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_own_name(host, RULES)


def test_port_80_need_not_be_said() -> None:
    assert is_own_name("localhost", Rules(port=80))


def test_beyond_the_loopback_addresses_and_the_names_that_were_given_are_let_in() -> None:
    for host in ("192.168.1.5:12060", "[fe80::1]:12060", "lab.local:12060", "llm.example:443"):
        assert is_own_name(host, OPEN)
        assert not is_own_name(host, RULES)
    for host in ("evil.example:12060", "lab.local:1", "llm.example:12060", "999.1.1.1:12060"):
        assert not is_own_name(host, OPEN)


def ask(rules: Rules = RULES, method: str = "POST", path: str = "/v1/models", **headers: str) -> int | None:
    named = {"host": "localhost:12060"} | {name.replace("_", "-"): value for name, value in headers.items()}
    sent = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    refusal = find_refusal(method, path, sent, rules)
    return refusal and refusal.status


def test_pages_are_refused_whatever_they_ask() -> None:
    for origin in ("https://evil.example", "null", "https://localhost:12060", "http://localhost", "file://", ""):
        for method in ("GET", "POST", "OPTIONS"):
            assert ask(method=method, origin=origin) == 403
            assert ask(method=method, path="/health", origin=origin) == 403
    assert ask(sec_fetch_site="cross-site") == 403
    assert ask(sec_fetch_site="same-site") == 403
    assert ask(sec_fetch_site="none") is None


@pytest.mark.parametrize("host", ["localhost:12060", "127.0.0.1:12060", "[::1]:12060"])
def test_the_servers_own_page_is_let_in_where_it_is_from(host: str) -> None:
    assert ask(host=host, origin=f"http://{host}", sec_fetch_site="same-origin") is None
    for other in ("http://localhost:3000", "http://127.0.0.1:12061", "http://127.0.0.1", f"http://{host}.evil.example"):
        assert ask(host=host, origin=other) == 403
    assert ask(host=host, origin=f"http://{host}", rules=RULES._replace(key=KEY)) == 401


def test_another_name_for_this_address_is_no_own_page() -> None:
    assert ask(host="evil.example:12060", origin="http://evil.example:12060", sec_fetch_site="same-origin") == 403
    assert ask(host="localhost:12060", origin="http://127.0.0.1:12060") == 403
    assert ask(OPEN, host="192.168.1.5:12060", origin="http://192.168.1.5:12060") is None
    assert ask(OPEN, host="192.168.1.5:12060", origin="http://192.168.1.6:12060") == 403


def test_a_link_elsewhere_may_lead_to_the_page_and_to_nothing_else() -> None:
    led = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(method="GET", path="/", **led) is None
    assert ask(method="GET", path="/v1/models", **led) == 403
    assert ask(method="GET", path="/page.js", **led) == 403
    assert ask(method="POST", path="/", **led) == 403
    assert ask(method="GET", path="/", **led | {"sec_fetch_dest": "iframe"}) == 403
    assert ask(method="GET", path="/", **led | {"sec_fetch_mode": "no-cors"}) == 403
    assert ask(method="GET", path="/", origin="https://evil.example", **led) == 403
    assert ask(method="GET", path="/", host="evil.example:12060", **led) == 403


def test_a_page_that_is_allowed_is_let_in_and_only_that() -> None:
    rules = RULES._replace(origins=frozenset({"https://app.example"}))
    assert ask(rules, origin="https://app.example", sec_fetch_site="cross-site") is None
    assert ask(rules, origin="https://app.example.evil.example") == 403
    assert ask(rules, origin="HTTPS://app.example") == 403
    both = [(b"host", b"localhost:12060"), (b"origin", b"https://app.example"), (b"origin", b"https://evil.example")]
    assert find_refusal("GET", "/health", both, rules).status == 403
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert allow_origin("https://app.example", asked) == {
        "access-control-allow-origin": "https://app.example",
        "vary": "Origin",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "600",
    }
    assert allow_origin(None, asked) == {}


def test_two_hosts_two_lengths_and_whole_addresses_are_refused() -> None:
    twice = [(b"host", b"localhost:12060"), (b"host", b"localhost:12060")]
    assert find_refusal("GET", "/health", twice, RULES).status == 400
    assert find_refusal("GET", "/health", [], RULES).status == 403
    assert ask(content_length="3", transfer_encoding="chunked") == 400
    assert ask(path="http://evil.example/v1/models") == 400


def test_where_there_is_a_key_it_has_to_be_shown() -> None:
    rules = RULES._replace(key=KEY, origins=frozenset({"https://app.example"}))
    assert ask(rules, authorization=f"Bearer {KEY}") is None
    assert ask(rules, authorization=f"bearer  {KEY} ") is None
    for wrong in ("", KEY, f"Basic {KEY}", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer \xff"):
        assert ask(rules, authorization=wrong) == 401
    assert ask(rules) == 401
    for path in ("/health", "/", "/page.js"):
        assert ask(rules, path=path) is None
    assert ask(rules, path="/health/../v1/models") == 401
    assert ask(rules, method="OPTIONS", origin="https://app.example") is None
    assert ask(rules, method="OPTIONS") == 401
    assert not is_key_shown({b"authorization": [f"Bearer {KEY}", f"Bearer {KEY}"]}, KEY)
    assert not is_key_shown({b"x-api-key": [KEY, KEY]}, KEY)
    assert ask(rules, **{"x-api-key": KEY}) is None
    assert ask(rules, **{"x-api-key": KEY, "authorization": "Bearer other"}) is None
    for wrong in ("", f"Bearer {KEY}", f"{KEY}x", KEY[:-1], "\xff"):
        assert ask(rules, **{"x-api-key": wrong}) == 401


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://app.example", "https://app.example"),
        ("https://App.Example/", "https://app.example"),
        ("HTTPS://app.example:443", "https://app.example"),
        ("http://app.example:80/", "http://app.example"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_a_site_is_allowed_as_browsers_write_it(typed: str, sent: str) -> None:
    rules = Rules(port=12060, origins=frozenset({read_origin(typed)}))
    headers = [(b"host", b"localhost:12060"), (b"origin", sent.encode())]
    assert find_refusal("GET", "/v1/models", headers, rules) is None


@pytest.mark.parametrize(
    "typed", ["", "*", "null", "app.example", "https://", "https://app.example/chat", "https://a b"]
)
def test_what_no_browser_writes_is_no_site(typed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(typed))):
        read_origin(typed)


def test_a_name_of_the_server_is_read() -> None:
    assert [read_host(typed) for typed in ("Lab.local", "llm.example:443")] == ["lab.local", "llm.example:443"]
    for typed in ("", "http://lab.local", "lab.local/", "*", "lab local"):
        with pytest.raises(ValueError, match=re.escape(repr(typed))):
            read_host(typed)

"""Who may ask: looked at before anything else, on every route.

A page in a browser on this machine reaches 127.0.0.1 too, so the loopback address alone keeps nobody out. By the name
in `Host` a page that had its own name point here (DNS rebinding) is told apart; by `Origin` and `Sec-Fetch-Site` one
that is not from here: the server's own page is from where its requests go. Nothing here reads the URL: what a request
is allowed is decided by headers that a page cannot set. Source: https://fetch.spec.whatwg.org/#forbidden-request-header.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from localfirst.server import OWN_PATHS
from localfirst.server.page.files import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = frozenset({"/health", *PAGE})
"""What is answered without the key, where there is one: the page asks for it."""
OWN_SITES = frozenset({"same-origin", "none"})
"""What browsers say of requests that no other site makes."""
HEAD_MOST = 64 * 1024
"""Bytes of all headers together."""
PATH_MOST = 8 * 1024
PREFLIGHT_S = "600"
_PORTS = {"http": "80", "https": "443"}
"""What browsers leave out of an origin."""
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)/?", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII)


class Rules(NamedTuple):
    """What a server lets in."""

    port: int | None
    """`None`: it listens at a socket that is a file, which no page reaches, and where no name leads."""
    key: str | None = None
    """What a request has to show."""
    own_key: str | None = None
    """What opens every path; made anew by each server."""
    hosts: frozenset[str] = frozenset()
    """More names of this machine, lower case, each `name` (with the server's own port) or `name:port`."""
    origins: frozenset[str] = frozenset()
    """Web pages that may ask, as browsers write where they are from: `https://app.example`."""
    addresses: bool = False
    """Whether any address of a machine is a name for this one: it listens beyond the loopback. No page can make an
    address point elsewhere."""
    manage: bool = False
    """Whether clients may change what is on the disk."""


class Refusal(NamedTuple):
    """Why a request is not looked at any further."""

    status: int
    code: str
    message: str


def read_host(text: str) -> str:
    """A name of this server as its user wrote it, as `Rules` has it.

    Raises:
        ValueError: no request names a host like that, so it would let nobody in; the message is the name, quoted.
    """
    if not _HOST.fullmatch(text):
        raise ValueError(repr(text))
    return text.lower()


def read_origin(text: str) -> str:
    """The address of a site as its user wrote it, as browsers write where a page of it is from.

    Raises:
        ValueError: no browser writes one like that, or it is `null`, which any page can be; the message is it, quoted.
    """
    match = _ORIGIN.fullmatch(text)
    host = _HOST.fullmatch(match[2]) if match else None
    if match is None or host is None:
        raise ValueError(repr(text))
    scheme, name, port = match[1].lower(), host[1].lower(), host[2]
    return f"{scheme}://{name}" if port in {None, _PORTS.get(scheme)} else f"{scheme}://{name}:{port}"


def find_refusal(method: str, path: str, headers: Iterable[tuple[bytes, bytes]], rules: Rules) -> Refusal | None:
    """What is wrong with a request, by its head alone; `None`: it may go on.

    Args:
        method: as sent.
        path: as sent, percent-encoding undone.
        headers: names in lower case.
        rules: what is let in.
    """
    given: dict[bytes, list[str]] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        given.setdefault(name, []).append(value.decode("latin-1"))
    if size > HEAD_MOST or len(path) > PATH_MOST:
        return Refusal(431, "head_too_large", f"The head of a request has {HEAD_MOST:,} bytes at the most")
    return next(_find_refusals(method, path, given, rules), None)


def _find_refusals(method: str, path: str, given: Mapping[bytes, list[str]], rules: Rules) -> Iterator[Refusal]:
    if not path.startswith("/"):
        yield Refusal(400, "bad_request", "The request names a whole address where a path belongs")
    if b"content-length" in given and b"transfer-encoding" in given:
        yield Refusal(400, "bad_request", "The request says twice how long it is: Content-Length, Transfer-Encoding")
    if [text.lower() for text in given.get(b"transfer-encoding", ["chunked"])] != ["chunked"]:
        yield Refusal(400, "bad_request", "The request's body is transferred in another way than in chunks")
    hosts, origins, sites = (given.get(name, []) for name in (b"host", b"origin", b"sec-fetch-site"))
    if len(hosts) > 1:
        yield Refusal(400, "bad_request", "The request names its host twice")
    if rules.port is not None and (not hosts or not is_own_name(hosts[0], rules)):
        text = "The Host header is no name of this server; `--allow-host NAME` adds one, `NAME:80` one without a port"
        yield Refusal(403, "host_not_allowed", text)
    # Where the server's own page is from, now that the name is known to be the server's. No page reaches a socket.
    own = {f"http://{host}" for host in hosts} if rules.port is not None else set()
    is_ours = (rules.origins | own).issuperset(origins) if origins else OWN_SITES.issuperset(sites)
    if not is_ours and not _is_followed_link(method, path, given):
        yield Refusal(403, "origin_not_allowed", "Web pages may not ask this server; `--allow-origin` lets one")
    is_page = bool(origins) or not OWN_SITES.issuperset(sites)
    is_own = rules.own_key is not None and is_key_shown(given, rules.own_key)
    if path.startswith(OWN_PATHS) and (is_page or not is_own):
        yield Refusal(403, "not_for_clients", "Only the commands of `lf` manage this server")
    is_open = is_own or path in OPEN_PATHS or (method == "OPTIONS" and origins)
    if rules.key is not None and not is_open and not is_key_shown(given, rules.key):
        yield Refusal(401, "invalid_api_key", "The request shows no valid key: Authorization: Bearer KEY, or X-Api-Key")


def _is_followed_link(method: str, path: str, given: Mapping[bytes, list[str]]) -> bool:
    """Whether a link somewhere leads a window to the server's page: it is the same for all, and nobody can frame it."""
    led = given.get(b"sec-fetch-mode") == ["navigate"] and given.get(b"sec-fetch-dest") == ["document"]
    return led and method == "GET" and path == "/" and b"origin" not in given


def is_own_name(host: str, rules: Rules) -> bool:
    """Whether a `Host` header means this server."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name, port = match[1].lower(), int(match[2] or 80)
    if f"{name}:{port}" in rules.hosts:
        return True
    return port == rules.port and (
        name in LOOPBACK_NAMES or name in rules.hosts or (rules.addresses and _is_address(name))
    )


def is_key_shown(given: Mapping[bytes, list[str]], key: str) -> bool:
    """Whether a request shows the key, as a bearer or as Anthropic's clients do; how long that takes tells nothing.

    Some clients show one key in both ways. Two of the same way are none.
    """
    words = [value.partition(" ") for value in given.get(b"authorization", [])]
    bearers = [rest.strip() for scheme, _, rest in words if scheme.lower() == "bearer"]
    shown = [ways[0] for ways in (bearers, given.get(b"x-api-key", [])) if len(ways) == 1]
    return any(hmac.compare_digest(one.encode(), key.encode()) for one in shown)


def allow_origin(origin: str | None, asked: Mapping[str, str]) -> dict[str, str]:
    """The headers by which a browser lets a page of an allowed origin read the answer; none for anybody else.

    Args:
        origin: what the request said, once it was let in.
        asked: its headers, for a preflight.
    """
    if origin is None:
        return {}
    allowed = {"access-control-allow-origin": origin, "vary": "Origin"}
    if "access-control-request-method" in asked:
        allowed |= {
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": asked.get("access-control-request-headers", ""),
            "access-control-max-age": PREFLIGHT_S,
        }
    if asked.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return allowed


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

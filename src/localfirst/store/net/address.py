"""Web addresses: whose they are, and whether one may be asked at all."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLAIN = re.compile(r"(?i)https?://[^\s\\\x00-\x20\x7f]+")
_PORTS = {"http": 80, "https": 443}


def find_origin(url: str) -> tuple[str, str, int] | None:
    r"""Scheme, host and port of a web address, or `None` if it is none.

    What two parsers read differently is none: of `https://evil.example\@hub.example`, some take the one host and some
    the other, and an escaped letter of a host is read as it stands, or not.
    """
    if not _PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        usual = _PORTS[parts.scheme]
        port = parts.port or usual
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and "%" not in parts.hostname else None


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what comes: an `https` address, or an `http` one of this machine."""
    origin = find_origin(url)
    return origin is not None and (origin[0] == "https" or origin[1] in LOOPBACK)


def is_plain(url: str) -> bool:
    """Whether an address has a host and perhaps a path, and nothing more."""
    if find_origin(url) is None or not url.isprintable():
        return False
    parts = urlsplit(url)
    return parts.username is None and not parts.query and not parts.fragment


def hide_user(url: str) -> str:
    """The address without a user and a password: `http://me:secret@proxy:3128` -> `http://proxy:3128`."""
    scheme, slashes, rest = url.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"

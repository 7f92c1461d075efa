"""A small text from any address, such as a catalog; files of models go through `transfer`."""

from __future__ import annotations

from urllib.parse import urlsplit

from localfirst.errors import NetworkError, UsageError
from localfirst.store.net import network
from localfirst.store.net.address import LOOPBACK
from localfirst.store.net.wire import Limits


def fetch_text(url: str, max_bytes: int, *, limits: Limits | None = None) -> bytes:
    """The bytes at an `https` address, or at an `http` one of this machine, after redirects to `https`.

    Raises:
        UsageError: another kind of address.
        NetworkError: not reached, refused, or longer than `max_bytes`.
    """
    import httpx2

    limits = limits or Limits()
    hops = 0

    def check_hop(request: httpx2.Request) -> None:
        nonlocal hops
        _check(str(request.url), local=hops == 0)
        hops += 1

    _check(url, local=True)
    try:
        with (
            network.open_client(
                connect_s=limits.connect_s, read_s=limits.read_s, redirects=limits.redirects, check=check_hop
            ) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise NetworkError(f"{url} answers {response.status_code}", hint="Look at the address in a browser")
            content = b""
            for block in response.iter_bytes():
                content += block
                if len(content) > max_bytes:
                    raise NetworkError(f"{url} is too large", detail=f"more than {max_bytes} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise network.explain(error, url) from error
    return content


def _check(url: str, *, local: bool) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url} is not an address", detail=str(error)) from error
    if parts.scheme != "https" and not (local and parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise UsageError(f"{url} is not an https address", hint="Fetch it yourself and add the file")

"""One request for the rest of a file: redirects by hand, so that the token stays at home, and every answer checked.

What may work at another try is `Retry`; what never will is one of our errors.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import localfirst
from localfirst.errors import LfError, NetworkError, UnknownNameError
from localfirst.store.endpoint import find_origin
from localfirst.terminal import make_inert
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from localfirst.store.endpoint import Endpoint
    from localfirst.store.listing import HubFile


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a transfer is."""

    connect_s: float = 10.0
    read_s: float = 15.0
    """Longest silence of the server."""
    window_s: float = 30.0
    window_bytes: int = 30_000
    """Bytes that each window of `window_s` must bring: 1 kB/s. Slower is stuck; a new connection is tried."""
    tries: int = 6
    """Attempts in a row that bring nothing new. While bytes arrive there is no limit."""
    backoff_s: float = 0.5
    backoff_max_s: float = 10.0
    retry_after_max_s: float = 60.0
    redirects: int = 5


class Retry(Exception):  # noqa: N818 (an instruction to the caller, not a failure of its own)
    """Try again: why, and how many seconds the server asks to wait (`None`: it does not say).

    `stuck`: the few bytes that came do not count as progress.
    """

    def __init__(self, cause: str, wait_s: float | None = None, *, stuck: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.wait_s = wait_s
        self.stuck = stuck


@dataclass(frozen=True, slots=True)
class Reply:
    """An accepted answer. `start` is where its bytes belong: the offset asked for, or 0 where ranges are ignored."""

    start: int
    etag: str | None
    blocks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """A file at its hub."""

    file: HubFile
    url: str
    page: str
    """The repository's page, for people."""


class Wire:
    """A client that follows no redirect by itself and knows where the token may go."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        import httpx2

        self._endpoint = endpoint
        self._limits = limits
        try:
            # It honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
            self._client = httpx2.Client(
                follow_redirects=False,
                timeout=httpx2.Timeout(limits.read_s, connect=limits.connect_s),
                # Compressed bytes are not the bytes that the digest is of.
                headers={"Accept-Encoding": "identity", "User-Agent": f"localfirst/{localfirst.__version__}"},
            )
        except (OSError, ValueError, httpx2.InvalidURL) as error:
            raise NetworkError(
                "The network settings cannot be used",
                detail=str(error),
                hint="Check SSL_CERT_FILE, HTTPS_PROXY and NO_PROXY.",
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def open_reply(self, source: Source, offset: int, etag: str | None) -> Iterator[Reply]:
        """Ask for the bytes of a file from `offset` on.

        Raises:
            Retry: the network or the server failed in a way that may pass.
            LicenseError, UnknownNameError, NetworkError: the hub's final word.
        """
        import httpx2

        wanted = {"Range": f"bytes={offset}-", **({"If-Range": etag} if etag else {})} if offset else {}
        try:
            response = self._follow(source, wanted)
            try:
                start = _check(response, source.file, offset)
                yield Reply(start, response.headers.get("ETag"), self._read(response, source.file, start))
            finally:
                response.close()
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            text = make_inert(str(error)).strip()
            raise Retry(f"{text} ({type(error).__name__})" if text else type(error).__name__) from error

    def _follow(self, source: Source, wanted: dict[str, str]) -> httpx2.Response:
        """The first answer that is no redirect, if it has bytes."""
        url = source.url
        for hop in range(self._limits.redirects + 1):
            headers = {**wanted, **self._endpoint.headers_for(url)}
            response = self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
            if response.status_code in {200, 206}:
                return response
            response.close()
            if response.status_code not in {301, 302, 303, 307, 308}:
                raise self._explain(response, source, redirected=hop > 0)
            target = urljoin(url, response.headers.get("Location", ""))
            if find_origin(target) is None or (url.startswith("https:") and not target.startswith("https:")):
                raise Retry(f"{urlsplit(url).netloc} redirects to an address that is not safe to follow")
            url = target
        raise Retry(f"more than {self._limits.redirects} redirects")

    def _explain(self, response: httpx2.Response, source: Source, *, redirected: bool) -> Retry | LfError:
        """What an answer without bytes means.

        Source: RFC 9110 for the codes; huggingface_hub's `hf_raise_for_status` for `X-Error-Message`.
        """
        status, host = response.status_code, response.url.host
        said = f"{host} answers {status} {make_inert(response.headers.get('X-Error-Message', ''))[:300]}".rstrip()
        if status in {408, 416, 425, 429} or status >= 500:
            wait_s = _parse_retry_after(response.headers.get("Retry-After", ""))
            if wait_s is None or wait_s <= self._limits.retry_after_max_s:
                return Retry(said, wait_s)
            return NetworkError(
                f"{host} asks to wait for {format_seconds(wait_s)}",
                detail=said,
                hint="What has been fetched is kept; run the same command again then.",
            )
        if redirected:
            # The storage behind the hub: its addresses are signed for a while, so the hub is asked for a new one.
            return Retry(f"{said}; the signed address may have expired")
        if status in {401, 403}:
            return self._endpoint.refusal(source.page, said)
        if status in {404, 410}:
            return UnknownNameError(
                f"{source.file.path} is no longer in the repository at this revision",
                detail=said,
                hint=f"Look at {source.page}.",
            )
        return NetworkError(f"{host} does not serve {source.file.path}", detail=said)

    def _read(self, response: httpx2.Response, file: HubFile, start: int) -> Iterator[bytes]:
        """The body in blocks, as long as it comes fast enough."""
        host = response.url.host
        window_start, received, at_start = time.monotonic(), 0, start == 0
        for block in response.iter_raw():
            if at_start and _is_web_page(block):
                raise Retry(_portal(host))
            at_start = False
            yield block
            received += len(block)
            passed_s = time.monotonic() - window_start
            if passed_s >= self._limits.window_s:
                if received < self._limits.window_bytes:
                    said = f"{host} sent {received} bytes of {file.path} in {format_seconds(passed_s)}"
                    raise Retry(said, stuck=True)
                window_start, received = time.monotonic(), 0


def _parse_retry_after(value: str) -> float | None:
    """Seconds to wait: `120` or an HTTP date (RFC 9110, 10.2.3); `None` where it says neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _check(response: httpx2.Response, file: HubFile, offset: int) -> int:
    """Where the bytes of an answer start.

    Raises:
        Retry: they are not the bytes asked for.
    """
    headers, host = response.headers, response.url.host
    if headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Retry(_portal(host))
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Retry(f"{host} compresses what was asked for as it is")
    if response.status_code == 200:
        length = headers.get("Content-Length")
        if length is not None and length != str(file.size_bytes):
            raise Retry(f"{host} sends {length} bytes where {file.size_bytes} are expected")
        return 0
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""), re.ASCII)
    if (
        match is None
        or int(match[1]) != offset
        or int(match[2]) >= file.size_bytes
        or match[3] not in {"*", str(file.size_bytes)}
    ):
        said = make_inert(headers.get("Content-Range", "no Content-Range"))[:100]
        raise Retry(f"{host} sends another part of the file than the one asked for ({said})")
    return offset


def _portal(host: str) -> str:
    return f"{host} answers with a web page instead of the file; a login page of the network may be in between"


def _is_web_page(block: bytes) -> bool:
    return block[:512].lstrip().lower().startswith((b"<!doctype html", b"<html"))

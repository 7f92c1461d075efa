"""One request for bytes of a file: redirects by hand, so that the token stays at home, and every answer checked.

What may work at another try is `Retry`; what never will is one of our errors. By urllib3, which hands on twice as many
bytes in a second of the processor as httpx2 does: `benchmarks/http_clients.py`.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import localfirst
from localfirst.errors import LfError, NetworkError, UnknownNameError
from localfirst.store.net import network
from localfirst.store.net.address import find_origin
from localfirst.store.net.block import Received, can_pipe, read_piped
from localfirst.store.net.pools import Pools, describe
from localfirst.terminal import make_inert
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    import urllib3

    from localfirst.store.listing import Gap, HubFile
    from localfirst.store.net.block import Block
    from localfirst.store.net.endpoint import Endpoint

READ_BYTES = 2**18
_SNIFF_BYTES = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a transfer is, and how wide."""

    connect_s: float = 10.0
    read_s: float = 15.0
    """Longest silence of the server."""
    window_s: float = 30.0
    window_bytes: int = 30_000
    """Bytes that each window of `window_s` must bring: 1 kB/s. Slower is stuck; a new connection is tried."""
    tries: int = 6
    """Attempts of a connection in a row that bring nothing new. While bytes arrive there is no limit."""
    backoff_s: float = 0.5
    backoff_max_s: float = 10.0
    retry_after_max_s: float = 60.0
    redirects: int = 5
    connections: int = 4
    """Parts of a file that are fetched at once."""
    piece_min_bytes: int = 16 * 2**20
    piece_max_bytes: int = 64 * 2**20
    """What one request asks for, where a file is fetched in parts; whole blocks of the journal."""

    @property
    def silence_s(self) -> float:
        """How long nothing at all may happen: longer than every step is allowed to take."""
        return self.connect_s + 2 * self.read_s + self.window_s + self.retry_after_max_s


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
class Source:
    """A file at its hub."""

    file: HubFile
    url: str
    page: str
    """The repository's page, for people."""


class Reply:
    """An accepted answer. `start` is where its bytes belong: the offset asked for, or 0 where ranges are ignored."""

    def __init__(self, response: urllib3.BaseHTTPResponse, start: int, source: Source, limits: Limits) -> None:
        self.start = start
        self.is_range = response.status == 206
        self.etag = response.headers.get("ETag")
        self._response = response
        self._source = source
        self._limits = limits

    def read_blocks(self) -> Generator[Block, None, None]:
        """The body in blocks, as long as it comes fast enough. Write each before asking for the next.

        Raises:
            Retry: it does not, or it is a web page.
        """
        host, url = _host_of(self._response), self._response.url or self._source.url
        window_start, received, blocks = time.monotonic(), 0, self._read()
        while True:
            with _retried(url):
                block = next(blocks, None)
            if block is None:
                return
            received += block.size_bytes
            yield block
            passed_s = time.monotonic() - window_start
            if passed_s >= self._limits.window_s:
                if received < self._limits.window_bytes:
                    path = self._source.file.path
                    said = f"{host} sent {received} bytes of {path} in {format_seconds(passed_s)}"
                    raise Retry(said, stuck=True)
                window_start, received = time.monotonic(), 0

    def _read(self) -> Iterator[Block]:
        """First what urllib3 may have read ahead, and then, where it can be, past urllib3."""
        data = self._receive()
        if self.start == 0 and _is_web_page(data):
            raise Retry(_portal(_host_of(self._response)))
        if data:
            yield Received(data)
        connection, left = getattr(self._response.connection, "sock", None), self._response.length_remaining
        if left and can_pipe(connection):
            yield from read_piped(connection, left, self._limits.read_s)
            return
        while data := self._receive():
            yield Received(data)

    def _receive(self) -> bytes:
        return self._response.read1(READ_BYTES, decode_content=False)


@contextmanager
def _retried(url: str) -> Iterator[None]:
    """What the network does may pass at another try; what its settings do will not."""
    import urllib3

    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if not network.may_pass(error):
            raise network.explain(error, url) from error
        proxy = network.find_proxy(url)
        raise Retry(describe(error) + (f", through {proxy.host} of {proxy.setting}" if proxy else "")) from error


class Wire:
    """Connections to a hub and its storage, for several threads; it knows where the token may go."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        """Read the network settings.

        Raises:
            NetworkError: they cannot be used.
        """
        self._endpoint = endpoint
        self._limits = limits
        self._pools = Pools(limits.connect_s, limits.read_s, limits.connections)
        self._addresses: dict[str, str] = {}
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The hub's, for messages."""
        return self._endpoint.host

    def wake(self) -> None:
        """Let whoever reads from a connection stop."""
        with self._lock:
            still_open = tuple(self._open)
        for response in still_open:
            with suppress(ValueError, RuntimeError, OSError):  # just closed by its reader
                response.shutdown()

    def close(self) -> None:
        """Close all connections."""
        self._pools.close()

    @contextmanager
    def open_reply(self, source: Source, gap: Gap, etag: str | None) -> Iterator[Reply]:
        """Ask for bytes of a file; for the whole file without a range, which every server understands.

        Raises:
            Retry: the network or the server failed in a way that may pass.
            LicenseError, UnknownNameError, NetworkError: the hub's final word.
        """
        whole = gap.start == 0 and gap.end == source.file.size_bytes
        wanted = {} if whole else {"Range": f"bytes={gap.start}-{gap.end - 1}", **({"If-Range": etag} if etag else {})}
        response = self._follow(source, wanted)
        with self._lock:
            self._open.add(response)
        try:
            yield Reply(response, _check(response, source.file, gap), source, self._limits)
        finally:
            with self._lock:
                self._open.discard(response)
            if response.length_remaining != 0:  # unread, or of unknown length: of no use for another request
                response.close()
            response.release_conn()

    def _follow(self, source: Source, wanted: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The first answer that is no redirect, if it has bytes. Where they led to is remembered while it works."""
        url = self._addresses.get(source.url, source.url)
        redirected = url != source.url
        for _ in range(self._limits.redirects + 1):
            headers = {
                # Compressed bytes are not the bytes that the digest is of.
                "Accept-Encoding": "identity",
                "User-Agent": f"localfirst/{localfirst.__version__}",
                **wanted,
                **self._endpoint.headers_for(url),
            }
            with _retried(url):
                response = self._pools.open_response(url, headers)
            if response.status in {200, 206}:
                self._addresses[source.url] = url
                return response
            with suppress(Retry), _retried(url):
                response.drain_conn()
            response.release_conn()
            if response.status not in {301, 302, 303, 307, 308}:
                self._addresses.pop(source.url, None)
                refused = network.explain_password(url) if response.status == 407 else None
                raise refused or self._explain(response, source, url, redirected=redirected)
            target = urljoin(url, response.headers.get("Location", ""))
            if find_origin(target) is None or (url.startswith("https:") and not target.startswith("https:")):
                raise Retry(f"{urlsplit(url).netloc} redirects to an address that is not safe to follow")
            url, redirected = target, True
        raise Retry(f"more than {self._limits.redirects} redirects")

    def _explain(
        self, response: urllib3.BaseHTTPResponse, source: Source, url: str, *, redirected: bool
    ) -> Retry | LfError:
        """What an answer without bytes means.

        Source: RFC 9110 for the codes; huggingface_hub's `hf_raise_for_status` for `X-Error-Message`.
        """
        status, host = response.status, urlsplit(url).hostname
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


def _host_of(response: urllib3.BaseHTTPResponse) -> str:
    return urlsplit(response.url or "").hostname or "the server"


def _parse_retry_after(value: str) -> float | None:
    """Seconds to wait: `120` or an HTTP date (RFC 9110, 10.2.3); `None` where it says neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _check(response: urllib3.BaseHTTPResponse, file: HubFile, gap: Gap) -> int:
    """Where the bytes of an answer start.

    Raises:
        Retry: they are not the bytes asked for.
    """
    headers, host = response.headers, _host_of(response)
    if headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Retry(_portal(host))
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Retry(f"{host} compresses what was asked for as it is")
    if response.status == 200:
        length = headers.get("Content-Length")
        if length is not None and length != str(file.size_bytes):
            raise Retry(f"{host} sends {length} bytes where {file.size_bytes} are expected")
        return 0
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", headers.get("Content-Range", ""), re.ASCII)
    if (
        match is None
        or int(match[1]) != gap.start
        or int(match[2]) >= gap.end
        or match[3] not in {"*", str(file.size_bytes)}
    ):
        said = make_inert(headers.get("Content-Range", "no Content-Range"))[:100]
        raise Retry(f"{host} sends another part of the file than the one asked for ({said})")
    return gap.start


def _portal(host: str) -> str:
    return f"{host} answers with a web page instead of the file; a login page of the network may be in between"


def _is_web_page(block: bytes) -> bool:
    return block[:_SNIFF_BYTES].lstrip().lower().startswith((b"<!doctype html", b"<html"))

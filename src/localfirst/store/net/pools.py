"""Connections by urllib3 with the network's own settings: proxies, certificates, time limits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from localfirst.store.net.network import Proxy, find_proxy, make_certificates
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

_WORDS = {"IncompleteRead": "the server closed the connection too early"}


class Pools:
    """A pool of connections to each host, by the proxy that the settings name for it. For several threads."""

    def __init__(self, connect_s: float, read_s: float, connections: int) -> None:
        """Read whom to trust.

        Raises:
            NetworkError: the settings name certificates that cannot be read.
        """
        import urllib3

        self._timeout = urllib3.Timeout(connect=connect_s, read=read_s)
        self._connections = connections
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._certificates = make_certificates()

    def close(self) -> None:
        """Close the connections that nobody uses; those in use close when they are given back."""
        for manager in self._managers.values():
            manager.clear()

    def open_response(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask for an address; the answer's body is still to be read, and no redirect is followed.

        Raises:
            urllib3.exceptions.HTTPError, OSError, ValueError: it does not answer.
            NetworkError: the proxy that is named cannot be used.
        """
        return self._find_manager(url).request(
            "GET", url, headers=headers, redirect=False, retries=False, preload_content=False, timeout=self._timeout
        )

    def _find_manager(self, url: str) -> urllib3.PoolManager:
        proxy = find_proxy(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = self._make_manager(proxy)
            return self._managers[proxy]

    def _make_manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        import urllib3

        if proxy is None:
            return urllib3.PoolManager(maxsize=self._connections, ssl_context=self._certificates)
        secret = f"{proxy.user}:{proxy.password}" if proxy.user is not None else None
        return urllib3.ProxyManager(
            proxy.address,
            maxsize=self._connections,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=secret) if secret else None,
            ssl_context=self._certificates,
            proxy_ssl_context=self._certificates,
        )


def describe(error: Exception) -> str:
    """A network exception in words: the innermost one's, since urllib3 puts addresses of objects into its own."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    kind = type(cause).__name__
    text = _WORDS.get(kind) or make_inert(str(cause)).strip() or make_inert(str(error)).strip()
    return f"{text} ({kind})" if text else kind

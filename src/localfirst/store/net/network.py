"""The way out of this machine: proxies, certificates, and the client that asks for all small answers.

A pull asks a hub, its storage, and whatever they redirect to. `find_proxy` and `make_certificates` decide for each of
them alike, and `explain` says of a failure which setting has to do with it.
"""

from __future__ import annotations

import functools
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import localfirst
from localfirst.errors import NetworkError
from localfirst.store.net.address import find_origin, hide_user
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    import httpx2

CONNECT_S, READ_S, REDIRECTS = 10.0, 15.0, 5
"""How patient a question is where its asker does not say."""
_HOME = "localfirst_home"
"""Where a request carries the origin that it was first sent to."""
_TRUE = ("1", "true", "t", "yes", "y", "on")
"""What sets a switch in the environment; as for the options that read it."""
_READING = ("GET", "HEAD")

_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
"""Source: OpenSSL, `x509_vfy.h`: X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH, and of an IP."""


class Proxy(NamedTuple):
    """A proxy as the settings name it."""

    address: str
    """Without user and password, which are never shown."""
    setting: str
    """Where it is named, such as `HTTPS_PROXY`."""
    user: str | None = None
    password: str = ""

    @property
    def host(self) -> str:
        """Host and port for messages."""
        return urlsplit(self.address).netloc

    def __repr__(self) -> str:
        return f"Proxy({self.address!r}, {self.setting!r})"


def find_proxy(url: str) -> Proxy | None:
    """The proxy that an address is asked through: by the environment, or the system's settings where it has them.

    `NO_PROXY` has hosts, domains, either with a port, and networks (`10.0.0.0/8`).

    Raises:
        NetworkError: what is named is no proxy of a kind that can be used.
    """
    from urllib.request import getproxies, proxy_bypass

    origin, proxies = find_origin(url), getproxies()
    if origin is None:
        return None
    scheme, host, port = origin
    kind = scheme if proxies.get(scheme) else "all"
    value = proxies.get(kind)
    if not value or proxy_bypass(host) or proxy_bypass(f"{host}:{port}") or _is_within(host, proxies.get("no", "")):
        return None
    return _parse_proxy(value if "://" in value else f"http://{value}", _name_setting(kind))


def _is_within(host: str, networks: str) -> bool:
    """Whether a host is an address in one of the networks of a list."""
    with suppress(ValueError):
        address = ip_address(host)
        for network in networks.split(","):
            with suppress(ValueError):
                if "/" in network and address in ip_network(network.strip(), strict=False):
                    return True
    return False


def _name_setting(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's proxy settings")


def _parse_proxy(value: str, setting: str) -> Proxy:
    address = hide_user(value)
    if find_origin(value) is None:
        raise NetworkError(
            f"{setting} is not the address of a proxy that can be used",
            detail=make_inert(address)[:200],
            hint=f"Set it to the address of an HTTP proxy, such as http://proxy.example:3128, or unset {setting}.",
        )
    parts = urlsplit(value)
    user = unquote(parts.username) if parts.username else None
    return Proxy(address.rstrip("/"), setting, user, unquote(parts.password or ""))


def make_certificates() -> ssl.SSLContext:
    """Whom to trust: `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else what this system trusts.

    Raises:
        NetworkError: they name nothing, or what they name has no certificates.
    """
    import httpx2

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file and not os.path.isfile(file):  # noqa: PTH113 - a text of the environment, any text
        raise NetworkError("SSL_CERT_FILE names no file", detail=make_inert(file), hint=_hint_of("SSL_CERT_FILE"))
    if folder and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise NetworkError("SSL_CERT_DIR names no folder", detail=make_inert(folder), hint=_hint_of("SSL_CERT_DIR"))
    try:
        context = httpx2.create_ssl_context()
        if file and folder:
            context.load_verify_locations(capath=folder)
    except (OSError, ValueError) as error:
        setting = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        detail = f"{make_inert(file or folder or '')}: {error}"
        raise NetworkError(f"{setting} has no certificates to read", detail=detail, hint=_hint_of(setting)) from error
    return context


def _hint_of(setting: str) -> str:
    what = "a file with certificates (PEM)" if setting == "SSL_CERT_FILE" else "a folder of hashed certificates"
    return f"Name {what}, or unset {setting} to trust what this system trusts."


def open_client(
    *,
    connect_s: float = CONNECT_S,
    read_s: float = READ_S,
    redirects: int = REDIRECTS,
    check: Callable[[httpx2.Request], None] = lambda _: None,
) -> httpx2.Client:
    """A client for small answers. It follows redirects, takes no token along to another origin, and stays with https.

    `check` is called before each request and each hop of it, and may raise.

    Raises:
        NetworkError: the settings of certificates cannot be used. The client's own calls raise it for a proxy.
    """
    import httpx2

    certificates = make_certificates()

    class Route(httpx2.BaseTransport):
        """Sends each request the way that `find_proxy` says."""

        def __init__(self) -> None:
            self._ways: dict[Proxy | None, httpx2.HTTPTransport] = {}

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            proxy = find_proxy(str(request.url))
            if proxy not in self._ways:
                self._ways[proxy] = self._open(proxy)
            return self._ways[proxy].handle_request(request)

        def _open(self, proxy: Proxy | None) -> httpx2.HTTPTransport:
            if proxy is None:
                return httpx2.HTTPTransport(verify=certificates)
            secret = (proxy.user, proxy.password) if proxy.user is not None else None
            trusted = certificates if proxy.address.startswith("https:") else None
            through = httpx2.Proxy(proxy.address, auth=secret, ssl_context=trusted)
            return httpx2.HTTPTransport(verify=certificates, proxy=through)

        def close(self) -> None:
            for way in self._ways.values():
                way.close()

    return httpx2.Client(
        transport=Route(),
        event_hooks={"request": [check, _stay_home]},
        follow_redirects=True,
        max_redirects=redirects,
        timeout=httpx2.Timeout(read_s, connect=connect_s),
        headers={"User-Agent": f"localfirst/{localfirst.__version__}"},
    )


def _stay_home(request: httpx2.Request) -> None:
    """Before each hop of a request: what is secret, and what is not to be changed on the way, stays at its origin.

    Raises:
        NetworkError: a redirect from https to http, or of something that is sent.
    """
    here = find_origin(str(request.url))
    home = request.extensions.setdefault(_HOME, here)
    if here == home:
        return
    request.headers.pop("Authorization", None)
    if home is None or here is None or (home[0] == "https" and here[0] != "https") or request.method not in _READING:
        raise NetworkError(
            f"{home[1] if home else 'A server'} redirects to an address that is not safe to follow",
            detail=make_inert(str(request.url.copy_with(query=None, userinfo=b"")))[:200],
            hint="Something between this machine and the server may change its answers.",
        )


@functools.cache
def prepare_hub_library() -> None:
    """Switch off what huggingface_hub does unasked, and let it use our client.

    It reads the variables when it is imported, which a program that uses this package may have done before. Source:
    huggingface_hub, "Environment variables" and "Configure the HTTP backend" in its documentation, and `constants.py`.
    """
    unasked = (
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_DISABLE_XET",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    )
    os.environ |= dict.fromkeys(unasked, "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its log lines repeat a server's words as they come
    import huggingface_hub
    from huggingface_hub import constants

    for name in unasked:
        setattr(constants, name, True)

    def refuse_offline(_: httpx2.Request) -> None:
        if huggingface_hub.is_offline_mode():
            raise NetworkError("HF_HUB_OFFLINE is set", hint="Unset HF_HUB_OFFLINE to use the network.")
        if os.environ.get("LF_OFFLINE", "").lower() in _TRUE:  # a token that is about to end would be renewed by itself
            raise NetworkError("--offline (or LF_OFFLINE) forbids the network")

    huggingface_hub.set_client_factory(functools.partial(open_client, check=refuse_offline))


def may_pass(error: Exception) -> bool:
    """Whether another try may do better: not where a certificate is refused, or a proxy wants a password."""
    return _find_cause(error, "SSLCertVerificationError") is None and not _wants_password(error)


def describe(error: BaseException) -> str:
    """A network exception in words: `Connection refused`, or, where it has none, `ReadTimeout`."""
    text = re.sub(r"^\[Errno -?\d+\] ", "", make_inert(str(error)).strip())
    return text or type(error).__name__


def explain(error: Exception, url: str) -> NetworkError:
    """Why there is no answer from an address: who did not answer, the evidence, and the setting to look at."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        proxy = find_proxy(url)
    except NetworkError as wrong:
        return wrong
    untrusted = _find_cause(error, "SSLCertVerificationError")
    if untrusted is not None:
        return _explain_certificate(untrusted, host)
    if proxy is not None:
        return _explain_proxy(error, host, proxy)
    if _find_cause(error, "SSLError"):
        return NetworkError(
            f"{host} does not answer by TLS",
            detail=describe(error),
            hint="A login page of the network may be in between; open a web page to see.",
        )
    return NetworkError(
        f"{host} cannot be reached",
        detail=describe(error),
        hint="Check the connection (HTTPS_PROXY, HF_ENDPOINT), or use --offline with a model that is installed.",
    )


def explain_password(url: str) -> NetworkError | None:
    """The error for an answer of 407, which only a proxy gives; `None` where none is in use."""
    proxy = find_proxy(url)
    return _explain_password(proxy, "it answers 407") if proxy else None


def _find_causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _find_cause(error: BaseException, kind: str) -> BaseException | None:
    """The cause of a class of this name, or of one derived from it: named, so that no library is imported to ask."""
    causes = _find_causes(error)
    return next((cause for cause in causes if kind in {one.__name__ for one in type(cause).__mro__}), None)


def _explain_certificate(error: BaseException, host: str) -> NetworkError:
    code, detail = getattr(error, "verify_code", None), make_inert(str(error))
    if code in {_NOT_YET, _EXPIRED}:
        today = datetime.now(UTC).date().isoformat()
        word = "has expired" if code == _EXPIRED else "is not valid yet"
        hint = f"If today is not {today}, set this machine's clock; else only whoever runs {host} can mend it."
        return NetworkError(f"The certificate of {host} {word}", detail=detail, hint=hint)
    if code in _OTHER_NAMES:
        hint = "Check the address (HF_ENDPOINT, --mirror); a login page of the network may be in between."
        return NetworkError(f"The certificate of {host} is for another name", detail=detail, hint=hint)
    named = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    if named:
        hint = f"{' and '.join(named)} must have the certificate of the authority that signed it."
    else:
        hint = (
            "If a company's proxy is in between, name the certificate of its authority: SSL_CERT_FILE=/path/to/ca.pem"
        )
    return NetworkError(f"The certificate of {host} is not trusted", detail=detail, hint=hint)


def _wants_password(error: Exception) -> bool:
    return any(re.search(r"\b407\b", str(cause)) for cause in _find_causes(error))


def _explain_proxy(error: Exception, host: str, proxy: Proxy) -> NetworkError:
    if _wants_password(error):
        return _explain_password(proxy, describe(error))
    without = f"or list {host} in NO_PROXY to go without it."
    refusal = next((str(cause) for cause in _find_causes(error) if _REFUSED.search(str(cause))), None)
    if refusal is not None:
        hint = f"Ask whoever runs it to let {host} through, {without}"
        detail = make_inert(refusal)[:200]
        return NetworkError(f"The proxy {proxy.host} does not connect to {host}", detail=detail, hint=hint)
    if _find_cause(error, "SSLError"):
        hint = f"Check {proxy.setting}, {without}"
        return NetworkError(
            f"The proxy {proxy.host} breaks the connection to {host}", detail=describe(error), hint=hint
        )
    if any(_find_cause(error, kind) for kind in _AFTER_CONNECTING):
        hint = f"Try again later; check {proxy.setting}, {without}"
        return NetworkError(f"{host} does not answer through the proxy {proxy.host}", detail=describe(error), hint=hint)
    hint = f"Check {proxy.setting}, {without}"
    return NetworkError(f"The proxy {proxy.host} cannot be reached", detail=describe(error), hint=hint)


_AFTER_CONNECTING = ("ReadError", "ReadTimeout", "RemoteProtocolError", "ReadTimeoutError", "ProtocolError")
"""What httpx2 and urllib3 call a connection that was made and then failed."""
_REFUSED = re.compile(r"(?:^|tunnel connection failed: )[345]\d\d\b", re.IGNORECASE)
"""How a proxy's answer to CONNECT reads in httpx2, and in `http.client` below urllib3."""


def _explain_password(proxy: Proxy, detail: str) -> NetworkError:
    if proxy.user is None:
        scheme, _, rest = proxy.address.partition("://")
        hint = f"Put them into {proxy.setting}: {scheme}://USER:PASSWORD@{rest}"
        return NetworkError(f"The proxy {proxy.host} wants a user and a password", detail=detail, hint=hint)
    hint = f"Check the user and the password in {proxy.setting}; write %40 for @, %3A for : and %2F for / in them."
    return NetworkError(
        f"The proxy {proxy.host} does not accept the user and password given to it", detail=detail, hint=hint
    )

"""HTTP to a server that speaks OpenAI's dialect: questions, and answers that stream.

With the standard library only, for an engine's environment has no HTTP client in it.

What is on this machine is never asked through a proxy; redirects are never followed, so a key goes where it was meant
to go and nowhere else. A proxy tunnels for https, and is asked for the whole address for http: many tunnel to port 443
only (RFC 9110, section 9.3.6; RFC 9112, section 3.2.2).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import queue
import re
import select
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from localfirst.errors import ContextError, EngineError, LfError, NetworkError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 60.0
HEALTH_S = 5.0
POLL_S = 0.05
"""How often a cancel is looked for while a server is busy."""
OVER: dict[str, Any] = {}
"""What `Stream.wait` returns when an answer is over."""
MOST_ANSWER_BYTES = 2**26
"""Of one answer or event: more than any text, and no more than memory has room for."""
MOST_ERROR_BYTES = 64 * 1024
MOST_WAITING = 16
"""Events of an answer that nobody has taken yet: with more, the server has to wait."""
MOST_WORDS = 2000
"""Characters of a refusal."""
SHOWN_CHARACTERS = 200
"""Of what is no answer."""
TOO_LONG = (
    re.compile(r"request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<context>\d+)"),
    re.compile(r"maximum context length is (?P<context>\d+) tokens.*?\((?P<prompt>\d+) in the"),
    re.compile(r"maximum context length is (?P<context>\d+) tokens.*?contains at least (?P<prompt>\d+) input"),
    re.compile(r"input \((?P<prompt>\d+) tokens\) is longer than the model's context length \((?P<context>\d+)"),
    re.compile(r"prompt length \((?P<prompt>\d+)\).*?max_seq_len \((?P<context>\d+)\)"),
)
"""How servers say that a prompt is too long: llama.cpp, vLLM (two), SGLang, TensorRT-LLM, each in its own source."""


class Address(NamedTuple):
    """Where a server is, and what it wants to be shown."""

    host: str
    port: int
    prefix: str = ""
    secure: bool = False
    key: str | None = None

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.host in LOOPBACK

    def __str__(self) -> str:
        scheme = "https" if self.secure else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.prefix}"


def parse_address(text: str, key: str | None = None) -> Address:
    """The address of a server, `http://host:port/v1`; `/v1` may be left out.

    Raises:
        UsageError: it is none, it has a password in it, or a key would be sent where others can read it, or is none.
    """
    if not text.isascii():
        raise UsageError(f"`{text}` is not the address of a server", hint="Write it in ASCII: `xn--...`, `%..`")
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError(
            "`LF_REMOTE_KEY` has a character that no key has: a line break, or one that is not ASCII",
            hint="Set it again, to the key alone",
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"`{text}` is not the address of a server", detail=str(error)) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"`{text}` is not the address of a server", hint="Write remote:https://HOST[:PORT]/v1, or .../v1@MODEL"
        )
    if parts.username is not None:
        raise UsageError("An address must not have a name or password in it", hint="Put the key into `LF_REMOTE_KEY`")
    secure = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    address = Address(parts.hostname, port or (443 if secure else 80), prefix, secure, key)
    if key and not secure and not address.local:
        raise UsageError(
            f"The key in `LF_REMOTE_KEY` would go over the network unencrypted to {address.host}",
            hint="Use an https address, or unset `LF_REMOTE_KEY`",
        )
    return address


def ask(address: Address, route: str, body: dict[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON answer of a route: GET without a body, else POST.

    Raises:
        NetworkError: there is no answer.
        EngineError, ContextError: the server refuses.
    """
    with _explained(address), _connected(address, timeout_s) as way:
        return _read_json(_read_some(_send(way, address, route, body)), str(address))


def ask_until(
    address: Address, route: str, body: dict[str, Any], cancelled: Callable[[], bool]
) -> dict[str, Any] | None:
    """The answer of a route that takes its time; `None` where it was cancelled: then the server is hung up on.

    Raises as `ask`.
    """
    with _explained(address), _connected(address, None) as way:
        _request(way, address, route, body)
        while not select.select([way.connection.sock], [], [], POLL_S)[0]:
            if cancelled():
                return None
        answer: dict[str, Any] = _read_json(_read_some(_receive(way, address, route)), str(address))
        return answer


def is_healthy(address: Address) -> bool:
    """Whether the server says that it is ready: `/health` answers, with whatever body."""
    try:
        with _explained(address), _connected(address, HEALTH_S) as way:
            _read_some(_send(way, address, "/health", None))
    except (NetworkError, EngineError):
        return False
    return True


class Stream:
    """An answer that streams, read by a thread of its own, so that a cancel need not wait for the next event."""

    def __init__(self, address: Address, route: str, body: dict[str, Any]) -> None:
        self._events: queue.Queue[dict[str, Any] | Exception] = queue.Queue(MOST_WAITING)
        self._socket: socket.socket | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(address, route, body | {"stream": True}), daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event, `None` when there is none for a while, `OVER` after the last.

        Raises:
            NetworkError, EngineError, ContextError: as `ask`, or the answer broke off.
        """
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise event
        if (error := event.get("error")) is not None:
            raise _explain(error)
        return event

    def close(self) -> None:
        """Hang up, which servers take for a cancel. A connection that is still being made is left to its thread."""
        self._closed = True
        if (open_socket := self._socket) is None:
            return
        with contextlib.suppress(OSError):
            open_socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(queue.Empty):  # room for the one event that it may still wait to hand over
            while True:
                self._events.get_nowait()
        self._thread.join()

    def _run(self, address: Address, route: str, body: dict[str, Any]) -> None:
        try:
            with _explained(address), _connected(address, None) as way:
                self._socket = way.connection.sock  # an answer without a length takes it away from the connection
                if self._closed:
                    return
                with _send(way, address, route, body) as response:
                    for event in _read_events(response):
                        self._hand_over(event)
                self._hand_over(OVER)
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            self._hand_over(error)

    def _hand_over(self, event: dict[str, Any] | Exception) -> None:
        """Wait until there is room for an event; nobody waits for one that comes after the end."""
        if not self._closed:
            self._events.put(event)


@contextlib.contextmanager
def _explained(address: Address) -> Iterator[None]:
    """What the network throws, as an error of ours."""
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: a label of a host that is none
        raise NetworkError(
            f"{address} does not answer", detail=_say_failure(error), hint="See that it runs, and at this address"
        ) from error


class _Way(NamedTuple):
    """A connection to a server, or to the proxy before it."""

    connection: http.client.HTTPConnection
    root: str
    """What stands before a route in a request."""
    headers: dict[str, str]
    """Those for the proxy."""


def _send(way: _Way, address: Address, route: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
    _request(way, address, route, body)
    return _receive(way, address, route)


def _request(way: _Way, address: Address, route: str, body: dict[str, Any] | None) -> None:
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **way.headers}
    if address.key:
        headers["Authorization"] = f"Bearer {address.key}"
    content = None if body is None else json.dumps(body).encode("utf-8", "replace")
    way.connection.request("GET" if body is None else "POST", way.root + route, content, headers)


def _receive(way: _Way, address: Address, route: str) -> http.client.HTTPResponse:
    response = way.connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        with response:
            raise _refuse(address, route, response)
    return response


@contextlib.contextmanager
def _connected(address: Address, timeout_s: float | None) -> Iterator[_Way]:
    """The way to a server, open meanwhile; by the proxy that the environment names, where it is elsewhere."""
    timeout = TIMEOUT_S if timeout_s is None else timeout_s
    proxy = None if address.local else _find_proxy(address)
    host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
    connection: http.client.HTTPConnection
    if address.secure:
        import ssl

        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    way = _Way(connection, address.prefix, {})
    if proxy and address.secure:
        connection.set_tunnel(address.host, address.port, proxy.headers)
    elif proxy:
        way = _Way(connection, str(address), proxy.headers)
    with contextlib.closing(connection):
        connection.connect()
        if timeout_s is None:
            connection.sock.settimeout(None)  # a long prompt is silent for minutes
        yield way


class _Proxy(NamedTuple):
    """A proxy, and what it is shown."""

    host: str
    port: int
    headers: dict[str, str]


def _find_proxy(address: Address) -> _Proxy | None:
    """The proxy that the environment names for an address, `None` where it names none, or excepts the host.

    Raises:
        UsageError: what the environment names is no proxy.
    """
    import urllib.request

    if urllib.request.proxy_bypass(address.host):
        return None
    text = urllib.request.getproxies().get("https" if address.secure else "http", "")
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 80
    except ValueError as error:
        raise UsageError("The proxy that the environment names is none", detail=str(error)) from error
    if not parts.hostname:
        return None
    headers = {}
    if parts.username is not None:
        shown = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(shown.encode()).decode()}"
    return _Proxy(parts.hostname, port, headers)


def _read_events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The events of a stream up to `[DONE]`. Source: "Server-sent events", WHATWG HTML.

    Raises:
        EngineError: it breaks off before.
    """
    while raw := response.readline(MOST_ANSWER_BYTES):
        if len(raw) == MOST_ANSWER_BYTES:
            raise EngineError("The server sends an event that has no end")
        line = raw.decode("utf-8", "replace").strip()
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        yield _read_json(data.encode(), "the server")
    raise EngineError("The answer broke off")


def _read_some(response: http.client.HTTPResponse) -> bytes:
    """The body, if it is no larger than an answer can be.

    Raises:
        EngineError: it is larger.
    """
    raw = response.read(MOST_ANSWER_BYTES)
    if len(raw) == MOST_ANSWER_BYTES:
        raise EngineError("The server sends an answer that has no end")
    return raw


def _read_json(raw: bytes, who: str) -> Any:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{who} answers with something that is no JSON", detail=_show(raw)) from error
    if not isinstance(value, dict):
        raise EngineError(f"{who} answers with something unexpected", detail=_show(raw))
    return value


def _refuse(address: Address, route: str, response: http.client.HTTPResponse) -> LfError:
    if response.status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        hint = "Name it with both, as in http://name:password@proxy.example:3128"
        return NetworkError(f"The proxy before {address} wants a name and a password, or others", hint=hint)
    raw = response.read(MOST_ERROR_BYTES)
    try:
        told = json.loads(raw)
    except ValueError:
        told = raw.decode("utf-8", "replace")
    error = told.get("error", told) if isinstance(told, dict) else told
    if response.status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
        hint = "Put its key into `LF_REMOTE_KEY`"
        return EngineError(f"{address} wants a key, or another one", detail=_say(error), hint=hint)
    return _explain(error, f"{address}{route}: HTTP {response.status}")


def _explain(error: object, where: str = "") -> EngineError | ContextError:
    """A server's refusal as an error of ours."""
    words = _say(error)
    for pattern in TOO_LONG:
        if told := pattern.search(words):
            return ContextError(
                f"The prompt has {told['prompt']} tokens; the context is {told['context']}",
                detail=words,
                hint="Shorten the prompt, or use a model with a longer context",
            )
    return EngineError("The server refused a request", detail=" ".join(filter(None, (where, words))))


def _say(error: object) -> str:
    """The words of a refusal: its text where it has one (OpenAI's `message`, FastAPI's `detail`), else its JSON."""
    while isinstance(error, dict) and (inner := error.get("message") or error.get("detail")):
        error = inner
    words = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
    return words[:MOST_WORDS]


def _show(raw: bytes) -> str:
    """The beginning of what a server sent, as text."""
    return raw.decode("utf-8", "replace").strip()[:SHOWN_CHARACTERS] or "nothing"


def _say_failure(error: Exception) -> str:
    """What went wrong on the way, in the system's words where it has any."""
    told = error.strerror if isinstance(error, OSError) else None
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
        told = f"what comes is no HTTP: {str(error).strip()[:SHOWN_CHARACTERS]}"
    if isinstance(error, http.client.IncompleteRead):
        told = "the answer broke off"
    return told or str(error) or type(error).__name__

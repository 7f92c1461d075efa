"""Where a server listens, who does already, and how others find it."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from localfirst.errors import ServerError, UsageError
from localfirst.paths import server_file

if TYPE_CHECKING:
    from collections.abc import Generator

PORT = 12060
"""Of nobody else: not Ollama (11434), LM Studio (1234), llama.cpp and LocalAI (8080), vLLM (8000), Lemonade (13305),
Docker Model Runner (12434), LiteRT-LM (9379), Jan (1337, 6767), Nexa (18181), exo (52415), Foundry Local (any)."""
LOOPBACK = "127.0.0.1"
BACKLOG = 128


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Raises:
        UsageError: it is no address.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise UsageError(f"`{host}` is no address to listen on", hint=f"{LOOPBACK}, or 0.0.0.0 for all") from error


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections; port 0 takes one that is free.

    Raises:
        ServerError: the port is taken, and by whom, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Its protocol is named: only where a socket tells it, asyncio sends small segments at once. Else a stream's first
    # words wait 40 ms, until the client has acknowledged the head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # else others may take it as well
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just ended left it waiting
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise ServerError(f"Nothing can listen at {host}:{port}", detail=error.strerror) from error
        raise ServerError(
            f"Port {port} is taken by {find_holder(port) or 'another program'}",
            hint="Ask that one, or choose another: `--port N`; `--port 0` takes one that is free",
        ) from error
    listener.setblocking(False)
    return listener


def find_holder(port: int) -> str | None:
    """The program that listens on a port, and its process id; `None` where the system does not say."""
    import psutil  # noqa: PLC0415 - only where something is wrong

    with suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                words = psutil.Process(one.pid).cmdline()
                is_ours = "serve" in words and any("localfirst" in word or word.endswith("lf") for word in words)
                name = "another `lf serve`" if is_ours else psutil.Process(one.pid).name()
                return f"{name} (process {one.pid})"
    return None


@contextmanager
def announced(url: str, port: int) -> Generator[None, None, None]:
    """Let this user's programs find a server whose port nobody knows: a file says it, as long as it listens.

    Raises:
        ServerError: the file cannot be written.
    """
    file = server_file()
    record = json.dumps({"url": url, "port": port, "pid": os.getpid()})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
            written.write(record)
        fresh.replace(file)
    except OSError as error:
        raise ServerError("The server's address cannot be written down", detail=f"{file}: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            if json.loads(file.read_text(encoding="utf-8")) == json.loads(record):  # not that of one that came after
                file.unlink()

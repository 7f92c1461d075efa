"""Where a server listens, and who does already: a port, or a socket that is a file of its owner's."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from localfirst.errors import ServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

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
def listen_at(path: Path) -> Generator[socket.socket, None, None]:
    """A socket at a path, which only its owner may open; what a server that was killed left there is replaced.

    Raises:
        UsageError: this system has no such sockets.
        ServerError: something is there already, or nothing can be there.
    """
    if sys.platform == "win32":
        raise UsageError("Python has no UNIX sockets on Windows", hint="Use a port: `--port N`")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        masked = os.umask(0o177)  # nobody else may connect, not even for a moment
        try:
            listener.bind(str(path))
        finally:
            os.umask(masked)
        listener.listen(BACKLOG)
        own = path.stat()
    except OSError as error:  # a path too long for the system has no errno
        listener.close()
        raise ServerError(f"Nothing can listen at {path}", detail=error.strerror or str(error)) from error
    except ServerError:
        listener.close()
        raise
    listener.setblocking(False)
    try:
        yield listener
    finally:
        listener.close()
        with suppress(OSError):
            if os.path.samestat(path.lstat(), own):  # not that of one that came after
                path.unlink()


def _clear(path: Path) -> None:
    """Take away a socket that nobody listens at."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ServerError(f"{path} is there already, and is no socket", hint="Choose another path: `--socket PATH`")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # too many wait there: somebody listens
            pass
    raise ServerError(f"A server listens at {path} already", hint="Ask that one, or choose another: `--socket PATH`")

"""How other commands find a server that runs: by a file of its own, which it keeps locked for as long as it lives."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from localfirst import lock
from localfirst.errors import ServerError
from localfirst.paths import servers_dir

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

KEY_BYTES = 24
NO_SERVER = ServerError("No server runs here", hint="Start one: `lf server start`, or `lf serve` to see what it does")


class Record(NamedTuple):
    """A server that runs."""

    pid: int
    started_s: float
    """Seconds since 1970."""
    url: str
    """Of OpenAI's dialect, as programs on this machine reach it: `http://127.0.0.1:12060/v1`."""
    socket: str | None
    """The file that it listens at instead of a port; the name and port in `url` mean nothing then."""
    own_key: str
    """What opens its routes for `lf`: the only key in this file, made for this one run."""
    background: bool
    """Whether `lf server start` started it."""

    @property
    def place(self) -> str:
        """Where it listens, for people."""
        return self.socket or self.url


@contextmanager
def announced(record: Record) -> Generator[None, None, None]:
    """Let other commands of this user find a server, until it ends.

    Raises:
        OSError: the file cannot be written.
    """
    servers_dir().mkdir(parents=True, exist_ok=True)
    file = servers_dir() / f"{secrets.token_hex(8)}.json"
    with lock.hold(file, lambda _: None) as lease:
        os.lseek(lease.descriptor, 0, os.SEEK_SET)
        os.ftruncate(lease.descriptor, 0)
        os.write(lease.descriptor, json.dumps(record._asdict()).encode())
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes none that is open; whoever looks next does
                file.unlink()


def make_record(url: str, socket: Path | None, *, background: bool) -> Record:
    """What is said of this process."""
    return Record(
        os.getpid(), time.time(), url, str(socket) if socket else None, secrets.token_urlsafe(KEY_BYTES), background
    )


def find_servers() -> list[Record]:
    """The servers that run, those in the background first, then the newest; files of dead ones are taken away."""
    files = servers_dir().glob("*.json")
    alive = [record for record in map(_read_living, files) if record is not None]
    return sorted(alive, key=lambda record: (not record.background, -record.started_s))


def find_server() -> Record:
    """The server that commands speak to.

    Raises:
        ServerError: none runs.
    """
    for record in find_servers():
        return record
    raise NO_SERVER


def _read_living(file: Path) -> Record | None:
    """What a file says, if the process that wrote it lives: then it is locked, or shortly by who looks as we do."""
    try:
        record = Record(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # being written, or by another version
        record = None
    if lock.is_busy(file):
        import psutil  # noqa: PLC0415 - who runs a model looks for a server, mostly for none

        return record if record is not None and psutil.pid_exists(record.pid) else None
    with suppress(OSError):
        file.unlink()
    return None

"""A server that outlives the terminal it was started from: started, ended, and what it says meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from localfirst import lock
from localfirst.errors import LfError, ServerError, error_for
from localfirst.inheritance import inherit
from localfirst.paths import data_dir, require_writable, servers_dir
from localfirst.server import BACKGROUND, KEY, management
from localfirst.server.client import Client
from localfirst.server.found import Record, find_servers
from localfirst.server.logfile import open_log

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

WELL_S = 60.0
"""How long a server may take until it answers; it loads no model."""
END_S = 8.0
"""How long it may take to end: five seconds under load, as `run` sees to; then it is killed."""
_POLL_S = 0.05


class Started(NamedTuple):
    """A server that was started."""

    record: Record
    made_key: str | None
    """A key that it made."""


class Remembered(NamedTuple):
    """How a server was started, for the next time."""

    words: tuple[str, ...]
    """Options of `lf serve`."""
    folder: str
    """Where: paths among them are from there."""


def log_file() -> Path:
    """What a server in the background says."""
    return data_dir() / "logs" / "server.log"


def find_background() -> Record | None:
    """The server in the background, if one runs."""
    return next((record for record in find_servers() if record.background), None)


def start(asked: Remembered, key: str | None = None) -> Started:
    """Start a server, and wait until it answers.

    Args:
        asked: how.
        key: what clients have to show, where it is known and no option says it.

    Raises:
        ServerError: one runs already, or is being started, or this one cannot listen or does not answer.
        LfError: as `lf serve` says.
    """
    require_writable()
    with _alone():
        if (running := find_background()) is not None:
            raise ServerError(
                f"A server runs already at {running.place} (process {running.pid})",
                hint="`lf server restart` starts it anew, with other options if you name them",
            )
        process, begin_bytes = _spawn(asked, key)
        try:
            told = _wait_until_told(process, begin_bytes)
            record = _wait_until_well(process, begin_bytes)
        except BaseException:
            process.kill()
            process.wait()
            raise
        _remember(asked)
        return Started(record, told["made_key"])


def end(record: Record) -> bool:
    """End a server; whether it did so by itself."""
    process = _find_process(record)
    if process is None:  # it has ended meanwhile, or is in another container
        return True
    _ask_to_end(record)
    if _is_gone(process, END_S):
        return True
    with suppress(psutil.Error):
        process.kill()
    _is_gone(process, END_S)
    return False


def read_key(record: Record) -> str | None:
    """What its clients have to show.

    Raises:
        ServerError: it does not answer.
    """
    with Client(record) as client:
        key: str | None = client.get(management.SERVER)["key"]
        return key


def read_remembered() -> Remembered | None:
    """How the last server was started; `None` where none was."""
    try:
        said = json.loads(_memory_file().read_text(encoding="utf-8"))
        return Remembered(tuple(map(str, said["words"])), str(said["folder"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remember(asked: Remembered) -> None:
    with suppress(OSError):  # a full disk: the server runs all the same
        _memory_file().write_text(json.dumps(asked._asdict()), encoding="utf-8")


def _memory_file() -> Path:
    return data_dir() / "server.json"


@contextmanager
def _alone() -> Generator[None, None, None]:
    """Let two that start at once not both do."""
    try:
        servers_dir().mkdir(parents=True, exist_ok=True)
        with lock.try_hold(servers_dir() / "start.lock") as free:
            if not free:
                raise ServerError("A server is being started already", hint="See how it is: `lf server status`")
            yield
    except OSError as error:
        raise ServerError("The server cannot be started", detail=f"{error.filename}: {error.strerror}") from error


def _spawn(asked: Remembered, key: str | None) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and how long the log was before it."""
    shown = key or os.environ.get(KEY)
    log = open_log(log_file())
    try:
        begin_bytes = os.fstat(log).st_size
        words = [sys.executable, "-m", "localfirst", "serve", "--json", "--log", str(log_file()), *asked.words]
        process = subprocess.Popen(
            words,
            cwd=asked.folder,
            env=inherit(os.environ) | {BACKGROUND: "1"} | ({KEY: shown} if shown else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # the terminal's end is not its own
            creationflags=getattr(subprocess, "DETACHED_PROCESS", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    finally:
        os.close(log)
    return process, begin_bytes


def _wait_until_told(process: subprocess.Popen[bytes], begin_bytes: int) -> Mapping[str, Any]:
    """The first line of a server: it listens."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with process.stdout as told:
        text = told.readline()
    try:
        said: Mapping[str, Any] = json.loads(text)
    except ValueError:
        process.wait(WELL_S)
        raise _explain_end(begin_bytes) from None
    return said


def _wait_until_well(process: subprocess.Popen[bytes], begin_bytes: int) -> Record:
    deadline = time.monotonic() + WELL_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _explain_end(begin_bytes)
        if (record := find_background()) is not None:
            with Client(record) as client:
                if client.is_well():
                    return record
        time.sleep(_POLL_S)
    raise ServerError(f"The server did not answer within {WELL_S:.0f} s", detail=f"its log: {log_file()}")


def _explain_end(begin_bytes: int) -> LfError:
    """Why a server ended that was just started: the error that it wrote, else the end of its log."""
    with log_file().open("rb") as log:
        log.seek(begin_bytes)
        lines = log.read().decode("utf-8", "replace").splitlines()
    for text in reversed(lines):
        with suppress(ValueError, TypeError, KeyError):
            said = json.loads(text)["error"]
            return error_for(said["code"], said["message"], said.get("detail"), said.get("hint"))
    return ServerError("The server ended as soon as it was started", detail="\n".join(lines[-10:]) or None)


def _ask_to_end(record: Record) -> None:
    """As its own user does: by a signal, or, where there are none, by a request."""
    if sys.platform == "win32":
        with suppress(LfError), Client(record) as client:
            client.post(management.STOP, {})
    else:
        with suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)


def _find_process(record: Record) -> psutil.Process | None:
    """Its process; not one that has its number by chance, such as where the server is in another container."""
    with suppress(psutil.Error):
        process = psutil.Process(record.pid)
        if "serve" in process.cmdline():
            return process
    return None


def _is_gone(process: psutil.Process, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(_POLL_S)
                continue
        return True
    return False


def read_log(lines: int) -> Generator[str, None, None]:
    """The last lines of the log, with those of the one before it where this one is short.

    Raises:
        ServerError: there is none.
    """
    if not log_file().exists():
        raise ServerError(f"No server has been started in the background: no {log_file()}")
    before = Path(f"{log_file()}.1")
    texts = [_read_end(file) for file in (before, log_file()) if file.exists()]
    yield from deque((line for text in texts for line in text.splitlines()), maxlen=lines)


def follow_log(from_bytes: int) -> Generator[str, None, None]:
    """Lines as they are written, from a place on, for ever."""
    while True:
        size = log_file().stat().st_size if log_file().exists() else 0
        if size < from_bytes:  # it has begun anew
            from_bytes = 0
        if size > from_bytes:
            with log_file().open("rb") as log:
                log.seek(from_bytes)
                whole, end, _ = log.read().rpartition(b"\n")
            from_bytes += len(whole) + len(end)
            yield from whole.decode("utf-8", "replace").splitlines()
        time.sleep(_POLL_S * 5)


def _read_end(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")

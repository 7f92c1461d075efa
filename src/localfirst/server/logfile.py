"""A log that keeps nobody waiting: of bounded size in a file, and by a thread of its own wherever it goes."""

from __future__ import annotations

import os
import queue
import shutil
import threading
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from localfirst.errors import ServerError
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

MOST_BYTES = 8 * 2**20
"""Of the log; then it becomes `FILE.1`, in the place of the one before."""
STDERR = 2
MOST_WAITING = 1000
"""Lines that wait to be written; a pipe that nobody reads takes 64 KB, and then none."""
FLUSH_S = 0.5
"""How long the last lines may take."""


def open_log(file: Path) -> int:
    """A descriptor that writes at the end of a log, which only its owner reads.

    Raises:
        ServerError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise ServerError("The log cannot be written", detail=f"{file}: {error.strerror}") from error


def log_to(file: Path) -> Callable[[str], None]:
    """Let what this process says beside its results go to a file; returned is how to write a line there, with its time.

    Raises:
        ServerError: it cannot be written.
    """
    descriptor = open_log(file)
    os.dup2(descriptor, STDERR)  # so that what Python itself says, should it come to that, is there too
    os.close(descriptor)

    def write(text: str) -> None:
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        with suppress(OSError):  # a full disk ends no answer
            os.write(STDERR, f"{time} {make_inert(text)}\n".encode("utf-8", "replace"))
            if os.fstat(STDERR).st_size > MOST_BYTES:
                shutil.copy(file, f"{file}.1")
                os.ftruncate(STDERR, 0)  # and not renamed: Windows renames no file that is open

    return write


@contextmanager
def written_aside(write: Callable[[str], None]) -> Generator[Callable[[str], None], None, None]:
    """How to have lines written, in their order, without waiting for it; those for which there is no room are lost."""
    lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING)

    def put(line: str | None) -> None:
        with suppress(queue.Full):
            lines.put_nowait(line)

    def work() -> None:
        while (line := lines.get()) is not None:
            write(line)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield put
    finally:
        put(None)
        thread.join(FLUSH_S)

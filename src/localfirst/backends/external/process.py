"""A server program as a process: started behind a guard, waited for, and ended with all that it started."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from localfirst.backends.external.guard import CANNOT_EXECUTE
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

START_TIMEOUT_S = 3600.0
"""Compiling kernels for a new GPU, and reading 200 GB, take vLLM half an hour; nothing is waited for for ever."""
POLL_S = 0.1
REPORT_S = 1.0
"""How often the log's last line is told while a server starts."""
END_TIMEOUT_S = 8.0
TAIL_LINES = 12
TAIL_BYTES = 16 * 1024


class ServerProcess:
    """A running program; its output goes to a log in a folder of the worker's own."""

    def __init__(self, engine: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Start the program, with these variables and no others.

        Raises:
            EngineError: it cannot be started.
        """
        self.engine = engine
        self._log = folder / "log"
        guard = Path(__file__).with_name("guard.py")
        try:
            with self._log.open("wb") as log:
                self._guard = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(guard), *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineError(f"{engine} cannot be started", detail=str(error)) from error
        self._stdin = cast("IO[bytes]", self._guard.stdin)

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._guard.poll() is None

    def wait_for(self, is_ready: Callable[[], bool], report: Callable[[str, bool], None]) -> None:
        """Wait until the program answers, telling `report` its latest words.

        Until then it is given little time to end when it has to.

        Raises:
            EngineError: it ended, or did not answer in time.
        """
        begun = told_s = time.monotonic()
        while not is_ready():
            now = time.monotonic()
            if not self.alive:
                raise self.explain_end("could not load the model")
            if now - begun > START_TIMEOUT_S:
                raise EngineError(f"{self.engine} did not answer in {START_TIMEOUT_S:.0f} s", detail=self.read_tail())
            if now - told_s > REPORT_S:
                told_s = now
                last = (self.read_tail() or "").rpartition("\n")[2]
                report(f"{self.engine} is starting, {now - begun:.0f} s: {last}".rstrip(": "), False)
            time.sleep(POLL_S)
        with suppress(OSError):  # it may have died since: whoever asks it is told
            self._stdin.write(b"ready\n")
            self._stdin.flush()

    def wait_for_words(self, timeout_s: float) -> str:
        """What a program says that ends by itself.

        Raises:
            EngineError: it cannot be run, or has not ended in time.
        """
        try:
            code = self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise EngineError(f"{self.engine} has not ended in {timeout_s:.0f} s", detail=self.read_tail()) from None
        if code == CANNOT_EXECUTE:
            raise EngineError(f"{self.engine} cannot be run", detail=self.read_tail())
        return self.read_tail() or ""

    def explain_end(self, what: str) -> EngineError:
        """The error for a program that is gone: how it ended, and its last words."""
        code = self._guard.wait()
        how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        return EngineError(f"{self.engine} {what}: it ended with {how}", detail=self.read_tail())

    def has_said(self, words: Sequence[str]) -> bool:
        """Whether one of these texts is near the end of its log."""
        text = self._read_end()
        return any(one in text for one in words)

    def read_tail(self) -> str | None:
        """The last lines of its log; `None` if there are none."""
        lines = [line.rstrip() for line in self._read_end().splitlines() if line.strip()]
        return "\n".join(lines[-TAIL_LINES:]) or None

    def _read_end(self) -> str:
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End the program and whatever it started."""
        with suppress(OSError):  # what it was told lately, and did not live to read
            self._stdin.close()
        try:
            self._guard.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

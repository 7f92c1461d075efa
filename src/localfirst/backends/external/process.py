"""A server program as a process: started behind a guard, waited for, and ended with all that it started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

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
        self._stdin = cast("IO[bytes]", self._guard.stdin)

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._guard.poll() is None

    def wait_for(self, is_ready: Callable[[], bool], report: Callable[[str, bool], None]) -> None:
        """Wait until the program answers, telling `report` its latest words.

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

    def explain_end(self, what: str) -> EngineError:
        """The error for a program that is gone: how it ended, and its last words."""
        code = self._guard.wait()
        how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        return EngineError(f"{self.engine} {what}: it ended with {how}", detail=self.read_tail())

    def read_tail(self) -> str | None:
        """The last lines of its log; `None` if there are none."""
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-TAIL_LINES:]) or None

    def close(self) -> None:
        """End the program and whatever it started."""
        self._stdin.close()
        try:
            self._guard.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

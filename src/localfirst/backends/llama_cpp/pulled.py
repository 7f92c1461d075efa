"""An answer whose events wait until somebody asks for them: for who may need no more after any of them."""

from __future__ import annotations

import queue
import threading
from typing import Any

from localfirst.backends.llama_cpp.answer import explain

WAIT_S = 0.05
"""How often a cancel is looked for while the engine is busy."""


class Pulled:
    """Takes events where the engine calls back, and gives them where they are wanted."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether nobody wants more."""
        return self._stopped.is_set()

    def accept(self, event: dict[str, Any]) -> bool:
        """Take an event; whether the engine is to stop."""
        self._events.put(event)
        return self.is_over

    def fail(self, error: Exception) -> None:
        """No event comes any more; the error counts where the last one was no end."""
        self._events.put(error)
        self._over.set()

    def wait(self) -> dict[str, Any] | None:
        """The next event, or `None` when there is none for a while.

        Raises:
            EngineError: the engine failed, or ended without saying why.
        """
        try:
            event = self._events.get(timeout=WAIT_S)
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise explain(event)
        return event

    def gather(self, seconds: float) -> None:
        """Let more events come before the next one is taken, if none is there; the end is not waited for."""
        if self._events.empty():
            self._over.wait(seconds)

    def stop(self) -> None:
        """Let the engine stop at its next event."""
        self._stopped.set()

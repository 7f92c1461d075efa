"""Runs inside the builder's environment, with the standard library alone: the builder, offline, and never an orphan.

Its standard input is a pipe that nobody writes to: it ends when the process that started the builder ends, however
that dies, and then this one ends too. `--check` only imports the builder and tells its version.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from importlib.metadata import version

MODULE = "onnxruntime_genai.models.builder"
NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"})
"""Source: "Audit events table" of the Python documentation."""


def refuse_network(event: str, _: object) -> None:
    """No model needs a connection to be built: one is a mistake, or worse."""
    if event in NETWORK:
        raise OSError(f"{event}: lf builds without a network")


def end_with_parent() -> None:
    """Wait for the end of the standard input, and of everything."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Run the builder with this process's words."""
    sys.addaudithook(refuse_network)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if sys.argv[1:] == ["--check"]:
        sys.argv[1:] = []
        runpy.run_module(MODULE, run_name="checked")
        print(version("onnxruntime-genai"))  # noqa: T201 - this is a program of its own
        return
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

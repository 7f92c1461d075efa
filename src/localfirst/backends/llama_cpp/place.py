"""A place for a Unix socket that only this user can enter, in the worker's own folder, whatever that is called.

A socket's path has at most 104 bytes on macOS and 108 on Linux, with the zero at its end (`sun_path` in unix(4) and
unix(7)), and `TMPDIR` may have more. On Linux the folder is then entered by a descriptor of it, whose path is short and
means it in this process alone; elsewhere there is no such path, and the user is asked for a shorter one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from localfirst.errors import EngineError

MOST_PATH_BYTES = 103
NAME = "s.sock"
DESCRIPTORS = "/proc/self/fd"


class SocketPlace:
    """A new folder, and the `path` of a socket in it."""

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            EngineError: its path is too long for a socket.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="lf-"))
        self._descriptor: int | None = None
        self.path = str(self._folder / NAME)
        if len(os.fsencode(self.path)) > MOST_PATH_BYTES:
            self.path = self._shorten()

    def clear(self) -> None:
        """Take away a socket that nobody listens to any more."""
        Path(self.path).unlink(missing_ok=True)

    def remove(self) -> None:
        """Take away all of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _shorten(self) -> str:
        if sys.platform == "linux":
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            entry = Path(DESCRIPTORS, str(self._descriptor))
            if entry.is_dir():
                return str(entry / NAME)
        self.remove()
        raise EngineError(
            "The path of the folder for temporary files is too long for a socket in it",
            detail=self.path,
            hint="Set TMPDIR to a folder with a shorter path, such as /tmp",
        )

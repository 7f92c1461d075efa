"""Which request a worker took up last, for when it has died: one that it did not is another worker's.

It stands in memory that both processes see, for to tell the parent would wake it before each answer.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

NAME = "taken"
_NUMBER = struct.Struct("=Q")


class Taken:
    """The worker's side."""

    def __init__(self, folder: str) -> None:
        """Say in a folder of its own that there is none yet."""
        with Path(folder, NAME).open("w+b") as file:
            file.write(_NUMBER.pack(0))
            file.flush()
            self._memory = mmap.mmap(file.fileno(), _NUMBER.size)

    def note(self, request_id: int) -> None:
        """Say that a request is taken up now."""
        _NUMBER.pack_into(self._memory, 0, request_id)


def read_taken(folder: str) -> int:
    """The id of the request that a worker, which is gone, took up last; 0: none."""
    try:
        return int(_NUMBER.unpack(Path(folder, NAME).read_bytes())[0])
    except (OSError, struct.error):  # it was gone before it began
        return 0

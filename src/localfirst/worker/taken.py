"""Which requests a worker took up, for when it has died: one that it did not is another worker's.

It stands in memory that both processes see, for to tell the parent would wake it before each answer.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

NAME = "taken"
MOST = 1024
"""The newest that are remembered: far more than are answered at a time."""
_NUMBERS = struct.Struct(f"={MOST}Q")
_NUMBER = struct.Struct("=Q")


class Taken:
    """The worker's side."""

    def __init__(self, folder: str) -> None:
        """Say in a folder of its own that there is none yet."""
        with Path(folder, NAME).open("w+b") as file:
            file.write(bytes(_NUMBERS.size))
            file.flush()
            self._memory = mmap.mmap(file.fileno(), _NUMBERS.size)
        self._count = 0

    def note(self, request_id: int) -> None:
        """Say that a request is taken up now."""
        _NUMBER.pack_into(self._memory, self._count % MOST * _NUMBER.size, request_id)
        self._count += 1


def read_taken(folder: str) -> frozenset[int]:
    """The ids of the newest requests that a worker, which is gone, took up."""
    try:
        return frozenset(_NUMBERS.unpack(Path(folder, NAME).read_bytes())) - {0}
    except (OSError, struct.error):  # it was gone before it began
        return frozenset()

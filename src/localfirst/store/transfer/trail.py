"""The trail of a file's hash: the digests of its ever longer beginnings, one for each MiB, eight bytes of each.

They cost nothing while the file is hashed, and later tell which MiB is damaged: the first one after which the digest of
the beginning is another. Once that MiB is whole again, the next one can be told, and so on, in one reading of the file.
What they say is not believed blindly: the file's SHA-256 has the last word.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from localfirst.store.disk import write_atomically
from localfirst.store.transfer.journal import BLOCK_BYTES

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = "lf.trail/1"
_STEP_BYTES = 8


class Trail:
    """A hash that grows block by block, leaves a trail, and knows where it leaves a known one."""

    def __init__(self, known: bytes | None = None) -> None:
        self._hash = hashlib.sha256()
        self._known = known
        self._steps = bytearray()

    @property
    def blocks(self) -> int:
        """How many blocks were hashed."""
        return len(self._steps) // _STEP_BYTES

    @property
    def sha256(self) -> str:
        """The digest of all of them, in hexadecimal."""
        return self._hash.hexdigest()

    def add(self, block: bytes | memoryview) -> bool:
        """Hash the next block; where the known trail says that it is damaged, hash nothing and return False."""
        longer = self._hash.copy()
        longer.update(block)
        step = longer.digest()[:_STEP_BYTES]
        if self._known is not None and self._known[len(self._steps) :][:_STEP_BYTES] != step:
            return False
        self._hash = longer
        self._steps += step
        return True

    def forget(self) -> None:
        """Believe the known trail no more."""
        self._known = None

    def write(self, path: Path) -> None:
        """Keep the trail, if it has more than one step.

        Raises:
            OSError: it cannot be written.
        """
        if self.blocks > 1:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, f"{_SCHEMA}\n{self._steps.hex()}\n")


def find_trail(folder: Path, sha256: str) -> Path:
    """Where the trail of a file lies."""
    return folder / f"{sha256}.trail"


def read_trail(path: Path, size_bytes: int) -> bytes | None:
    """The trail of a file of this size; `None` where there is none, or it is damaged."""
    try:
        schema, steps, *_ = path.read_text(encoding="ascii").splitlines()
        known = bytes.fromhex(steps)
    except (OSError, ValueError):
        return None
    fits = len(known) == _STEP_BYTES * -(-size_bytes // BLOCK_BYTES)
    return known if schema == _SCHEMA and fits else None

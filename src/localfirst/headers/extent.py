"""A part of a file that is read in place: never beyond its end, and a few blocks in memory at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from struct import Struct

BLOCK_BYTES = 2**16
KEPT_BLOCKS = 64
MOST_BYTES = 16 * 2**20
"""What one reading may give: no text or table in a model's description comes near."""
MOST_READINGS = 1_500_000
"""What the description of one file may take, some 3 s."""


@contextmanager
def open_extent(path: Path, what: str) -> Iterator[Extent]:
    """The whole of a regular file; `what` it should be is told in refusals.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        yield Extent(_Blocks(file), 0, size, f"{path.name} is no sound {what}")


class Extent:
    """Bytes from `start`, `size_bytes` of them. Every position is counted from its beginning."""

    def __init__(self, blocks: _Blocks, start: int, size_bytes: int, failure: str) -> None:
        self.size_bytes = size_bytes
        self._blocks = blocks
        self._start = start
        self._failure = failure

    def refuse(self, problem: str, at: int = 0) -> NoReturn:
        """Say what is wrong, and where.

        Raises:
            ModelFileError: always.
        """
        raise ModelFileError(
            f"{self._failure}: {problem}", detail=f"at byte {self._start + at:,}", hint="Download the file again."
        )

    def read(self, at: int, length: int, what: str = "a part") -> bytes:
        """So many bytes from a position.

        Raises:
            ModelFileError: they do not lie within.
        """
        if at < 0 or length < 0 or at + length > self.size_bytes:
            self.refuse(f"{what} of {length:,} bytes lies beyond its end", at)
        if length > MOST_BYTES:
            self.refuse(f"{what} of {length:,} bytes is too long to be a description", at)
        data = self._blocks.read(self._start + at, length)
        if data is None:
            self.refuse("it has more parts than any model has", at)
        if len(data) < length:
            self.refuse(f"{what} is cut off", at)
        return data

    def read_number(self, at: int, layout: Struct, what: str = "a number") -> int:
        """A number of a fixed layout.

        Raises:
            ModelFileError: it does not lie within.
        """
        number: int = layout.unpack(self.read(at, layout.size, what))[0]
        return number

    def part(self, at: int, size_bytes: int, what: str = "a part") -> Extent:
        """A part of it.

        Raises:
            ModelFileError: it does not lie within.
        """
        if at < 0 or size_bytes < 0 or at + size_bytes > self.size_bytes:
            self.refuse(f"{what} of {size_bytes:,} bytes from {at:,} lies beyond its end", at)
        return Extent(self._blocks, self._start + at, size_bytes, self._failure)


class Cursor:
    """An extent as a file that is read on from a position, for readers that want one."""

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._at = 0

    def seek(self, position: int, /) -> int:
        """Go on from there."""
        self._at = position
        return position

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer at the end."""
        data = self._extent.read(self._at, max(0, min(size, self._extent.size_bytes - self._at)))
        self._at += len(data)
        return data


class _Blocks:
    """A file's latest blocks: descriptions refer back and forth over short distances."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._kept: dict[int, bytes] = {}
        self._left = MOST_READINGS

    def read(self, at: int, length: int) -> bytes | None:
        """The bytes, fewer at the file's end; `None` after too many readings."""
        self._left -= 1
        if self._left < 0:
            return None
        number, start = divmod(at, BLOCK_BYTES)
        if start + length <= BLOCK_BYTES:
            return self._find(number)[start : start + length]
        self._file.seek(at)
        return self._file.read(length)

    def _find(self, number: int) -> bytes:
        block = self._kept.get(number)
        if block is None:
            self._file.seek(number * BLOCK_BYTES)
            block = self._file.read(BLOCK_BYTES)
            if len(self._kept) >= KEPT_BLOCKS:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = block
        return block

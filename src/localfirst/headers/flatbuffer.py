"""Read tables of FlatBuffers in place. Source of the encoding: flatbuffers.dev, "FlatBuffer Internals"."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.headers.extent import Extent

U8, U16, U32, U64 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q")
I32 = Struct("<i")
_REFERENCE_BYTES = 4


class Table:
    """A table at a position. Fields are asked for by their index in the schema; absent ones are `None` or empty."""

    def __init__(self, buffer: Extent, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._fields = at - buffer.read_number(at, I32, "a table")
        self._fields_bytes = buffer.read_number(self._fields, U16, "a table's fields")

    def _find(self, field: int) -> int | None:
        """Where a field's value lies."""
        entry = 4 + 2 * field
        if entry + 2 > self._fields_bytes:
            return None
        offset = self._buffer.read_number(self._fields + entry, U16)
        return self._at + offset if offset else None

    def _follow(self, field: int) -> int | None:
        at = self._find(field)
        return None if at is None else at + self._buffer.read_number(at, U32, "a reference")

    def number(self, field: int, layout: Struct) -> int | None:
        """A scalar, or `None` where it has its default."""
        at = self._find(field)
        return None if at is None else self._buffer.read_number(at, layout)

    def text(self, field: int) -> str | None:
        """A string."""
        at = self._follow(field)
        if at is None:
            return None
        length = self._buffer.read_number(at, U32, "a text's length")
        return self._buffer.read(at + 4, length, "a text").decode("utf-8", "replace")

    def table(self, field: int) -> Table | None:
        """Another table."""
        at = self._follow(field)
        return None if at is None else Table(self._buffer, at)

    def length(self, field: int) -> int:
        """Items of a vector, in items; 0 for none."""
        at = self._follow(field)
        return 0 if at is None else self._buffer.read_number(at, U32, "a list's length")

    def numbers(self, field: int, layout: Struct) -> tuple[int, ...]:
        """A vector of scalars."""
        at = self._follow(field)
        if at is None:
            return ()
        count = self._buffer.read_number(at, U32, "a list's length")
        data = self._buffer.read(at + 4, count * layout.size, "a list")
        return tuple(number for (number,) in layout.iter_unpack(data))

    def tables(self, field: int) -> Iterator[Table]:
        """A vector of tables."""
        at = self._follow(field)
        if at is None:
            return
        count = self._buffer.read_number(at, U32, "a list's length")
        if count * _REFERENCE_BYTES > self._buffer.size_bytes:
            self._buffer.refuse(f"a list claims {count:,} items", at)
        for place in range(at + 4, at + 4 + count * _REFERENCE_BYTES, _REFERENCE_BYTES):
            yield Table(self._buffer, place + self._buffer.read_number(place, U32, "a reference"))


def read_root(buffer: Extent) -> Table:
    """The table that a buffer is.

    Raises:
        ModelFileError: it is none; so do all methods of a table whose parts do not lie within the buffer.
    """
    return Table(buffer, buffer.read_number(0, U32, "a reference"))

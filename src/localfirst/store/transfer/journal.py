"""Which bytes of an unfinished file are there: a small table beside it.

A fixed header, then eight bytes for each MiB of the file: how many of its bytes have been written, from its start, and
how many of those were durable when that was said. A killed process loses nothing, since the system still has what it
wrote: the first number counts. After a power cut, which may keep any part of what was written last, the second does.
Whether the computer was started anew since is told by an identifier that the system makes at each start.
"""

from __future__ import annotations

import json
import os
import re
import struct
import threading
from pathlib import Path

from localfirst.store.disk import read_all, sync_file, write_all
from localfirst.store.listing import Gap

BLOCK_BYTES = 2**20
SCHEMA = "lf.journal/1"
_HEADER_BYTES = 512
_ENTRY = struct.Struct("<II")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Source: Linux, random(4). Elsewhere only what is durable counts."""


class Journal:
    """The table of one file, in memory and on the disk. Safe to use from several threads."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Read the table at `path`, or begin an empty one where there is none for a file of this size.

        Raises:
            OSError: it cannot be read or written.
        """
        self.path = path
        self.size_bytes = size_bytes
        self.etag: str | None = None
        self.lengths = [0] * -(-size_bytes // BLOCK_BYTES)
        """Of each block, how many bytes are there."""
        self._durable = list(self.lengths)
        self._changed: set[int] = set()
        self._boot = read_boot_id()
        self._lock = threading.Lock()
        self._first_gap = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            self.found = self._load()
            """Whether there was one."""
            if not self.found:
                self.clear()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; whoever still marks something is refused."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _load(self) -> bool:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        content = read_all(self._descriptor, _HEADER_BYTES + _ENTRY.size * len(self.lengths))
        header = _parse_header(content[:_HEADER_BYTES])
        if header.get("size_bytes") != self.size_bytes or header.get("block_bytes") != BLOCK_BYTES:
            return False
        etag = header.get("etag")
        self.etag = etag if isinstance(etag, str) and is_strong(etag) else None
        same_boot = self._boot is not None and header.get("boot") == self._boot
        entries = content[_HEADER_BYTES:]
        entries = entries[: len(entries) - len(entries) % _ENTRY.size]  # an entry that was cut off is none
        for index, (written, durable) in enumerate(_ENTRY.iter_unpack(entries)):
            self._durable[index] = min(durable, self._size_of(index))
            self.lengths[index] = min(written, self._size_of(index)) if same_boot else self._durable[index]
        if not same_boot:
            self._write_all()
        return True

    def clear(self) -> None:
        """Begin again: no byte is there, and nothing is known of their server."""
        self.fill(0)
        self.remember_etag(None)

    def fill(self, size: int) -> None:
        """Say that the first `size` bytes are there, and durable, and no others."""
        with self._lock:
            self.lengths = [max(0, min(self._size_of(i), size - i * BLOCK_BYTES)) for i in range(len(self.lengths))]
            self._durable = list(self.lengths)
            self._changed.clear()
            self._first_gap = 0
            self._write_all()

    def _write_all(self) -> None:
        self._write_header()
        self._write_at(_HEADER_BYTES, b"".join(map(_ENTRY.pack, self.lengths, self._durable)))

    def remember_etag(self, etag: str | None) -> None:
        """Keep the entity tag of the answer that the bytes come from, if it is one that promises the same bytes."""
        with self._lock:
            self.etag = etag if etag and is_strong(etag) else None
            self._write_header()

    def _write_header(self) -> None:
        record = {
            "schema": SCHEMA, "size_bytes": self.size_bytes, "block_bytes": BLOCK_BYTES, "boot": self._boot,
            "etag": self.etag,
        }  # fmt: skip
        self._write_at(0, json.dumps(record).encode().ljust(_HEADER_BYTES - 1) + b"\n")

    def mark(self, index: int, length: int) -> None:
        """Say how much of a block is there, once it has been written; less than before where it turned out wrong."""
        with self._lock:
            self.lengths[index] = length
            self._durable[index] = min(self._durable[index], length)
            self._changed.add(index)
            self._first_gap = min(self._first_gap, index)
            self._write_entry(index)

    def take_changed(self) -> dict[int, int]:
        """The blocks that were marked since the last time, with their lengths: what is to be made durable now."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return {index: self.lengths[index] for index in changed}

    def mark_durable(self, lengths: dict[int, int]) -> None:
        """Say that these bytes are durable, and make that durable.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            for index, length in lengths.items():
                self._durable[index] = min(length, self.lengths[index])
                self._write_entry(index)
        sync_file(self._descriptor)

    def _write_entry(self, index: int) -> None:
        entry = _ENTRY.pack(self.lengths[index], self._durable[index])
        self._write_at(_HEADER_BYTES + _ENTRY.size * index, entry)

    def _write_at(self, offset: int, data: bytes) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        write_all(self._descriptor, data)

    def _size_of(self, index: int) -> int:
        return min(BLOCK_BYTES, self.size_bytes - index * BLOCK_BYTES)

    @property
    def present_bytes(self) -> int:
        """How many bytes are there."""
        return sum(self.lengths)

    @property
    def frontier(self) -> int:
        """Where the first missing byte is; the file's size if there is none."""
        with self._lock:
            while self._first_gap < len(self.lengths):
                length = self.lengths[self._first_gap]
                if length < self._size_of(self._first_gap):
                    return self._first_gap * BLOCK_BYTES + length
                self._first_gap += 1
            return self.size_bytes

    @property
    def end(self) -> int:
        """Where the last byte that is there ends."""
        return max((index * BLOCK_BYTES + length for index, length in enumerate(self.lengths) if length), default=0)

    def find_gaps(self) -> tuple[Gap, ...]:
        """What is missing, in order; gaps that touch are one."""
        gaps: list[Gap] = []
        for index, length in enumerate(self.lengths):
            start, end = index * BLOCK_BYTES + length, index * BLOCK_BYTES + self._size_of(index)
            if start == end:
                continue
            if gaps and gaps[-1].end == start:
                start = gaps.pop().start
            gaps.append(Gap(start, end))
        return tuple(gaps)


def is_strong(etag: str) -> bool:
    """Whether an entity tag promises the same bytes; a weak one does not (RFC 9110, 8.8.3 and 13.1.5).

    One with a backslash or longer than any server's is not kept: it would not fit into the header.
    """
    return re.fullmatch(r'"[!#-\[\]-~]{1,200}"', etag) is not None


def read_boot_id() -> str | None:
    """What tells this start of the computer from every other; `None` where the system has nothing of the kind."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()[:64] or None
    except (OSError, ValueError):
        return None


def _parse_header(line: bytes) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("schema") == SCHEMA else {}

"""A file that is being fetched: a stable `.part` that later processes go on with, hashed while it grows."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from localfirst.store.disk import READ_BYTES, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.store.listing import HubFile
    from localfirst.store.progress import Meter

_ETAG_MAX = 200


class Part:
    """The growing bytes of one file. `offset` counts bytes that are written and hashed; never more than the size."""

    def __init__(self, folder: Path, file: HubFile, meter: Meter) -> None:
        # Named by content where that is known, so that the same bytes are recognised whatever they are called.
        key = file.sha256 or "path-" + hashlib.sha256(file.path.encode()).hexdigest()
        self.file = file
        self.offset = 0
        self._path = folder / f"{key}.part"
        self._etag_path = folder / f"{key}.etag"
        self._meter = meter
        self._descriptor = -1
        self._start_hashes()

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._path, flags, 0o644)
        try:
            self._adopt()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _start_hashes(self) -> None:
        self._sha256 = hashlib.sha256()
        # Source: git's object format, "blob <size>\0<content>"; what a hub lists for files outside large storage.
        self._git = hashlib.sha1(f"blob {self.file.size_bytes}\0".encode(), usedforsecurity=False)

    def _hash(self, block: bytes | memoryview) -> None:
        self._sha256.update(block)
        if self.file.git_sha1 is not None:
            self._git.update(block)
        self.offset += len(block)
        self._meter.add(len(block), self.file.path)

    def _adopt(self) -> None:
        """Hash what an earlier process left; what is longer than the file can be is thrown away."""
        if os.fstat(self._descriptor).st_size > self.file.size_bytes:
            self.reset()
        while block := os.read(self._descriptor, READ_BYTES):
            self._hash(block)

    @property
    def is_complete(self) -> bool:
        """All bytes are there; whether they are right is `find_problem`'s answer."""
        return self.offset == self.file.size_bytes

    @property
    def etag(self) -> str | None:
        """The entity tag of the answer that the first bytes came from."""
        try:
            return self._etag_path.read_text(encoding="ascii")[:_ETAG_MAX] or None
        except (OSError, ValueError):
            return None

    def remember_etag(self, etag: str | None) -> None:
        """Keep a strong entity tag for `If-Range`; a weak one says nothing about bytes (RFC 9110, 13.1.5)."""
        if etag and etag.isascii() and etag.isprintable() and etag.startswith('"') and len(etag) <= _ETAG_MAX:
            self._etag_path.write_text(etag, encoding="ascii")
        else:
            self._etag_path.unlink(missing_ok=True)

    def append(self, block: bytes) -> None:
        """Add bytes at the end; those beyond the file's size are dropped.

        Raises:
            OSError: they cannot be written. The part then ends where `offset` says.
        """
        view = memoryview(block)[: self.file.size_bytes - self.offset]
        try:
            while view:
                written = os.write(self._descriptor, view)
                self._hash(view[:written])
                view = view[written:]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.offset)
            raise

    def reset(self) -> None:
        """Throw the bytes away and begin again."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._meter.add(-self.offset, self.file.path)
        self.offset = 0
        self._etag_path.unlink(missing_ok=True)
        self._start_hashes()

    def find_problem(self) -> str | None:
        """Why the complete bytes are not the file that was announced, with both digests, or `None`."""
        announced, found = self.file.sha256, self._sha256.hexdigest()
        if announced is None:
            announced, found = self.file.git_sha1, self._git.hexdigest()
        return f"announced: {announced}\nreceived:  {found}" if announced not in {None, found} else None

    def finish(self, target: Path) -> str:
        """Make the bytes durable and give them their name. Returns their SHA-256."""
        os.fsync(self._descriptor)
        self._close()  # Windows renames and removes no open file
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        sync_folder(target.parent)
        self._etag_path.unlink(missing_ok=True)
        return self._sha256.hexdigest()

    def discard(self) -> None:
        """Keep nothing."""
        self._close()
        self._path.unlink(missing_ok=True)
        self._etag_path.unlink(missing_ok=True)

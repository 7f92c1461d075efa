"""A file that is being fetched: its bytes where they belong, a journal beside them, hashed as they become whole.

`<digest>.part` has the file's full size from the beginning, so that a disk that is too small says so at once; the
journal tells what of it is there. Several threads write, each with a `Writer` of its own; one hashes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from localfirst.store.disk import read_into, start_git_hash, sync_file, sync_folder, write_all
from localfirst.store.transfer.journal import BLOCK_BYTES, Journal
from localfirst.store.transfer.trail import Trail, find_trail, read_trail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localfirst.store.listing import Gap, HubFile
    from localfirst.store.net.block import Block
    from localfirst.store.progress import Meter

SYNC_BYTES = 128 * 2**20
"""So much is written before it is made durable: what a power cut can cost."""
_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class Part:
    """The bytes of one file that are there. Use it as a context manager, which opens, checks and closes it."""

    def __init__(self, folder: Path, file: HubFile, meter: Meter) -> None:
        self.file = file
        self.path = find_part(folder, file)
        self._journal_path = self.path.with_suffix(".journal")
        self._trail_path = self.path.with_suffix(".trail")
        self._meter = meter
        self._descriptor = -1
        self._buffer = memoryview(bytearray(BLOCK_BYTES))
        self._unsynced_bytes = 0
        self._counting = threading.Lock()
        self._doubted: set[int] = set()
        self._doubts = 0

    def __enter__(self) -> Self:
        self._journal = Journal(self._journal_path, self.file.size_bytes)
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            self._reader = io.FileIO(self._descriptor, closefd=False)
            self._adopt()
            self._allocate()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._journal.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _adopt(self) -> None:
        """Take what an earlier process left, and hash what of it is whole from the start.

        Without a journal the bytes are a beginning: earlier versions of this program wrote them so.
        """
        if self.file.sha256 is None and self.file.git_sha1 is None:
            self._journal.clear()  # nothing would tell whether these bytes are right
        elif not self._journal.found:
            self._journal.fill(min(os.fstat(self._descriptor).st_size, self.file.size_bytes))
        self.inherited_bytes = self._journal.present_bytes
        self._meter.found(self.inherited_bytes, self.file.path)
        self._start_hashes(read_trail(self._trail_path, self.file.size_bytes))
        while self.hash_ready():
            self._meter.found(0, self.file.path)

    def _start_hashes(self, known: bytes | None = None) -> None:
        self._trail = Trail(known)
        self._git = start_git_hash(self.file.size_bytes)

    def _allocate(self) -> None:
        """Take all the space that the file needs, where the system can; where it cannot, only its size is set."""
        if os.fstat(self._descriptor).st_size == self.file.size_bytes:
            return
        os.ftruncate(self._descriptor, self.file.size_bytes)
        if sys.platform == "linux" and self.file.size_bytes:
            try:
                os.posix_fallocate(self._descriptor, 0, self.file.size_bytes)
            except OSError as error:
                if error.errno not in _NO_FALLOCATE:
                    os.ftruncate(self._descriptor, self._journal.end)  # keep no space that nobody can use
                    raise

    @property
    def etag(self) -> str | None:
        """The entity tag of the answer that the first bytes came from."""
        return self._journal.etag

    def remember_etag(self, etag: str | None) -> None:
        """Keep an entity tag for `If-Range`."""
        self._journal.remember_etag(etag)

    @property
    def present_bytes(self) -> int:
        """How many bytes are there."""
        return self._journal.present_bytes

    def find_gaps(self) -> tuple[Gap, ...]:
        """What is missing."""
        return self._journal.find_gaps()

    def open_writer(self, gap: Gap) -> Writer:
        """A place to write what fills a gap of the journal.

        Raises:
            OSError: the file cannot be opened.
        """
        return Writer(self, self._journal, gap)

    def count(self, size: int) -> None:
        """Hear of bytes that were written."""
        with self._counting:
            self._unsynced_bytes += size
        self._meter.add(size, self.file.path)

    def hash_ready(self) -> bool:
        """Hash the next block, if it is there; whether it was.

        One that the trail of the file, as it once was, says is damaged is a gap again. So is no block twice.
        """
        index = self._trail.blocks
        start = index * BLOCK_BYTES
        end = min(start + BLOCK_BYTES, self.file.size_bytes)
        if start >= self.file.size_bytes or self._journal.frontier < end:
            return False
        block = self._buffer[: end - start]
        self._reader.seek(start)
        if read_into(self._reader, block) < len(block):  # the file is shorter than its journal says
            self._doubt(index)
        elif self._trail.add(block):
            if self.file.git_sha1 is not None:
                self._git.update(block)
        elif index in self._doubted:
            self._trail.forget()
        else:
            self._doubt(index)
        return True

    def _doubt(self, index: int) -> None:
        """Make a damaged block a gap; after another damaged one, ever more of what follows, to ask for it at once."""
        self._doubts = 2 * self._doubts if index - 1 in self._doubted else 1
        for following in range(index, min(index + self._doubts, len(self._journal.lengths))):
            self._meter.add(-self._journal.lengths[following], self.file.path)
            self._journal.mark(following, 0)
            self._doubted.add(following)

    def sync(self, *, at_least: int = SYNC_BYTES) -> None:
        """Make durable what was written, and then what the journal says of it, if it is so many bytes.

        Raises:
            OSError: it cannot be written.
        """
        if self._unsynced_bytes < at_least:
            return
        with self._counting:
            self._unsynced_bytes = 0
        written = self._journal.take_changed()
        sync_file(self._descriptor)
        self._journal.mark_durable(written)

    def reset(self) -> None:
        """Throw the bytes away and begin again."""
        self._meter.add(-self._journal.present_bytes, self.file.path)
        self._journal.clear()
        self._start_hashes()

    def find_problem(self) -> str | None:
        """Why the complete bytes are not the file that was announced, with both digests, or `None`."""
        announced, found = self.file.sha256, self._trail.sha256
        if announced is None:
            announced, found = self.file.git_sha1, self._git.hexdigest()
        return f"announced: {announced}\nreceived:  {found}" if announced not in {None, found} else None

    def finish(self, target: Path, trails: Path) -> str:
        """Make the bytes durable and give them their name. Returns their SHA-256.

        The trail of the hash is kept in the folder `trails`: by it a damaged block is found later.

        Raises:
            OSError: something cannot be written.
        """
        sync_file(self._descriptor)
        self.close()  # Windows renames and removes no open file
        self._trail.write(find_trail(trails, self._trail.sha256))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)
        sync_folder(target.parent)
        self._journal_path.unlink(missing_ok=True)
        self._trail_path.unlink(missing_ok=True)
        return self._trail.sha256

    def discard(self) -> None:
        """Keep nothing."""
        self.close()
        for path in (self.path, self._journal_path, self._trail_path):
            path.unlink(missing_ok=True)


class Writer:
    """Writes the bytes of a gap in order, with a descriptor of its own, and tells the journal."""

    def __init__(self, part: Part, journal: Journal, gap: Gap) -> None:
        self.offset, self._end = gap
        self._part = part
        self._journal = journal
        self._descriptor = os.open(part.path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        os.lseek(self._descriptor, gap.start, os.SEEK_SET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, block: Block) -> None:
        """Write bytes behind the last ones; those beyond the gap are dropped.

        Raises:
            OSError: they cannot be written. The journal then tells what is there.
        """
        while block.size_bytes and self.offset < self._end:
            index, inside = divmod(self.offset, BLOCK_BYTES)
            written = block.write_to(self._descriptor, min(BLOCK_BYTES - inside, self._end - self.offset))
            self._journal.mark(index, inside + written)
            self.offset += written
            self._part.count(written)


def find_part(folder: Path, file: HubFile) -> Path:
    """Where the bytes of an unfinished file lie, named by content where that is known."""
    key = file.sha256 or "path-" + hashlib.sha256(file.path.encode()).hexdigest()
    return folder / f"{key}.part"


def reopen(folder: Path, partial: Path, trails: Path, file: HubFile) -> None:
    """Make a finished file, which is damaged, an unfinished one, whose trail tells what of it is to be fetched again.

    Raises:
        OSError: it cannot be moved.
    """
    partial.mkdir(parents=True, exist_ok=True)
    part = find_part(partial, file)
    with suppress(FileNotFoundError):  # all of it is missing
        (folder / file.path).replace(part)
        journal = Journal(part.with_suffix(".journal"), file.size_bytes)
        journal.fill(part.stat().st_size)
        journal.close()
    if file.sha256 is not None:
        with suppress(FileNotFoundError):
            find_trail(trails, file.sha256).replace(part.with_suffix(".trail"))


def detach(folder: Path, beat: Callable[[], None]) -> None:
    """Give every unfinished file new storage, so that a process that hangs with one open can no longer change it.

    What cannot be copied for want of space is thrown away. `beat` is called again and again.
    """
    for path in folder.glob("*.part"):
        copy = path.with_suffix(".copy")
        try:
            with path.open("rb", buffering=0) as reading, copy.open("wb", buffering=0) as writing:
                while block := reading.read(BLOCK_BYTES):
                    write_all(writing.fileno(), block)
                    beat()
            copy.replace(path)
        except OSError:
            with suppress(OSError):
                copy.unlink(missing_ok=True)
            path.unlink(missing_ok=True)

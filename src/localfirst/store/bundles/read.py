"""Reading a bundle: every byte once, and none of it is used before all of it was right."""

from __future__ import annotations

import hashlib
import os
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, StoreError, UsageError
from localfirst.store.bundles.contents import INDEX, INDEX_BYTES_MAX, parse_contents
from localfirst.store.bundles.frame import WHAT, make_full, make_header, make_padding, make_start, measure_behind
from localfirst.store.disk import MORE_SPACE, READ_BYTES, explained, is_full, sync_file
from localfirst.store.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from localfirst.store.bundles.contents import Member
    from localfirst.store.progress import Report


class Bundle:
    """A bundle that is open for reading; its beginning and its length are right, the rest is not read yet."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """Read and check the beginning.

        Raises:
            IntegrityError: it is no bundle, damaged, or of another length than it says.
            StoreError: a newer version of this program made it.
        """
        self._file, self._name = file, path.name
        text = self._read_index()
        self.contents = parse_contents(text, self._name)
        self._start_bytes = len(make_start(text))
        self.size_bytes = os.fstat(file.fileno()).st_size
        announced = measure_behind(self._start_bytes, self.contents)
        if self.size_bytes != announced:
            what = "is cut short" if self.size_bytes < announced else "has something behind its end"
            raise IntegrityError(
                f"{self._name} {what}",
                detail=f"it should have {announced} bytes and has {self.size_bytes}",
                hint="Copy it again from where it was made",
            )

    def _read_index(self) -> bytes:
        header = self._read(tarfile.BLOCKSIZE)
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            size = info.size if 0 < info.size <= INDEX_BYTES_MAX else 0
        except (tarfile.HeaderError, ValueError):
            size = 0
        if header != make_header(INDEX, size):
            raise IntegrityError(
                f"{self._name} is not a bundle of lf, or its beginning is damaged",
                detail=f"it does not begin with `{INDEX}`",
            )
        text = self._read(size)
        start = make_start(text)
        read = len(header) + len(text)
        if len(text) != size or self._read(len(start) - read) != start[read:]:
            raise self._damaged(INDEX, "its digest is another than the one behind it")
        return text

    def unpack(self, place: Callable[[Member], Path | None], report: Report) -> None:
        """Read every byte once, and write the members where `place` says (`None`: nowhere).

        All is written and synced when this returns; when it raises, nothing of it may be used.

        Raises:
            IntegrityError: a byte is not what it should be.
            DiskFullError, StoreError: a member cannot be written.
        """
        meter = Meter(WHAT, sum(member.size_bytes for member in self.contents.members), report)
        self._file.seek(self._start_bytes)
        for member in self.contents.members:
            self._expect(make_header(member.path, member.size_bytes), member.path)
            target = place(member)
            if target is None:
                digest = self._copy(member, None, meter)
            else:
                with _unpacking(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("xb") as file:
                        digest = self._copy(member, file, meter)
                        file.flush()
                        sync_file(file.fileno())
            if digest != member.sha256:
                raise self._damaged(member.path, f"announced: {member.sha256}\nfound:     {digest}")
            self._expect(make_padding(member.size_bytes), member.path)
        self._expect(bytes(self.size_bytes - self._file.tell()), "its end")

    def _copy(self, member: Member, target: BinaryIO | None, meter: Meter) -> str:
        digest = hashlib.sha256()
        left = member.size_bytes
        while left:
            block = self._read(min(left, READ_BYTES))
            if not block:
                raise self._damaged(member.path, "the file ends here")
            digest.update(block)
            if target is not None:
                target.write(block)
            left -= len(block)
            meter.add(len(block), member.path)
        return digest.hexdigest()

    def _expect(self, wanted: bytes, where: str) -> None:
        if self._read(len(wanted)) != wanted:
            raise self._damaged(where, "the bytes between the files are not those of a bundle")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise StoreError(f"{self._name} cannot be read", detail=error.strerror) from error

    def _damaged(self, where: str, detail: str) -> IntegrityError:
        return IntegrityError(
            f"{self._name} is damaged at {where}",
            detail=detail,
            hint="Nothing of it was used. Copy it again from where it was made",
        )


@contextmanager
def _unpacking(target: Path) -> Iterator[None]:
    with explained(target):
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise make_full(error, target, MORE_SPACE) from error
            raise


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        IntegrityError, StoreError: as `Bundle`.
    """
    if not path.is_file():
        problem = f"{path} is no plain file" if path.exists() else f"There is no file {path}"
        raise UsageError(problem, hint="Give the path of a bundle that `lf bundle create` made")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read", detail=error.strerror) from error
    with file:
        yield Bundle(file, path)

"""Writing a bundle: it appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tarfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, StoreError
from localfirst.store.bundles.contents import format_contents
from localfirst.store.bundles.frame import WHAT, make_full, make_start, measure
from localfirst.store.disk import READ_BYTES, check_space, explained, is_full, sync_file, sync_folder
from localfirst.store.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from localfirst.store.bundles.contents import Contents, Member
    from localfirst.store.progress import Report

_OTHER_PLACE = "Free some space, or name a place with more: `-o FILE`"


class _Source:
    """A file on its way into a bundle: hashed while it is read."""

    def __init__(self, file: BinaryIO, path: str, meter: Meter) -> None:
        self._file, self._path, self._meter = file, path, meter
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._meter.add(len(block), self._path)
        return block


def write_bundle(target: Path, contents: Contents, sources: Mapping[str, Path], report: Report) -> int:
    """Write a bundle; it appears whole or not at all. Returns its size in bytes.

    `sources` are the files by their paths in the bundle.

    Raises:
        DiskFullError: before the first byte if it cannot fit, else where the disk ended; nothing is kept.
        IntegrityError: a file is not what the contents say.
        StoreError: a file cannot be read, or the bundle not be written.
    """
    size = measure(contents)
    require_space(target, size)
    meter = Meter(WHAT, sum(member.size_bytes for member in contents.members), report)
    partial = target.with_name(f"{target.name}.tmp")
    try:
        with _writing(target), partial.open("wb") as file:
            file.write(make_start(format_contents(contents)))
            with tarfile.TarFile(
                fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", copybufsize=READ_BYTES
            ) as tar:
                for member in contents.members:
                    _add(tar, member, sources[member.path], meter)
            file.flush()
            sync_file(file.fileno())
        with _writing(target):
            partial.replace(target)
            sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return size


def require_space(target: Path, size_bytes: int) -> None:
    """Refuse to begin a bundle that cannot end.

    Raises:
        DiskFullError: with both numbers.
    """
    check_space(target.absolute().parent, size_bytes, hint=_OTHER_PLACE)


def _add(tar: tarfile.TarFile, member: Member, source: Path, meter: Meter) -> None:
    info = tarfile.TarInfo(member.path)
    info.size = member.size_bytes
    with explained(source):
        file = source.open("rb")
    with file:
        found_bytes = os.fstat(file.fileno()).st_size
        reader = _Source(file, member.path, meter)
        if found_bytes == member.size_bytes:
            tar.addfile(info, reader)  # type: ignore[arg-type] # it is only read
    found = reader.digest.hexdigest()
    if (found_bytes, found) != (member.size_bytes, member.sha256):
        raise IntegrityError(
            f"{source.name} is not what it was when it was fetched or imported",
            detail=f"{source}\nknown: {member.sha256}, {member.size_bytes} bytes\nfound: {found}, {found_bytes} bytes",
            hint="See what else is damaged: `lf model verify --all`",
        )


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise make_full(error, target, _OTHER_PLACE) from error
        raise StoreError(
            f"The bundle cannot be written: {error.strerror or error}",
            detail=str(error.filename or target),
            hint="Name another place: `-o FILE`",
        ) from error

"""Writes a llamafile: a program with a model and its arguments in the zip archive behind it, stored, aligned.

Deterministic: the same program, model and arguments give the same bytes. Sources: mozilla-ai/llamafile,
`docs/creating_llamafiles.md` and `llamafile/llamafile.c` (its reader, which wants absolute places and no compression);
PKWARE, `APPNOTE.TXT`, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import IntegrityError, ModelFileError
from localfirst.gguf import read_header
from localfirst.headers.extent import open_extent
from localfirst.headers.llamafile import ARGUMENTS
from localfirst.store.disk import READ_BYTES, explained
from localfirst.store.formats import llamafile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

ALIGNMENT_BYTES = 65_536
"""Where weights may begin: Windows maps files from multiples of 64 KiB, Metal wants 16 KiB, pages have 4 to 64."""
NARROW = 2**32 - 1
VERSION, WIDE_VERSION, UNIX = 20, 45, 3 << 8
EPOCH = (0, 1 << 5 | 1)
"""Time and date of every member: 1 January 1980, the first that the format knows."""
MODE = 0o100644 << 16
LOCAL = Struct("<4s5H3L2H")
CENTRAL = Struct("<4s6H3L5H2L")
WIDE_LOCAL = Struct("<2H2Q")
WIDE_CENTRAL = Struct("<2H3Q")
END_64 = Struct("<4sQ2H2L4Q")
LOCATOR = Struct("<4sLQL")
END = Struct("<4s4H2LH")


class Packed(NamedTuple):
    """A llamafile that was written."""

    path: Path
    size_bytes: int
    sha256: str
    model_sha256: str


class _Member(NamedTuple):
    name: bytes
    crc: int
    size_bytes: int
    header_at: int


def find_size(engine: Path, model: Path) -> int:
    """Bytes that a llamafile of these takes, at most."""
    return engine.stat().st_size + model.stat().st_size + 2 * ALIGNMENT_BYTES


def pack(  # noqa: PLR0913 - a keyword for each part
    engine: Path,
    model: Path,
    target: Path,
    *,
    name: str,
    arguments: Sequence[str],
    sha256: str | None,
    report: Callable[[int], None],
) -> Packed:
    """Write `target`; it appears whole or not at all, and neither the program nor the model is changed.

    Args:
        engine: a llamafile without a model in it.
        model: a GGUF file.
        target: a path in a folder that is there.
        name: what the model is called inside, with letters that every system has.
        arguments: what the llamafile starts itself with, one a line of its `.args`.
        sha256: what the model's bytes have to be, where that is known.
        report: told the bytes of the model that are written.

    Raises:
        ModelFileError: the program has no archive or a model already, or the model is no whole GGUF file.
        IntegrityError: the model's bytes are not those that are known.
        DiskFullError, StoreError: it cannot be written.
    """
    directory_at, entries = _read_engine(engine)
    _check_model(model)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with explained(target), _removed(partial), partial.open("xb") as file:
        with engine.open("rb") as program:
            _copy(program, file, directory_at)
        weights, digest = _add_model(file, model, name.encode("ascii"), report)
        if sha256 is not None and digest != sha256:
            raise IntegrityError(f"{model.name} has changed since it was fetched", detail=f"{digest}, not {sha256}")
        text = "".join(f"{line}\n" for line in arguments).encode()
        added = (weights, _add(file, ARGUMENTS.encode(), text))
        _finish(file, entries, added)
        file.flush()
        os.fsync(file.fileno())
        partial.chmod(engine.stat().st_mode & 0o777 | 0o755)
        packed = Packed(target, partial.stat().st_size, _digest(partial), digest)
        partial.replace(target)
    return packed


def _read_engine(engine: Path) -> tuple[int, tuple[bytes, ...]]:
    """Where the program's archive has its directory, and the directory's entries, without arguments of its own."""
    with open_extent(engine, "llamafile") as file:
        for member in llamafile.read_members(file):
            if member.name.lower().endswith(".gguf"):
                raise ModelFileError(
                    f"{engine.name} has a model inside already: {member.name[:80]!a}",
                    hint="Give a llamafile without a model: `--engine PATH`",
                )
        place = llamafile.find_directory(file)
        if place.before:
            file.refuse("something was put before it, so that its places do not hold", 0)
        raw = file.read(place.start, place.size_bytes, "the directory")
    return place.start, tuple(one for one in _split(raw) if _name_of(one) != ARGUMENTS.encode())


def _check_model(model: Path) -> None:
    with explained(model), model.open("rb") as file:
        header = read_header(file, model.stat().st_size)
    if (header.shards or 1) > 1:
        raise ModelFileError(f"{model.name} is one of {header.shards} parts, and a llamafile holds a single file")


@contextmanager
def _removed(partial: Path) -> Iterator[None]:
    """Leave nothing half done."""
    try:
        yield
    finally:
        partial.unlink(missing_ok=True)


def _copy(source: BinaryIO, file: BinaryIO, length: int) -> None:
    left = length
    while left:
        block = source.read(min(READ_BYTES, left))
        if not block:
            raise ModelFileError("The program became shorter while it was read")
        file.write(block)
        left -= len(block)


def _add_model(file: BinaryIO, model: Path, name: bytes, report: Callable[[int], None]) -> tuple[_Member, str]:
    """Write the weights where they can be mapped, and what was counted of them before them."""
    size_bytes = model.stat().st_size
    head_bytes = LOCAL.size + len(name) + (WIDE_LOCAL.size if size_bytes >= NARROW else 0)
    header_at = -(-(file.tell() + head_bytes) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES - head_bytes
    file.write(bytes(header_at - file.tell() + head_bytes))
    crc, digest, done = 0, hashlib.sha256(), 0
    with model.open("rb") as source:
        while block := source.read(READ_BYTES):
            file.write(block)
            crc, done = zlib.crc32(block, crc), done + len(block)
            digest.update(block)
            report(done)
    if done != size_bytes:
        raise ModelFileError(f"{model.name} changed while it was read")
    member = _Member(name, crc, size_bytes, header_at)
    file.seek(header_at)
    file.write(_make_local(member))
    file.seek(0, os.SEEK_END)
    return member, digest.hexdigest()


def _add(file: BinaryIO, name: bytes, content: bytes) -> _Member:
    member = _Member(name, zlib.crc32(content), len(content), file.tell())
    file.write(_make_local(member) + content)
    return member


def _finish(file: BinaryIO, entries: Sequence[bytes], added: Sequence[_Member]) -> None:
    """Write the directory and its end, in 64 bits where 32 are too few."""
    directory_at = file.tell()
    directory = b"".join((*entries, *map(_make_central, added)))
    count = len(entries) + len(added)
    file.write(directory)
    end_at = directory_at + len(directory)
    if directory_at >= NARROW:
        version = UNIX | WIDE_VERSION
        counts = (0, 0, count, count, len(directory), directory_at)
        file.write(END_64.pack(b"PK\6\6", END_64.size - 12, version, WIDE_VERSION, *counts))
        file.write(LOCATOR.pack(b"PK\6\7", 0, end_at, 1))
    file.write(END.pack(b"PK\5\6", 0, 0, count, count, len(directory), min(directory_at, NARROW), 0))


def _make_local(member: _Member) -> bytes:
    wide = member.size_bytes >= NARROW
    extra = WIDE_LOCAL.pack(1, 16, member.size_bytes, member.size_bytes) if wide else b""
    size = NARROW if wide else member.size_bytes
    version = WIDE_VERSION if wide else VERSION
    lengths = (len(member.name), len(extra))
    return LOCAL.pack(b"PK\3\4", version, 0, 0, *EPOCH, member.crc, size, size, *lengths) + member.name + extra


def _make_central(member: _Member) -> bytes:
    wide = max(member.size_bytes, member.header_at) >= NARROW
    extra = WIDE_CENTRAL.pack(1, 24, member.size_bytes, member.size_bytes, member.header_at) if wide else b""
    size, place = (NARROW, NARROW) if wide else (member.size_bytes, member.header_at)
    version = WIDE_VERSION if wide else VERSION
    head = CENTRAL.pack(
        b"PK\1\2", UNIX | version, version, 0, 0, *EPOCH, member.crc, size, size,
        len(member.name), len(extra), 0, 0, 0, MODE, place,
    )  # fmt: skip
    return head + member.name + extra


def _split(directory: bytes) -> Iterator[bytes]:
    """The entries of a directory that was read before, as they are."""
    at = 0
    while at < len(directory):
        lengths = CENTRAL.unpack_from(directory, at)[10:13]
        end = at + CENTRAL.size + sum(lengths)
        yield directory[at:end]
        at = end


def _name_of(entry: bytes) -> bytes:
    length: int = CENTRAL.unpack_from(entry)[10]
    return entry[CENTRAL.size : CENTRAL.size + length]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

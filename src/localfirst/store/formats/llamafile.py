"""Llamafiles: a program with a zip archive behind it, in which the GGUF lies stored, so that it can be mapped.

Sources: mozilla-ai/llamafile, README; PKWARE, `APPNOTE.TXT`, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.gguf import read_header
from localfirst.headers.extent import Cursor, Extent, open_extent
from localfirst.store.builds import find_gguf_quantization
from localfirst.store.formats.found import Found, Told, read_head
from localfirst.store.formats.gguf import tell_headers
from localfirst.store.names import is_projector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localfirst.gguf import GgufHeader

SUFFIX = ".llamafile"
MOST_DIRECTORY_BYTES = 4 * 2**20
"""Llamafiles have some hundred members."""
_END = Struct("<4s4H2LH")
_END_64 = Struct("<4sQ2H2L4Q")
_LOCATOR = Struct("<4sLQL")
_MEMBER = Struct("<4s6H3L5H2L")
_LOCAL = Struct("<4s5H3L2H")
_EXTRA = Struct("<2H")
_WIDE = Struct("<Q")
_COMMENT_BYTES = 2**16 - 1
_NARROW = 2**32 - 1
_STORED = 0


class Member(NamedTuple):
    """A file of the archive."""

    name: str
    method: int
    encrypted: bool
    stored_bytes: int
    size_bytes: int
    header_at: int


def find(path: Path) -> Found:
    """The model that a llamafile has inside.

    Raises:
        ModelFileError: damaged, or it has none.
        OSError: it cannot be read.
    """
    read_head(path)
    with open_extent(path, "llamafile") as file:
        member, header = _read_model(file)
    named = find_gguf_quantization(path.name) or find_gguf_quantization(member.name)
    return Found("llamafile", path.parent, (path.name,), named or header.file_type or header.main_type)


def tell(main: Path, _: Sequence[Path]) -> Told:
    """What the header of the GGUF inside tells.

    Raises:
        ModelFileError: it is damaged.
        OSError: it cannot be read.
    """
    with open_extent(main, "llamafile") as file:
        return tell_headers([_read_model(file)[1]])


def _read_model(file: Extent) -> tuple[Member, GgufHeader]:
    members = [one for one in read_members(file) if one.name.lower().endswith(".gguf") and not is_projector(one.name)]
    if not members:
        raise ModelFileError(
            "This llamafile has no model inside", hint="Import the .gguf file that it is to be started with."
        )
    model = max(members, key=lambda one: one.size_bytes)
    weights = find_data(file, model)
    return model, read_header(Cursor(weights), weights.size_bytes)


def find_data(file: Extent, member: Member) -> Extent:
    """The bytes of a stored member.

    Raises:
        ModelFileError: it is compressed or encrypted, or does not lie within the file.
    """
    if member.method != _STORED or member.encrypted or member.stored_bytes != member.size_bytes:
        file.refuse(f"{member.name[:80]!a} is compressed, so that no engine can map it", member.header_at)
    signature, *_, name_bytes, extra_bytes = _LOCAL.unpack(file.read(member.header_at, _LOCAL.size, "a member"))
    if signature != b"PK\3\4":
        file.refuse(f"{member.name[:80]!a} is not where the directory says", member.header_at)
    start = member.header_at + _LOCAL.size + name_bytes + extra_bytes
    return file.part(start, member.size_bytes, f"{member.name[:80]!a}")


class Directory(NamedTuple):
    """Where the archive's directory lies."""

    start: int
    size_bytes: int
    before: int
    """Bytes of a program that was put before the archive later; 0 as llamafiles are made."""


def read_members(file: Extent) -> tuple[Member, ...]:
    """The archive's directory.

    Raises:
        ModelFileError: there is none, or it is damaged.
    """
    place = find_directory(file)
    return tuple(_parse_members(file.part(place.start, place.size_bytes, "the directory"), place.before))


def find_directory(file: Extent) -> Directory:
    """Where the archive's directory lies.

    Raises:
        ModelFileError: there is none, or it is damaged.
    """
    end_at = _find_end(file)
    _, _, _, _, _, directory_bytes, directory_at, _ = _END.unpack(file.read(end_at, _END.size))
    locator_at = end_at - _LOCATOR.size
    if locator_at >= 0 and file.read(locator_at, 4) == b"PK\6\7":
        end_at = locator_at - _END_64.size
        signature, *_, directory_bytes, directory_at = _END_64.unpack(file.read(end_at, _END_64.size, "the directory"))
        if signature != b"PK\6\6":
            file.refuse("the directory's end is not where it should be", end_at)
    if directory_bytes > MOST_DIRECTORY_BYTES:
        file.refuse(f"its directory claims {directory_bytes:,} bytes", end_at)
    start = end_at - directory_bytes
    if start < directory_at:
        file.refuse("its directory is not where it should be", end_at)
    return Directory(start, directory_bytes, start - directory_at)


def _find_end(file: Extent) -> int:
    """Where the end of the directory is told: at the file's end but for a comment."""
    span = min(file.size_bytes, _END.size + _COMMENT_BYTES)
    tail = file.read(file.size_bytes - span, span)
    found = tail.rfind(b"PK\5\6", 0, max(0, span - _END.size + 4))
    if found < 0:
        file.refuse("it has no archive inside, or is cut off")
    return file.size_bytes - span + found


def _parse_members(directory: Extent, before: int) -> Iterator[Member]:
    at = 0
    while at < directory.size_bytes:
        values = _MEMBER.unpack(directory.read(at, _MEMBER.size, "a member"))
        signature, _, _, flags, method, _, _, _, stored, size = values[:10]
        name_bytes, extra_bytes, comment_bytes, *_, place = values[10:]
        if signature != b"PK\1\2":
            directory.refuse("its directory is damaged", at)
        name = directory.read(at + _MEMBER.size, name_bytes, "a name").decode("utf-8", "replace")
        extra = directory.part(at + _MEMBER.size + name_bytes, extra_bytes, "a member's extra fields")
        size, stored, place = _widen(extra, size, stored, place)
        yield Member(name, method, bool(flags & 1), stored, size, before + place)
        at += _MEMBER.size + name_bytes + extra_bytes + comment_bytes


def _widen(extra: Extent, *narrow: int) -> tuple[int, ...]:
    """Numbers of 32 bits, with those that are too narrow taken from the extra field 1, in this order."""
    at, wide = 0, b""
    while at + _EXTRA.size <= extra.size_bytes:
        kind, length = _EXTRA.unpack(extra.read(at, _EXTRA.size))
        at += _EXTRA.size
        if kind == 1:
            wide = extra.read(at, length, "an extra field")
        at += length
    numbers = iter([number for (number,) in _WIDE.iter_unpack(wide[: len(wide) // 8 * 8])])
    return tuple(next(numbers, number) if number == _NARROW else number for number in narrow)

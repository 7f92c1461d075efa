"""The bytes of a bundle around its members: they follow from its contents, so that none can be another unnoticed."""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING

from localfirst.errors import DiskFullError
from localfirst.store.bundles.contents import INDEX, format_contents

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.store.bundles.contents import Contents

INDEX_DIGEST = f"{INDEX}.sha256"
WHAT = "bundle"
"""What progress is called."""


def make_header(path: str, size_bytes: int) -> bytes:
    """The tar header of a member: a plain file of nobody, without a date."""
    info = tarfile.TarInfo(path)
    info.size = size_bytes
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _make_digest(text: bytes) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {INDEX}\n".encode()


def make_start(text: bytes) -> bytes:
    """The bytes of a bundle before its first member."""
    digest = _make_digest(text)
    return b"".join(
        make_header(path, len(content)) + content + make_padding(len(content))
        for path, content in ((INDEX, text), (INDEX_DIGEST, digest))
    )


def make_padding(size_bytes: int) -> bytes:
    """What fills the last block of a member."""
    return bytes(-size_bytes % tarfile.BLOCKSIZE)


def make_end(size_bytes: int) -> bytes:
    """Two empty blocks at least, to whole records, as tar ends."""
    least = 2 * tarfile.BLOCKSIZE
    return bytes(least + -(size_bytes + least) % tarfile.RECORDSIZE)


def measure(contents: Contents) -> int:
    """The size of the bundle's file, in bytes."""
    size = len(make_start(format_contents(contents)))
    return measure_behind(size, contents)


def measure_behind(start_bytes: int, contents: Contents) -> int:
    """The size of a bundle whose members begin after so many bytes."""
    size = start_bytes + sum(
        len(make_header(one.path, one.size_bytes)) + one.size_bytes + len(make_padding(one.size_bytes))
        for one in contents.members
    )
    return size + len(make_end(size))


def make_full(error: OSError, path: Path, hint: str) -> DiskFullError:
    """The error for a disk that is full in the middle of a bundle."""
    return DiskFullError(
        f"The disk is full: {error.strerror}", detail=f"{path}\nNothing of the bundle was kept.", hint=hint
    )

"""Files that the system keeps in memory, forgotten, so that a load from the disk can be measured. Linux alone."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_RESIDENT = 0.02
"""Share of the files' pages that may still be in memory for them to count as forgotten."""


def forget(paths: Sequence[Path]) -> bool:
    """Ask the system to drop what it has of some files, and look whether it did.

    It does not where another process has them open, nor where they were not written to the disk yet. Source:
    posix_fadvise(2), which other systems lack or do not heed.
    """
    if not paths or not hasattr(os, "posix_fadvise"):
        return False
    try:
        for path in paths:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        shares = [count_resident(path) for path in paths]
    except OSError:
        return False
    pages = sum(of for _, of in shares)
    return pages > 0 and sum(resident for resident, _ in shares) <= MOST_RESIDENT * pages


def count_resident(path: Path) -> tuple[int, int]:
    """The pages of a file that are in memory, and all of them. Source: mincore(2).

    Raises:
        OSError: it cannot be read, or the system does not tell.
    """
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    if not pages:
        return 0, 0
    told = (ctypes.c_ubyte * pages)()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        begin = ctypes.c_char.from_buffer(mapped)
        address = ctypes.c_void_p(ctypes.addressof(begin))
        failed = ctypes.CDLL(None, use_errno=True).mincore(address, ctypes.c_size_t(size), told)
        del begin  # else the mapping cannot be closed
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in told), pages

"""Copies of files that lie on this machine already: hashed while they are copied, named only when they are right."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from localfirst.store.disk import read_all, share_blocks, sync_file, sync_folder, write_all
from localfirst.store.transfer.journal import BLOCK_BYTES
from localfirst.store.transfer.trail import Trail, find_trail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def copy_file(
    source: Path, target: Path, trails: Path | None, *, sha256: str | None = None, count: Callable[[int], None]
) -> str | None:
    """Copy a file, and keep the trail of its hash in the folder `trails`, if there is one. Returns its SHA-256.

    Long runs of zeros become holes. `None` where it is not the `sha256` that was asked for: there is no `target` then.
    `count` hears of every block.

    Raises:
        OSError: it cannot be read or written; there is no `target` then.
    """
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    trail = Trail()
    try:
        with source.open("rb", buffering=0) as reading, unfinished.open("w+b", buffering=0) as writing:
            shared = share_blocks(reading.fileno(), writing.fileno())
            source_or_clone = writing if shared else reading  # the source may change after it was cloned
            while block := read_all(source_or_clone.fileno(), BLOCK_BYTES):
                trail.add(block)
                if not shared:
                    _write(writing.fileno(), block)
                count(len(block))
            if not shared:
                writing.truncate()  # what ends with a hole
            sync_file(writing.fileno())
        if sha256 in {None, trail.sha256}:
            if trails is not None:
                trail.write(find_trail(trails, trail.sha256))
            unfinished.replace(target)
            sync_folder(target.parent)
            return trail.sha256
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return None


def _write(descriptor: int, block: bytes) -> None:
    if block == bytes(len(block)):
        os.lseek(descriptor, len(block), os.SEEK_CUR)
    else:
        write_all(descriptor, block)

"""Removing a model: its manifest first, and then of its files those that no other model needs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import StoreError
from localfirst.store import manifest
from localfirst.store.claim import claim
from localfirst.store.disk import explained, size_on_disk
from localfirst.store.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from localfirst.types import InstalledModel, Progress


class Removed(NamedTuple):
    """What a removal did, in bytes on the disk. `kept_bytes`: of files that another model needs."""

    freed_bytes: int = 0
    kept_bytes: int = 0


def remove(model: InstalledModel, *, report: Callable[[Progress], None] = ignore) -> Removed:
    """Remove a model: the manifest, then the files that no other model needs.

    Files that others keep stay, and 0 bytes are freed.

    Raises:
        StoreError: the store cannot be written, or the model is part of this program, or of a shared store.
    """
    if model.host == "builtin":
        raise StoreError("A built-in model cannot be removed: it is part of this program")
    if model.shared is not None:
        raise StoreError(
            f"`{model.name}` is in a shared store, which is only read from here",
            detail=model.shared,
            hint="Whoever keeps that store can remove it there. Without it in LF_SHARED_STORES, lf does not see it.",
        )
    with claim(lambda: manifest.find_home(model), model.name, report) as (folder, _), explained(folder):
        freed = manifest.clear(folder)
        removed = remove_folder(folder)
        return removed._replace(freed_bytes=removed.freed_bytes + (freed if model.keeper is None else 0))


def remove_folder(folder: Path) -> Removed:
    """Remove what is left of a model without a manifest, but for files that another model needs. Its lock is held.

    Raises:
        StoreError: the store cannot be read.
        OSError: something cannot be removed.
    """
    needed = {os.path.realpath(Path(other.root) / file.path) for other in manifest.find_own() for file in other.files}
    removed = remove_tree(folder, needed)
    for parent in (folder.parent, folder.parent.parent):
        with suppress(OSError):  # another model's folder is in it
            parent.rmdir()
    return removed


def remove_tree(folder: Path, needed: AbstractSet[str] = frozenset()) -> Removed:
    """Remove a tree without following links, sparing the files whose real paths are `needed`.

    Raises:
        OSError: something in it cannot be removed.
    """
    freed = kept = 0
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(parent, name)
            status = path.lstat()
            if os.path.realpath(path) in needed:
                kept += size_on_disk(status)
                continue
            path.unlink()
            freed += size_on_disk(status) if status.st_nlink == 1 else 0
        for name in folders:
            child = Path(parent, name)
            with suppress(OSError):  # not empty: a file in it is still needed
                child.unlink() if child.is_symlink() else child.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return Removed(freed, kept)

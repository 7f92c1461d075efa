"""Whether the files of a build at another commit are those that are on this disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.store.disk import READ_BYTES, start_git_hash
from localfirst.store.select import select_files

if TYPE_CHECKING:
    from localfirst.store.listing import HubFile, Listing
    from localfirst.types import InstalledModel, Variant


def find_changes(variant: Variant, listing: Listing, installed: InstalledModel) -> tuple[HubFile, ...] | None:
    """The files of a listing that are new or other ones; `None` where the build is the same to the byte.

    Raises:
        CatalogError, IntegrityError, ModelFileError: as `select_files`.
    """
    chosen = select_files(variant, listing, lambda _: None)
    changed = tuple(file for file in chosen if not is_same(file, installed))
    gone = {file.path for file in installed.files} - {file.path for file in chosen}
    return changed if changed or gone else None


def is_same(file: HubFile, installed: InstalledModel) -> bool:
    """Whether an installed model has this very file. One that the hub lists without a SHA-256 is read; it is small."""
    here = next((one for one in installed.files if one.path == file.path), None)
    if here is None or here.size_bytes != file.size_bytes:
        return False
    if file.sha256 is not None:
        return here.sha256 == file.sha256
    return file.git_sha1 is not None and file.git_sha1 == hash_git(Path(installed.root) / file.path, file.size_bytes)


def hash_git(path: Path, size_bytes: int) -> str | None:
    """The name of a file's git object, `None` where it cannot be read."""
    digest = start_git_hash(size_bytes)
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()

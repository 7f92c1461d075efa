"""Environments that no runtime of this release is: of other versions, and what was interrupted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from localfirst import lock, paths
from localfirst.errors import StoreError
from localfirst.runtimes.folder import find_folders, find_leftovers, folder_of
from localfirst.runtimes.table import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localfirst.runtimes.table import RuntimeRow


def find_unused(rows: Sequence[RuntimeRow] = EVERYTHING) -> tuple[Path, ...]:
    """The environments of other versions than this release's, and those of interrupted installations and removals.

    Of runtimes that this release does not know at all nothing is said: a newer one may have put them there.
    """
    return tuple(
        folder
        for row in rows
        for folder in (*find_leftovers(row.name), *find_folders(row.name))
        if folder != folder_of(row)
    )


def remove_unused(folder: Path, rows: Sequence[RuntimeRow] = EVERYTHING) -> bool:
    """Remove such an environment; `False` where a process installs or removes that runtime now.

    Raises:
        StoreError: the folder of the runtimes cannot be written.
    """
    names = (row.name for row in rows if folder in (*find_leftovers(row.name), *find_folders(row.name)))
    if (name := next(names, None)) is None:
        return False  # another process was faster
    try:
        with lock.try_hold(paths.runtimes_dir() / f".{name}.lock") as free:
            if not free:
                return False
            if not folder.name.startswith("."):
                # Renamed first: an interrupted removal leaves no half environment that still counts as installed.
                folder = folder.rename(folder.with_name(f".{folder.name}.removed"))
            shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"An unused runtime cannot be removed: {folder}", detail=str(error)) from error
    return True

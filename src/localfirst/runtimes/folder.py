"""Where a runtime lies on disk, and the file that says it is complete. Knows no installer.

`<name>-<version>/` is an environment with `runtime.json` in it, written last; `.<name>-<version>.<random>/` is work in
progress, and belongs to nobody once the runtime's lock is free.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths

if TYPE_CHECKING:
    from localfirst.runtimes.table import RuntimeRow

MARKER = "runtime.json"
FAILURE_LASTS_S = 24 * 3600
PYTHON = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
"""The interpreter inside an environment."""


class Marker(NamedTuple):
    """What `runtime.json` says. No path: the data folder may be moved."""

    name: str
    version: str
    engine: str
    python: str
    """The version of the interpreter, as `3.12.1`."""
    created: str
    """ISO 8601, UTC."""
    size_bytes: int


def folder_of(row: RuntimeRow) -> Path:
    """Where the runtime is, once it is installed."""
    return paths.runtimes_dir() / f"{row.name}-{row.version}"


def read_marker(row: RuntimeRow) -> Marker | None:
    """What is installed, or `None` where nothing is, or it is damaged, or its interpreter is gone."""
    folder = folder_of(row)
    if not (folder / PYTHON).exists():
        return None
    try:
        marker = Marker(**json.loads((folder / MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return marker if (marker.name, marker.version) == (row.name, row.version) else None


def write_marker(folder: Path, marker: Marker) -> None:
    """Say that an environment is complete."""
    (folder / MARKER).write_text(json.dumps(marker._asdict(), indent=2) + "\n", encoding="utf-8")


def find_folders(name: str) -> tuple[Path, ...]:
    """The environments of a runtime, of every version, finished or not."""
    return _find(f"{name}-")


def find_leftovers(name: str) -> tuple[Path, ...]:
    """What interrupted installations and removals left; to be asked only by who holds the runtime's lock."""
    return _find(f".{name}-")


def _find(prefix: str) -> tuple[Path, ...]:
    """Folders called `<prefix><version>`; a digit after it keeps `onnx-cpu` apart from `onnx-cpu-native`."""
    try:
        present = list(paths.runtimes_dir().iterdir())
    except OSError:  # there is none, or it cannot be read
        return ()
    return tuple(
        sorted(
            path
            for path in present
            if path.name.startswith(prefix) and path.name[len(prefix) :][:1].isdigit() and path.is_dir()
        )
    )


def read_failure(row: RuntimeRow) -> str | None:
    """Why the last installation failed, for a day; then another attempt may do better."""
    path = _failure_of(row)
    try:
        if time.time() - path.stat().st_mtime > FAILURE_LASTS_S:
            return None
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def write_failure(row: RuntimeRow, reason: str) -> None:
    """Remember why an installation failed, so that not every command tries again; not to be able to is no harm."""
    with contextlib.suppress(OSError):
        _failure_of(row).write_text(reason, encoding="utf-8")


def clear_failure(row: RuntimeRow) -> None:
    """Forget that an installation failed."""
    with contextlib.suppress(OSError):
        _failure_of(row).unlink(missing_ok=True)


def _failure_of(row: RuntimeRow) -> Path:
    return paths.runtimes_dir() / f".{row.name}-{row.version}.failed"


def measure(folder: Path) -> int:
    """Bytes of all files in a folder, links not followed."""
    return sum(Path(parent, name).lstat().st_size for parent, _, names in os.walk(folder) for name in names)


def sweep(name: str) -> None:
    """Delete what interrupted installations and removals of a runtime left."""
    for path in find_leftovers(name):
        shutil.rmtree(path, ignore_errors=True)

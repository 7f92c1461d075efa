"""Where the store is: in the data folder, unless it was moved, and then where `store.json` there says.

`{"schema": "lf.store/1", "models": DIR, "from": DIR, "to": DIR, "fresh": true}`, all but the schema where it is so:
`from` has bytes of before that still have to go, `to` is a move that has not got to the switch, `fresh` says that
nothing was in there before.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.store import layout
from localfirst.store.disk import explained, write_atomically

SCHEMA = "lf.store/1"


class Note(NamedTuple):
    """What `store.json` says."""

    models: Path
    source: Path | None = None
    """Where the store was, while something of it may be left there."""
    target: Path | None = None
    """Where it is being moved to, before the switch."""
    fresh: bool = False
    """Whether everything in `target` comes from that move."""


def find_default() -> Path:
    """Where the store is if it was never moved."""
    return paths.data_dir() / "models"


def read_note() -> Note:
    """Where the store is, and what is left to do of a move.

    Raises:
        StoreError: `store.json` is damaged.
    """
    models = paths.models_dir()
    try:
        record = json.loads(paths.store_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Note(models)  # there is none, or it has just gone
    source, target = (Path(value) if isinstance(value := record.get(key), str) else None for key in ("from", "to"))
    return Note(models, source, target, record.get("fresh") is True)


def write_note(note: Note) -> None:
    """Say where the store is, from now on and for every process: the switch of a move.

    Raises:
        StoreError, DiskFullError: the data folder cannot be written.
    """
    file = paths.store_file()
    record = {
        "schema": SCHEMA,
        "models": None if note.models == find_default() else str(note.models),
        "from": note.source and str(note.source),
        "to": note.target and str(note.target),
        "fresh": note.fresh or None,
    }
    record = {key: value for key, value in record.items() if value is not None}
    with explained(file):
        if record.keys() == {"schema"}:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def mark(folder: Path) -> None:
    """Mark a folder as a store, and say whose: of which data folder."""
    write_atomically(folder / layout.MARK, json.dumps({"schema": SCHEMA, "data": str(paths.data_dir())}) + "\n")


def is_ours(folder: Path) -> bool:
    """Whether the mark in a folder names this data folder."""
    with suppress(OSError, ValueError, AttributeError):
        record = json.loads((folder / layout.MARK).read_text(encoding="utf-8"))
        return bool(record.get("data") == str(paths.data_dir()))
    return False


def is_store(folder: Path) -> bool:
    """Whether there is a store in a folder: marked, or with a model in it."""
    return (folder / layout.MARK).exists() or any(folder.glob(f"*/*/*/{layout.MANIFEST}"))


def require_present(models: Path) -> None:
    """Refuse to take a folder for an empty store where the disk with the models is not connected.

    Raises:
        StoreError: the store was moved here, and is not here.
    """
    if models == find_default():
        return
    with explained(models):
        if is_store(models):
            return
    raise StoreError(
        "The folder that the models were moved to is not there",
        detail=str(models),
        hint=f"Connect its disk. If it is lost for good, delete {paths.store_file()}, and the store begins anew in "
        f"{find_default()}.",
    )

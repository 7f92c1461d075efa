"""What was found wrong with files by reading all of them: remembered for who only takes a glance at them.

`damage.json` beside the models: `{"schema": "lf.damage/1", "files": {PATH: {"size_bytes", "mtime_ns", "detail"}}}`, a
path in the store from there on, another one whole. It says something of a file only as long as that has this size and
date: one that was replaced or mended is another. A record that cannot be read, or kept, is none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from localfirst import paths
from localfirst.errors import LfError
from localfirst.store.claim import claim_record
from localfirst.store.disk import explained, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA = "lf.damage/1"


def find(files: Iterable[Path]) -> dict[Path, str]:
    """Those of the files that are known to be damaged, each with what was found."""
    models = paths.models_dir()
    known = _read(models)
    if not known:
        return {}
    told = {path: known.get(_name(path, models), {}) for path in files}
    return {path: str(one.get("detail", "")) for path, one in told.items() if one and _is_still(path, one)}


def remember(files: Iterable[Path], damaged: Mapping[Path, str]) -> None:
    """Take down what reading the files, all of them, has found; of those that were right nothing is remembered."""
    files = tuple(files)
    if not damaged and not _read(paths.models_dir()):
        return
    with suppress(LfError), claim_record("damage") as models, explained(models):
        known = _read(models)
        told = {_name(path, models) for path in files}
        kept = {name: one for name, one in known.items() if name not in told and _is_still(models / name, one)}
        found = {_name(path, models): _describe(path) | {"detail": detail} for path, detail in damaged.items()}
        if kept | found:
            text = json.dumps({"schema": SCHEMA, "files": kept | found}, indent=1)
            write_atomically(_find_file(models), text + "\n")
        else:
            _find_file(models).unlink(missing_ok=True)


def _find_file(models: Path) -> Path:
    return models / "damage.json"


def _name(path: Path, models: Path) -> str:
    return path.relative_to(models).as_posix() if path.is_relative_to(models) else str(path)


def _describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_still(path: Path, known: Mapping[str, Any]) -> bool:
    """Whether a file is the one that something is known of."""
    with suppress(OSError):
        return all(known.get(key) == value for key, value in _describe(path).items())
    return False


def _read(models: Path) -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        record = json.loads(_find_file(models).read_text(encoding="utf-8"))
        if record.get("schema") == SCHEMA:
            return {str(name): one for name, one in record.get("files", {}).items() if isinstance(one, dict)}
    return {}

"""Models that are part of this program: installed with it, in its own folder, with nothing to fetch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.store.disk import hash_file
from localfirst.store.names import check_paths
from localfirst.store.select import is_glob, match_glob
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.types import Model, ModelFile, Variant


def find_builtin(model: Model, variant: Variant) -> InstalledModel:
    """A built-in variant where it lies.

    Raises:
        StoreError: a file is missing from the installation.
    """
    root = paths.starter_dir()
    present = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    files = tuple(_describe(root, name, file, model) for file in variant.files for name in _expand(file.path, present))
    newest = max((root / file.path).stat().st_mtime for file in files)
    return InstalledModel(
        name=model.name,
        variant=variant.name,
        format=variant.format,
        quantization=variant.quantization,
        host="builtin",
        repo=None,
        revision=None,
        root=str(root),
        files=files,
        created=datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"),
        title=model.title,
    )


def _expand(path: str, present: list[str]) -> list[str]:
    """A pattern's matches; the pattern itself where it has none, so that it is found missing."""
    return (match_glob(path, present) or [path]) if is_glob(path) else [path]


def _describe(root: Path, name: str, file: ModelFile, model: Model) -> InstalledFile:
    path = root / name
    if not path.is_file():
        raise StoreError(
            f"`{model.name}` is part of localfirst, but its file is missing",
            detail=str(path),
            hint="Install localfirst again.",
        )
    check_paths([name], "the catalog")
    return InstalledFile(name, path.stat().st_size, file.sha256 or hash_file(path, lambda _: None))

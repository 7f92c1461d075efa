"""The catalog as the rest of the program gets it: parsed once, then read from a cache.

The cache is one file; its first line says which catalog and which version of this package it was made from. Whatever
is wrong with it, it is made again, and where it cannot be written, done without.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import __version__, paths
from localfirst.catalog.rows import from_json, to_json
from localfirst.errors import CatalogError

if TYPE_CHECKING:
    from localfirst.types import Model


def load_models() -> tuple[Model, ...]:
    """Every model of the catalog.

    Raises:
        CatalogError: the package has no catalog, or it has a mistake.
    """
    content = _read_catalog()
    stamp = f"{__version__} {hashlib.sha256(content).hexdigest()}"
    cache = paths.cache_dir() / "catalog.json"
    if (models := _read_cache(cache, stamp)) is not None:
        return models
    from localfirst.catalog.parse import parse_catalog

    try:
        models = parse_catalog(content.decode())
    except UnicodeDecodeError as error:
        raise CatalogError("catalog.yaml is not UTF-8", detail=str(error)) from error
    _write_cache(cache, f"{stamp}\n{to_json(models)}")
    return models


def model_names() -> tuple[str, ...]:
    """The names of all models, in the catalog's order."""
    return tuple(model.name for model in load_models())


def _read_catalog() -> bytes:
    """The catalog shipped in the package or, where the package is installed from a checkout, the checkout's own."""
    shipped = paths.package_dir() / "catalog" / "catalog.yaml"
    for path in (shipped, paths.package_dir().parents[1] / "catalog.yaml"):
        with suppress(FileNotFoundError):
            return path.read_bytes()
    raise CatalogError("catalog.yaml is missing from the package", detail=str(shipped), hint="Install localfirst again")


def _read_cache(path: Path, stamp: str) -> tuple[Model, ...] | None:
    with suppress(OSError, ValueError, CatalogError):
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first == stamp:
            return from_json(rest)
    return None


def _write_cache(path: Path, text: str) -> None:
    """Whole or not at all: a reader sees the old file or the new one."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="catalog-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

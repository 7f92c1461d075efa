"""Catalogs of the user's own: checked, added beside the built-in one, removed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import CatalogError, NetworkError, StoreError, UnknownNameError, UsageError
from localfirst.services import catalogue

if TYPE_CHECKING:
    from localfirst.services.catalogue import Catalog

MAX_BYTES = 16_000_000
"""Of a catalog to be added; the built-in one has 0.3 MB."""
MISTAKES_SHOWN = 10
HEADING_BYTES = 60
"""By its first line a copy of the built-in catalog is known."""


def lint(source: str | None) -> Catalog:
    """A catalog file with every mistake in it, as it would stand beside the others; the built-in one if `None`.

    One that was added under the file's name is taken for its older self, and not compared with; nor is a copy of the
    built-in one with it.

    Raises:
        UsageError: the file cannot be read.
        CatalogError: the built-in catalog has a mistake.
    """
    built_in, *added = catalogue.find_catalogs()
    if source is None:
        return built_in
    path = Path(source)
    content = _read(path)
    if path.samefile(built_in.path):
        return built_in
    if content[:HEADING_BYTES] == built_in.path.read_bytes()[:HEADING_BYTES]:  # in a checkout that is not installed
        return catalogue.parse_added(path, content, ())
    return catalogue.parse_added(path, content, (built_in, *(one for one in added if one.name != path.stem.lower())))


def add(source: str, name: str | None = None, *, offline: bool = False) -> Catalog:
    """Add a catalog from a file or an `https` address; a copy is kept.

    Raises:
        UsageError: the name cannot be used or is taken, or the file cannot be read.
        NetworkError: the address cannot be reached, or is one and `offline` is set.
        StoreError: the copy cannot be written.
        CatalogError: it has a mistake or means a model that another catalog has; the detail has every mistake.
    """
    remote = "://" in source
    stem = name or Path(source.partition("?")[0]).stem.lower()
    if not re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", stem) or stem == catalogue.BUILT_IN:
        raise UsageError(f"`{stem}` cannot be the name of a catalog", hint="Give it one: `--name my-models`")
    path = paths.catalogs_dir() / f"{stem}.yaml"
    if path.exists():
        raise UsageError(f"There is a catalog `{stem}` already", hint=f"Remove it first: `lf catalog remove {stem}`")
    content = _fetch(source, offline=offline) if remote else _read(Path(source))
    title = Path(source.partition("?")[0]).name if remote else Path(source).name
    added = catalogue.parse_added(path, content, catalogue.find_catalogs(), title)
    if added.mistakes:
        shown, more = added.mistakes[:MISTAKES_SHOWN], len(added.mistakes) - MISTAKES_SHOWN
        raise CatalogError(
            f"`{source}` is not added: {_count(len(added.mistakes))} in it",
            detail="\n".join((*shown, *([f"and {more} more"] if more > 0 else []))),
            hint="Mend it; `lf catalog lint FILE` shows what is left",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        paths.require_writable()
        raise StoreError(f"{path} cannot be written", detail=error.strerror, hint=paths.WRITABLE_HINT) from error
    return added


def remove(name: str) -> Path:
    """Remove an added catalog; models on this disk stay. The path of the file that was removed.

    Raises:
        UnknownNameError: no catalog of this name was added.
        UsageError: it is the built-in one.
    """
    if name == catalogue.BUILT_IN:
        raise UsageError("The built-in catalog is part of lf and stays")
    found = {catalog.name: catalog.path for catalog in catalogue.find_catalogs()[1:]}
    if name not in found:
        detail = "\n".join(found) or "none was added"
        raise UnknownNameError(f"No catalog named `{name}` was added", detail=detail, hint="See `lf catalog list`")
    try:
        found[name].unlink()
    except OSError as error:
        raise StoreError(f"{found[name]} cannot be removed", detail=error.strerror) from error
    return found[name]


def _count(mistakes: int) -> str:
    return "there is a mistake" if mistakes == 1 else f"there are {mistakes} mistakes"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is too large for a catalog", detail=f"{path.stat().st_size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read", detail=error.strerror) from error


def _fetch(url: str, *, offline: bool) -> bytes:
    from localfirst.store.net.fetch import fetch_text

    if offline:
        raise NetworkError("A catalog from the network is not to be had with --offline", detail=url)
    return fetch_text(url, MAX_BYTES)

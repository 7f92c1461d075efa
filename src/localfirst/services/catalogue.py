"""The catalogs as the rest of the program gets them: parsed once, then read from a cache.

The built-in catalog comes first; those that the user has added can only add to it. The cache is one file; its first
line says which catalogs and which version of this package it was made from. Whatever is wrong with it, it is made
again, and where it cannot be written, done without.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from localfirst import __version__, paths
from localfirst.catalog.rows import from_json, to_json
from localfirst.catalog.rules import needs_recipe
from localfirst.errors import CatalogError, say_cause
from localfirst.store.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from localfirst.types import InstalledFile, Model, ModelFile, Recipe

BUILT_IN = "built-in"


class Catalog(NamedTuple):
    """A catalog file: the models in it that can be used, and a sentence about each mistake."""

    name: str
    path: Path
    models: tuple[Model, ...]
    mistakes: tuple[str, ...] = ()


def load_models() -> tuple[Model, ...]:
    """Every model of every catalog. What is wrong in an added one is left out; `find_catalogs` tells.

    Raises:
        CatalogError: the package has no catalog, or it has a mistake.
    """
    files = dict(_read_files())
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(f"{path} {len(content)}\n".encode() + content)
    stamp = f"{__version__} {digest.hexdigest()}"
    cache = paths.cache_dir() / "catalog.json"
    if (models := _read_cache(cache, stamp)) is not None:
        return models
    models = tuple(model for catalog in _parse(files) for model in catalog.models)
    _write_cache(cache, f"{stamp}\n{to_json(models)}")
    return models


def find_recipe(files: Sequence[ModelFile | InstalledFile], quantization: str | None) -> Recipe | None:
    """How files that no engine loads are made into such that one does, if a catalog knows them by their digest."""
    if not needs_recipe(quantization):
        return None
    digests = {file.sha256 for file in files}
    known = (variant for model in load_models() for variant in model.variants if variant.recipe)
    return next((variant.recipe for variant in known if variant.files[0].sha256 in digests), None)


def find_catalogs() -> tuple[Catalog, ...]:
    """The built-in catalog and those that were added, in the order of their names.

    Raises:
        CatalogError: the package has no catalog, or it has a mistake.
    """
    return _parse(dict(_read_files()))


def parse_added(path: Path, content: bytes, before: Sequence[Catalog], title: str | None = None) -> Catalog:
    """A catalog that comes after those `before` it: a name that one of them has already given away is a mistake.

    `title` is the file's name in messages, where it is not the path's.
    """
    from localfirst.catalog.names import find_keys
    from localfirst.catalog.parse import read_catalog

    models = [model for catalog in before for model in catalog.models]
    taken = {key: model.name for model in models for key in find_keys(model)}
    organisations: dict[str, set[str]] = {}
    for model in models:
        for variant in model.variants:
            if variant.host == "huggingface" and variant.tier == "vendor":
                organisations.setdefault(model.vendor, set()).add(variant.repo.partition("/")[0])
    known = {vendor: " ".join(sorted(owned)) for vendor, owned in organisations.items()}
    try:
        title = title or path.name
        return Catalog(path.stem, path, *read_catalog(_decode(content, title), title, taken, known))
    except CatalogError as error:
        return Catalog(path.stem, path, (), (": ".join(filter(None, (error.message, error.detail))),))


def model_names() -> tuple[str, ...]:
    """The names of all models, in the catalogs' order."""
    return tuple(model.name for model in load_models())


def _parse(files: Mapping[Path, bytes]) -> tuple[Catalog, ...]:
    from localfirst.catalog.parse import parse_catalog

    (shipped, content), *added = files.items()
    catalogs = [Catalog(BUILT_IN, shipped, parse_catalog(_decode(content, shipped.name)))]
    for path, more in added:
        catalogs.append(parse_added(path, more, catalogs))
    return tuple(catalogs)


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CatalogError(f"{name} is not UTF-8", detail=say_cause(error)) from error


def _read_files() -> Iterator[tuple[Path, bytes]]:
    """The catalog of the package (where it is installed from a checkout, the checkout's own), then the added ones."""
    shipped = paths.package_dir() / "catalog" / "catalog.yaml"
    for path in (shipped, paths.package_dir().parents[1] / "catalog.yaml"):
        with suppress(FileNotFoundError):
            yield path, path.read_bytes()
            break
    else:
        raise CatalogError(
            "catalog.yaml is missing from the package", detail=str(shipped), hint="Install localfirst again"
        )
    for path in sorted(paths.catalogs_dir().glob("*.yaml")):
        try:
            content = path.read_bytes()
        except OSError as error:
            content = f"# {error.strerror}\n".encode()  # no catalog, and so a mistake that is told
        yield path, content


def _read_cache(path: Path, stamp: str) -> tuple[Model, ...] | None:
    with suppress(OSError, ValueError, CatalogError):
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first == stamp:
            return from_json(rest)
    return None


def _write_cache(path: Path, text: str) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)

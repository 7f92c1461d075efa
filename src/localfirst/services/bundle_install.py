"""Bundles that were made elsewhere: verified, compared with what is known here, and put in place."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst import __version__, paths
from localfirst.catalog.cut import cut_catalog
from localfirst.catalog.names import find_keys, make_key, parse_name
from localfirst.catalog.parse import read_catalog
from localfirst.catalog.rules import READY_STATES
from localfirst.errors import CatalogError, IntegrityError, RuntimeMissingError, UnknownNameError, UsageError
from localfirst.runtimes import wheels
from localfirst.runtimes.find import this_system
from localfirst.runtimes.table import RUNTIMES
from localfirst.services import catalogue, engines, own_catalogs
from localfirst.services.own_catalogs import MISTAKES_SHOWN
from localfirst.store.bundles.contents import CATALOGS, WHEELS, PackedRuntime
from localfirst.store.bundles.place import find_root, find_twin, open_workplace, place
from localfirst.store.bundles.read import open_bundle
from localfirst.store.disk import check_space, explained, find_apart
from localfirst.store.select import is_glob, match_glob
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localfirst.runtimes.table import RuntimeRow
    from localfirst.store.bundles.contents import Contents, Member, PackedModel
    from localfirst.store.progress import Report
    from localfirst.types import Format, Model


_OTHER_VERSION = "Nothing was installed. Update lf here, or make the bundle with the version that is here"


class Placed(NamedTuple):
    """A model of a bundle on this disk, and whether it was there before."""

    model: InstalledModel
    kept: bool


class PlacedRuntime(NamedTuple):
    """A runtime of a bundle on this disk, and whether it was there before."""

    name: str
    engine: str
    kept: bool


class Installed(NamedTuple):
    """What a bundle brought."""

    models: tuple[Placed, ...]
    built_in: tuple[str, ...]
    """Models of it that are part of this program, and needed nothing but their engine."""
    runtimes: tuple[PlacedRuntime, ...]
    """None, where they were to be left out."""
    catalogs: tuple[str, ...]
    """Catalogs that were added for models that this program did not know."""
    missing: tuple[str, ...] = ()
    """Engines that the models need and this machine lacks, the one to install for each format."""


def install(path: Path, *, models_only: bool = False, trust_engines: bool = False, report: Report) -> Installed:
    """Verify a bundle, then put its models, the catalog entries that are missing here, and its engines in place.

    Nothing is placed before every byte was found right. What is here already is kept. With `trust_engines` an engine
    may come whose digest is not known here, since its maker's index has none.

    Raises:
        UsageError: no such file, or a name in it means another model here.
        IntegrityError: it is damaged, or has other digests than the catalog, the store or the pins here.
        RuntimeMissingError: its engines are not for this machine, or do not work here.
        DiskFullError, StoreError, CatalogError, UnknownNameError: as their messages say.
    """
    with open_bundle(path) as bundle, open_workplace(report) as work:
        contents, files = bundle.contents, work / "files"
        rows = () if models_only else _find_missing_engines(contents)
        if not trust_engines:
            _refuse_unknown(rows)
        known = catalogue.load_models()
        check_models(contents, known, _OTHER_VERSION)
        pieces = tuple(_make_piece(contents, packed) for packed in contents.models if packed.host != "builtin")
        needed = {CATALOGS, *(f"{WHEELS}/{row.name}" for row in rows)}
        needed |= {one.packed.folder for one in pieces if one.twin is None}
        taken = {member for folder in needed for member in contents.find_members(folder, whole=True)}
        _require_space(sum(member.size_bytes for member in taken), rows)
        bundle.unpack(lambda member: files / member.path if member in taken else None, report)
        added = _add_catalogs(contents, known, files)
        now = datetime.now(UTC).isoformat(timespec="seconds")  # files that are younger count as changed
        pieces = tuple(one._replace(model=one.model._replace(created=now)) for one in pieces)
        for one in pieces:
            if one.twin is None:
                place(one.model, files / one.packed.folder, report)
        for row in rows:
            _install_engine(row, contents, files, report)
    runtimes = () if models_only else contents.runtimes
    return Installed(
        models=tuple(Placed(one.twin or one.model, one.twin is not None) for one in pieces),
        built_in=tuple(packed.name for packed in contents.models if packed.host == "builtin"),
        runtimes=tuple(
            PlacedRuntime(one.name, f"{one.engine} {one.version}", one.name not in {row.name for row in rows})
            for one in runtimes
        ),
        catalogs=added,
        missing=_find_lacking({model.format for model in contents.models}),
    )


def _require_space(unpacked_bytes: int, rows: Sequence[RuntimeRow]) -> None:
    """Refuse what cannot end: it is unpacked beside the models, and engines may be installed on another disk."""
    models, runtimes = paths.models_dir(), paths.runtimes_dir()
    engine_bytes = sum(row.sizes[this_system()].installed_bytes or 0 for row in rows)
    if find_apart(runtimes, models) is None:
        check_space(models, unpacked_bytes + engine_bytes)
    else:
        check_space(models, unpacked_bytes)
        check_space(runtimes, engine_bytes, hint="Free some space there, or leave the engines out: `--models-only`.")


def _find_lacking(formats: set[Format]) -> tuple[str, ...]:
    """For each format that nothing here loads yet, an engine that would, where there is one for this machine."""
    runtimes = engines.find_runtimes()
    loaded = {kind for one in runtimes if one.state in READY_STATES for kind in one.formats}
    offered = (
        next((one.name for one in runtimes if one.state == "installable" and kind in one.formats), None)
        for kind in sorted(formats - loaded)
    )
    return tuple(dict.fromkeys(name for name in offered if name is not None))


class _Piece(NamedTuple):
    """A model in a bundle, as it will be here, and as it is here already."""

    packed: PackedModel
    model: InstalledModel
    twin: InstalledModel | None


def _make_piece(contents: Contents, packed: PackedModel) -> _Piece:
    files = contents.find_members(packed.folder)
    model = InstalledModel(
        name=packed.name,
        variant=packed.variant,
        format=packed.format,
        quantization=packed.quantization,
        host=packed.host,
        repo=packed.repo,
        revision=packed.revision,
        root=str(find_root(packed.name, packed.variant, packed.repo, packed.revision)),
        files=tuple(InstalledFile(*file) for file in files),
        created="",
        title=packed.title,
        license=packed.license,
    )
    return _Piece(packed, model, find_twin(model))


def _find_missing_engines(contents: Contents) -> tuple[RuntimeRow, ...]:
    """The runtimes of a bundle that are not here yet; each can be installed here, from the wheels that it brings."""
    system = (contents.target.platform, contents.target.arch)
    if contents.runtimes and system != this_system():
        raise RuntimeMissingError(
            f"The bundle is for {' '.join(system)}, and this machine is {' '.join(this_system())}",
            hint="Make one for this machine (`lf bundle create --for`), or install the models alone: `--models-only`",
        )
    present = {runtime.name for runtime in engines.find_runtimes() if runtime.python is not None}
    missing = [runtime for runtime in contents.runtimes if runtime.name not in present]
    if missing:
        wheels.require_same_python(contents.target.python)
    return tuple(_find_row(runtime, contents) for runtime in missing)


def _find_row(runtime: PackedRuntime, contents: Contents) -> RuntimeRow:
    row = next((one for one in RUNTIMES if one.name == runtime.name), None)
    if row is None or row.version != runtime.version or this_system() not in row.sizes:
        here = f"it has {row.version}" if row else "it has no such engine"
        raise RuntimeMissingError(
            f"The bundle brings {runtime.name} {runtime.version}, which this lf does not use",
            detail=f"the bundle was made by lf {contents.lf_version}, this is lf {__version__}; {here}",
            hint="Make it with the version of lf that is here, or install the models alone: `--models-only`",
        )
    wheels.check_wheels(row, contents.target.python, contents.find_wheels(row.name))
    return row


def _install_engine(row: RuntimeRow, contents: Contents, files: Path, report: Report) -> None:
    folder = files / WHEELS / row.name
    with explained(folder):
        recipe = wheels.write_recipe(row, folder, contents.find_wheels(row.name), folder.parent)
    engines.install_wheels(row.name, recipe, report=report)


def _refuse_unknown(rows: Sequence[RuntimeRow]) -> None:
    """Refuse engines that nothing here can be compared with: installing one runs it.

    Raises:
        IntegrityError: there is one.
    """
    unknown = [row.name for row in rows if row.index_url is not None]
    if unknown:
        raise IntegrityError(
            f"The engine `{unknown[0]}` in this bundle has a digest that this lf cannot compare",
            detail=f"Its maker's index names none. Not pinned: {', '.join(unknown)}",
            hint="If you trust whoever made this bundle: `--trust-engines`; else `--models-only` leaves engines out.",
        )


def _add_catalogs(contents: Contents, known: Sequence[Model], files: Path) -> tuple[str, ...]:
    """Add the entries of models that no catalog here has, as `lf catalog add` would; the names of the new catalogs.

    Raises:
        CatalogError: an entry has a mistake, or means a model that a catalog here has.
    """
    published = {one.name for one in contents.models if one.host == "huggingface" and not one.name.startswith("hf:")}
    unknown = published - {model.name for model in known}
    catalogs = list(catalogue.find_catalogs())
    added = []
    for member in contents.find_members(CATALOGS, whole=True) if unknown else ():
        with explained(files):
            text = (files / member.path).read_bytes().decode("utf-8", "replace")
        models, mistakes = read_catalog(text, member.path)
        missing = unknown & {model.name for model in models}
        if not missing and not mistakes:
            continue
        content = b"" if mistakes else cut_catalog(text, member.path, missing).encode()
        name = f"bundle-{hashlib.sha256(content).hexdigest()[:8]}"
        if not mistakes:
            catalogs.append(catalogue.parse_added(files / f"{name}.yaml", content, catalogs))
            mistakes = catalogs[-1].mistakes
        if mistakes:
            raise CatalogError(
                "The bundle has a catalog entry that cannot be used here",
                detail="\n".join(mistakes[:MISTAKES_SHOWN]),
                hint=_OTHER_VERSION,
            )
        with explained(files):
            catalogs[-1].path.write_bytes(content)
        added.append(catalogs[-1])
    check_models(contents, (*known, *(model for catalog in added for model in catalog.models)), _OTHER_VERSION)
    for catalog in added:
        own_catalogs.add(str(catalog.path))
    return tuple(catalog.name for catalog in added)


def check_models(contents: Contents, known: Sequence[Model], hint: str) -> None:
    """Compare a bundle's models with the catalogs here: a name may only mean what it means there.

    `hint` is what to type where they differ.

    Raises:
        IntegrityError: other digests, files or repositories than the catalog's.
        UnknownNameError: a build that the catalog does not have.
        UsageError: a name that means another model here.
    """
    by_name = {model.name: model for model in known}
    taken = {key for model in known for key in (*find_keys(model), make_key(model.family))}
    for packed in contents.models:
        model = by_name.get(packed.name)
        if model is not None:
            _check_known(packed, contents.find_members(packed.folder), model, hint)
        elif packed.host == "builtin":
            raise UnknownNameError(f"`{packed.name}` is no part of this lf", hint="Update lf here")
        elif packed.name.startswith("hf:"):
            if (parse_name(packed.name).repo or "").lower() != (packed.repo or "").lower():
                raise IntegrityError(f"The bundle's `{packed.name}` is of another repository: {packed.repo}")
        elif parse_name(packed.name).name != packed.name or make_key(packed.name) in taken:
            raise UsageError(f"`{packed.name}` in the bundle is the name of another model here, or cannot be one")


def _check_known(packed: PackedModel, files: Sequence[Member], model: Model, hint: str) -> None:
    variant = next((one for one in model.variants if one.name == packed.variant), None)
    if variant is None or (variant.host == "builtin") != (packed.host == "builtin"):
        raise UnknownNameError(
            f"The catalog here has no build `{packed.name}@{packed.variant}` that a bundle may bring",
            detail=f"it has {', '.join(f'@{one.name}' for one in model.variants)}",
            hint=hint,
        )
    if packed.host == "builtin":
        return
    pinned = {file.path.lower(): file.sha256 for file in variant.files if not is_glob(file.path)}
    named = {*pinned, *(path for one in variant.files if is_glob(one.path) for path in _match(one.path, files))}
    for file in files:
        digest = pinned.get(file.path.lower())
        if digest not in (None, file.sha256):
            raise IntegrityError(
                f"{file.path} of `{packed.name}` in the bundle is not the file that the catalog here knows",
                detail=f"catalog: {digest}\nbundle:  {file.sha256}",
                hint=hint,
            )
        if digest is None and (packed.repo or "").lower() != variant.repo.lower():
            raise IntegrityError(
                f"`{packed.name}@{packed.variant}` in the bundle is from elsewhere than the catalog here says",
                detail=f"catalog: {variant.repo}\nbundle:  {packed.repo or 'a file of its maker'}",
                hint=hint,
            )
    found = {file.path.lower() for file in files}
    if strange := sorted((found - named) | (pinned.keys() - found)):
        raise IntegrityError(
            f"`{packed.name}@{packed.variant}` in the bundle has other files than the catalog here says",
            detail="\n".join(strange),
            hint=hint,
        )


def _match(pattern: str, files: Sequence[Member]) -> list[str]:
    return [path.lower() for path in match_glob(pattern, (file.path for file in files))]

"""Pull a variant: plan, then files, then the manifest. Until that is written the model does not exist."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, NetworkError, UnknownNameError
from localfirst.store import layout, manifest
from localfirst.store.builtin import find_builtin
from localfirst.store.disk import check_space, explained, hash_file
from localfirst.store.endpoint import find_endpoint
from localfirst.store.hub import read_listing
from localfirst.store.lock import hold
from localfirst.store.names import is_commit
from localfirst.store.progress import Meter, ignore
from localfirst.store.select import select_files
from localfirst.store.transfer import Place, Transfer
from localfirst.store.verify import check_quick
from localfirst.store.wire import Limits
from localfirst.types import InstalledFile, InstalledModel, ModelFile, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localfirst.store.endpoint import Endpoint
    from localfirst.store.listing import HubFile, Listing
    from localfirst.types import Model, Variant


def pull(
    model: Model,
    variant: Variant,
    *,
    offline: bool = False,
    report: Callable[[Progress], None] = ignore,
    limits: Limits | None = None,
) -> InstalledModel:
    """The variant on this disk: as it is if it is installed, else fetched, verified and recorded.

    Raises:
        NetworkError: offline and not installed, or the network fails for good.
        DiskFullError: before the first byte if it cannot fit, else where the disk ended; what was fetched is kept.
        IntegrityError: the hub's digests are not the catalog's, or its bytes not its digests.
        LicenseError, UnknownNameError, CatalogError, ModelFileError, StoreError: as their messages say.
    """
    if variant.host == "builtin":
        return find_builtin(model, variant)
    installed = manifest.find(model.name, variant.name)
    if installed is not None and installed.host == "import":
        check_quick(installed)  # the user's own files: there is nowhere to fetch them
        return installed
    if installed is not None and _is_whole(installed):
        _tell_other_revision(installed, variant, report)
        return installed
    full = f"{model.name}@{variant.name}" if not model.name.startswith("hf:") else model.name
    if variant.host == "foundry":
        raise UnknownNameError(
            f"`{full}` is served by Foundry Local's own catalog, from which nothing can be fetched here",
            hint=f"See the other builds: `lf model info {model.name}`.",
        )
    if offline:
        raise NetworkError(
            f"`{full}` is not installed, and --offline forbids fetching it",
            hint=f"Run `lf pull {full}` with a connection.",
        )
    endpoint, limits = find_endpoint(), limits or Limits()
    job = _Job(model, variant, _read_listing(variant, endpoint, report, limits), endpoint)
    with hold(layout.find_lock(job.folder), model.name, report):
        installed = manifest.find(model.name, variant.name)  # another process may have fetched it meanwhile
        if installed is not None and _is_whole(installed):
            return installed
        return _install(job, report, limits)


def measure(variant: Variant, *, report: Callable[[Progress], None] = ignore, limits: Limits | None = None) -> Variant:
    """The variant at its hub's commit, with the files and sizes that are there.

    Raises:
        NetworkError, IntegrityError, LicenseError, UnknownNameError, CatalogError: as `pull`.
    """
    listing = _read_listing(variant, find_endpoint(), report, limits or Limits())
    chosen = select_files(variant, listing, lambda _: None)
    files = tuple(ModelFile(file.path, file.size_bytes, file.sha256) for file in chosen)
    return variant._replace(revision=listing.commit, files=files, size_bytes=sum(file.size_bytes for file in chosen))


def _read_listing(variant: Variant, endpoint: Endpoint, report: Callable[[Progress], None], limits: Limits) -> Listing:
    listing = read_listing(variant.repo, variant.revision, endpoint=endpoint, report=report, limits=limits)
    if is_commit(variant.revision) and listing.commit != variant.revision:
        raise IntegrityError(
            f"{endpoint.host} answers for another commit of `{variant.repo}` than the one asked for",
            detail=f"asked:    {variant.revision}\nanswered: {listing.commit}",
        )
    return listing


@dataclass(frozen=True, slots=True)
class _Job:
    model: Model
    variant: Variant
    listing: Listing
    endpoint: Endpoint

    @property
    def folder(self) -> Path:
        return layout.find_folder(self.model.name, self.variant.name, self.listing.repo, self.listing.commit)

    @property
    def place(self) -> Place:
        return Place(self.listing.repo, self.listing.commit, self.folder / layout.FILES, self.folder / layout.PARTIAL)


def _is_whole(installed: InstalledModel) -> bool:
    try:
        check_quick(installed)
    except IntegrityError:
        return False
    return True


def _tell_other_revision(installed: InstalledModel, variant: Variant, report: Callable[[Progress], None]) -> None:
    newest, here = variant.revision, installed.revision
    if newest is None or here is None or not is_commit(newest) or newest == here:
        return
    notice = f"revision {here[:12]} is installed and stays; {newest[:12]} is the one named now"
    report(Progress(installed.name, installed.size_bytes, installed.size_bytes, None, {"notice": notice}))


def _install(job: _Job, report: Callable[[Progress], None], limits: Limits) -> InstalledModel:
    notices: list[str] = []
    chosen = select_files(job.variant, job.listing, notices.append)
    meter = Meter(job.model.name, sum(file.size_bytes for file in chosen), report)
    for notice in notices:
        meter.notice(notice)
    folder, place = job.folder, job.place
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / layout.MANIFEST).unlink(missing_ok=True)  # there only if files are missing: a damaged model is none
        check_space(folder, _count_missing(chosen, place))
    with Transfer(job.endpoint, meter, limits) as transfer:
        files = tuple(_reuse(file, place, meter) or transfer.fetch(file, place) for file in chosen)
    installed = InstalledModel(
        name=job.model.name,
        variant=job.variant.name,
        format=job.variant.format,
        quantization=job.variant.quantization,
        host="huggingface",
        repo=job.listing.repo,
        revision=job.listing.commit,
        root=str(place.folder),
        files=files,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        title=job.model.title,
    )
    manifest.write(installed)
    with suppress(OSError):  # empty by now, or leftovers of another choice of files
        shutil.rmtree(place.partial)
    return installed


def _count_missing(chosen: Sequence[HubFile], place: Place) -> int:
    """Bytes still to be written."""
    missing = sum(file.size_bytes for file in chosen)
    for file in chosen:
        path = place.folder / file.path
        if path.is_file() and path.stat().st_size == file.size_bytes:
            missing -= file.size_bytes
    parts = place.partial.glob("*.part") if place.partial.is_dir() else ()
    return max(0, missing - sum(part.stat().st_size for part in parts))


def _reuse(file: HubFile, place: Place, meter: Meter) -> InstalledFile | None:
    """The file as an interrupted pull left it, if its digest says that it is whole. Small files are fetched anew."""
    path = place.folder / file.path
    if file.sha256 is None or not path.is_file() or path.stat().st_size != file.size_bytes:
        return None
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size
        meter.add(size, file.path)

    with explained(path):
        if hash_file(path, count) == file.sha256:
            return InstalledFile(file.path, file.size_bytes, file.sha256)
    meter.add(-counted, file.path)
    return None

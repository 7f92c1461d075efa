"""Pull a variant: plan, then files, then the manifest. Until that is written the model does not exist."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, ModelFileError, NetworkError, UnknownNameError
from localfirst.lock import LeaseLostError
from localfirst.store import derive, layout, manifest, removal, revisions
from localfirst.store.builtin import find_builtin
from localfirst.store.claim import claim
from localfirst.store.disk import check_space, explained, hash_file, measure_allocated
from localfirst.store.formats.gguf import check_fetched
from localfirst.store.listing import HubFile
from localfirst.store.names import is_commit
from localfirst.store.net.endpoint import find_endpoint
from localfirst.store.net.hub import read_listing
from localfirst.store.net.wire import Limits
from localfirst.store.progress import Meter, ignore
from localfirst.store.select import select_files
from localfirst.store.transfer.copy import copy_file
from localfirst.store.transfer.file import Place, Transfer
from localfirst.store.transfer.part import detach, find_part, reopen
from localfirst.store.verify import check_quick, is_changed, remember, settle, verify
from localfirst.types import InstalledFile, InstalledModel, ModelFile, Progress, format_build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localfirst.lock import Lease
    from localfirst.store.listing import Listing
    from localfirst.store.net.endpoint import Endpoint
    from localfirst.types import Model, Variant


def pull(
    model: Model,
    variant: Variant,
    *,
    offline: bool = False,
    report: Callable[[Progress], None] = ignore,
    limits: Limits | None = None,
) -> InstalledModel:
    """The variant on this disk: as it is if it is installed, else fetched, verified, recorded and made the current one.

    A damaged one is mended at its own revision.

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
        check_quick(installed)  # there is nowhere to fetch its files
        _tell_changed(installed, report)
        return installed
    if installed is not None and _is_intact(installed):
        _tell_other_revision(installed, variant, report)
        return derive.ensure(installed, variant, report=report)
    if installed is not None and installed.keeper is None:
        variant = _name_files(variant, installed)
    full = format_build(model.name, variant.name)
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
    fetched = fetch(model, variant, report=report, limits=limits)
    if installed is not None and installed.keeper is not None and installed.shared is None:
        _forget(installed, fetched)
    return fetched


def _forget(installed: InstalledModel, fetched: InstalledModel) -> None:
    """Forget a record of files that another tool has deleted, once they were fetched; it may have lain elsewhere."""
    if manifest.find_manifest(installed) != manifest.find_manifest(fetched):
        removal.remove(installed)


def fetch(
    model: Model,
    variant: Variant,
    *,
    listing: Listing | None = None,
    report: Callable[[Progress], None] = ignore,
    limits: Limits | None = None,
) -> InstalledModel:
    """The variant at the revision that it names, or else at its hub's newest, whatever other ones are on this disk.

    It becomes the current one. `listing` is its repository at that revision, where the hub was asked already.

    Raises:
        NetworkError, DiskFullError, IntegrityError, LicenseError, UnknownNameError: as `pull`.
        CatalogError, ModelFileError, StoreError: as their messages say.
    """
    installed = _fetch(plan(model, variant, report, limits or Limits(), listing), report)
    revisions.make_current(installed, manifest.find_all())
    return installed


def repair(
    installed: InstalledModel,
    model: Model,
    damaged: Sequence[str],
    *,
    report: Callable[[Progress], None] = ignore,
    limits: Limits | None = None,
) -> InstalledModel:
    """Fetch what is wrong in the `damaged` files of what is installed, and no more of them than that.

    `model` is what is installed as a model of one variant.

    While that lasts there is no such model, and an interrupted repair goes on as any pull does.

    Raises:
        NetworkError, DiskFullError, IntegrityError, LicenseError, UnknownNameError: as `fetch`.
    """
    (variant,) = model.variants
    job = plan(model, variant, report, limits or Limits())
    select_files(job.variant, job.listing, lambda _: None)  # nothing is touched where the hub has other files now
    with claim(lambda: job.folder, model.name, report) as (folder, _), explained(folder):
        place = job.find_place(folder)
        manifest.clear(folder)
        for file in installed.files:
            if file.path in damaged:
                reopen(place.folder, place.partial, place.trails, HubFile(file.path, file.size_bytes, file.sha256))
    return _fetch(job, report)


def plan(
    model: Model,
    variant: Variant,
    report: Callable[[Progress], None],
    limits: Limits,
    listing: Listing | None = None,
) -> Job:
    """What is to be fetched; the hub is asked for its listing unless that is given.

    Raises:
        NetworkError, IntegrityError, LicenseError, UnknownNameError: as `pull`.
    """
    endpoint = find_endpoint()
    return Job(model, variant, listing or _read_listing(variant, endpoint, report, limits), endpoint, limits)


def _fetch(job: Job, report: Callable[[Progress], None]) -> InstalledModel:
    while True:
        held = claim(lambda: job.folder, job.model.name, report, beating=True)
        with suppress(LeaseLostError), held as (folder, lease):
            installed = manifest.find_in(folder)  # another process may have fetched it meanwhile
            if installed is not None and _is_intact(installed) and derive.is_ready(installed, job.variant):
                return installed
            if lease.taken_over:
                detach(folder / layout.PARTIAL, lease.beat)
            try:
                return _install(job, folder, _beating(report, lease), lease)
            except (KeyboardInterrupt, SystemExit):
                kept = "interrupted; what has been fetched is kept: run the same command again to continue"
                report(Progress(job.model.name, 0, None, None, {"notice": kept}))
                raise


def _beating(report: Callable[[Progress], None], lease: Lease) -> Callable[[Progress], None]:
    """Report, and give a sign of life with it."""

    def report_and_beat(progress: Progress) -> None:
        lease.beat()
        report(progress)

    return report_and_beat


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
class Job:
    """A variant to be fetched, and where its files come from."""

    model: Model
    variant: Variant
    listing: Listing
    endpoint: Endpoint
    limits: Limits

    @property
    def folder(self) -> Path:
        """Where it belongs, while the store is where it is now."""
        return layout.find_folder(self.model.name, self.variant.name, self.listing.repo, self.listing.commit)

    def find_place(self, folder: Path) -> Place:
        """Where its files go in that folder."""
        files, partial, trails = (folder / part for part in (layout.FILES, layout.PARTIAL, layout.TRAILS))
        return Place(self.listing.repo, self.listing.commit, files, partial, trails)


def _is_intact(installed: InstalledModel) -> bool:
    """Whether all files have their sizes, and those that were written to since are the same all the same.

    What was made of them can be made again.
    """
    if verify(installed._replace(derived=None), quick=True):
        return False
    if installed.keeper is None and installed.shared is None:
        settle(installed)
    return True


def _name_files(variant: Variant, installed: InstalledModel) -> Variant:
    """The variant as it is installed: these files of this revision, whatever is named now."""
    files = tuple(ModelFile(*file) for file in installed.files)
    same = {file.sha256 for file in files} == {file.sha256 for file in variant.files}
    return variant._replace(
        repo=installed.repo or variant.repo,
        revision=installed.revision,
        files=files,
        recipe=variant.recipe if same else None,
    )


def _tell_changed(installed: InstalledModel, report: Callable[[Progress], None]) -> None:
    """Say that files of the user's own are not as they were; what became of them is for the user to know."""
    changed = [file.path for file in installed.files if is_changed(installed, file)]
    if changed:
        notice = (
            f"{', '.join(changed)} was written to since; `lf model verify {installed.name}` tells if it is the same"
        )
        report(Progress(installed.name, installed.size_bytes, installed.size_bytes, None, {"notice": notice}))


def _tell_other_revision(installed: InstalledModel, variant: Variant, report: Callable[[Progress], None]) -> None:
    if notice := revisions.say_other(installed, variant):
        report(Progress(installed.name, installed.size_bytes, installed.size_bytes, None, {"notice": notice}))


def _install(job: Job, folder: Path, report: Callable[[Progress], None], lease: Lease) -> InstalledModel:
    files = fetch_files(job, folder, report, lease)
    place = job.find_place(folder)
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
        license=job.listing.license if job.model.license == "unknown" else job.model.license,
    )
    if job.variant.recipe:
        derived = derive.make(installed, job.variant.recipe, folder, report=report, verified=True)
        installed = installed._replace(derived=derived)
    else:
        _require_loadable(installed)
    lease.check()
    manifest.write(installed)
    remember(installed, ())
    with suppress(OSError):  # empty by now, or leftovers of another choice of files
        shutil.rmtree(place.partial)
    return installed


def _require_loadable(installed: InstalledModel) -> None:
    """Refuse weights that no engine loads, which their names did not tell; what was fetched goes.

    Raises:
        ModelFileError: it is such a file.
    """
    if installed.format != "gguf":
        return
    try:
        check_fetched(layout.find_main(installed))
    except ModelFileError:
        with suppress(OSError):
            shutil.rmtree(installed.root)
        raise


def fetch_files(job: Job, folder: Path, report: Callable[[Progress], None], lease: Lease) -> tuple[InstalledFile, ...]:
    """The files of a variant in its folder, whose lock is held; there is no model until they are recorded.

    Raises:
        NetworkError, DiskFullError, IntegrityError, LicenseError, UnknownNameError: as `pull`.
    """
    notices: list[str] = []
    chosen = select_files(job.variant, job.listing, notices.append)
    sizes = {file.path: file.size_bytes for file in chosen}
    meter = Meter(job.model.name, sum(sizes.values()), report, files=sizes)
    for notice in notices:
        meter.notice(notice)
    place = job.find_place(folder)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        manifest.clear(folder)  # there only if files are missing: a damaged model is none
        check_space(folder, _count_missing(chosen, place) + derive.measure(job.variant))
    twins = _find_twins(chosen)
    with Transfer(job.endpoint, meter, job.limits, lease) as transfer:
        return tuple(
            _reuse(file, place, meter) or _copy(file, twins, place, meter) or transfer.fetch(file, place)
            for file in chosen
        )


def _count_missing(chosen: Sequence[HubFile], place: Place) -> int:
    """Bytes that the disk has yet to give."""
    missing = 0
    for file in chosen:
        done, part = place.folder / file.path, find_part(place.partial, file)
        taken = max((measure_allocated(path) for path in (done, part) if path.is_file()), default=0)
        missing += max(0, file.size_bytes - taken)
    return missing


def _reuse(file: HubFile, place: Place, meter: Meter) -> InstalledFile | None:
    """The file as an interrupted pull left it, if its digest says that it is whole. Small files are fetched anew."""
    path = place.folder / file.path
    if file.sha256 is None or not path.is_file() or path.stat().st_size != file.size_bytes:
        return None
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size
        meter.found(size, file.path)

    with explained(path):
        if hash_file(path, count) == file.sha256:
            return InstalledFile(file.path, file.size_bytes, file.sha256)
    meter.found(-counted, file.path)
    return None


def _find_twins(chosen: Sequence[HubFile]) -> dict[str, list[Path]]:
    """Files of other models on this disk that have the digest of one that is wanted."""
    wanted = {file.sha256 for file in chosen}
    twins: dict[str, list[Path]] = {}
    for model in manifest.find_all():
        for file in model.files:
            if file.sha256 in wanted:
                twins.setdefault(file.sha256, []).append(Path(model.root) / file.path)
    return twins


def _copy(file: HubFile, twins: Mapping[str, Sequence[Path]], place: Place, meter: Meter) -> InstalledFile | None:
    """The file as a copy of one that is on this disk, unless a part of it has been fetched already."""
    if file.sha256 is None or find_part(place.partial, file).exists():
        return None
    for twin in twins.get(file.sha256, ()):
        before = meter.done
        with suppress(OSError):  # it is fetched instead, and says so if the disk is full
            count = partial(meter.found, file=file.path)
            if copy_file(twin, place.folder / file.path, place.trails, sha256=file.sha256, count=count):
                return InstalledFile(file.path, file.size_bytes, file.sha256)
        meter.found(before - meter.done, file.path)
    return None

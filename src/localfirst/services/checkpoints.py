"""Where a build's weights come from: a folder of the user's, or a repository whose files are borrowed for it."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog import names
from localfirst.errors import LfError, ModelFileError, NetworkError, StoreError, UsageError
from localfirst.runtimes.builder import NAME, Sizes, check_architecture
from localfirst.services import consent, engines
from localfirst.services.library import add_terms
from localfirst.store import checkpoint, manifest
from localfirst.store.builds import describe_checkpoint
from localfirst.store.imports import make_name
from localfirst.store.loan import borrow
from localfirst.store.net.hub import read_listing
from localfirst.store.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.store.checkpoint import Shape
    from localfirst.store.listing import Listing
    from localfirst.types import InstalledFile, ModelName, Progress

    Report = Callable[[Progress], None]


KEPT = "what has been fetched of the weights is kept for another try; `lf store gc` removes it"


class Source(NamedTuple):
    """A checkpoint that can be built, by its configuration; its weights may have to be fetched yet."""

    label: str
    """`hf:org/repo@commit`, or the folder."""
    name: str
    """What to call what is made of it."""
    architecture: str
    sizes: Sizes
    fetch_bytes: int
    license: str | None
    root: Path
    take: Callable[[Report], tuple[InstalledFile, ...]]
    """Fetches what is missing, looks at every file, and gives them with their digests."""


@contextmanager
def open_source(text: str, *, offline: bool, accept_license: bool, report: Report) -> Iterator[Source]:
    """The checkpoint that a path or `hf:org/repo[@revision]` means, until what is made of it is there.

    Of a repository only the configuration is fetched here. What `take` has fetched is removed in the end; where
    something fails it is kept for the next time (`KEPT`).

    Raises:
        UsageError: the text means neither.
        ModelFileError: it is no checkpoint, damaged, needs code, or is of an architecture that cannot be built.
        LfError: as the hub says.
    """
    if text and not text.startswith("hf:") and paths.is_folder(folder := paths.expand(text)):
        yield _find_folder(folder.resolve())
        return
    asked = names.parse_name(text)
    if asked.repo is None:
        raise UsageError(
            f"There is no folder `{text}`",
            hint="Give the folder of a model's original weights, or their repository: hf:ORGANISATION/REPOSITORY",
        )
    if asked.file is not None:
        raise UsageError("A build is made of a whole repository", hint=f"Leave out `:{asked.file}`")
    if offline:
        raise NetworkError(f"`{text}` has to be looked up, and the network is off", hint="Give a folder instead")
    with _open_repository(asked, accept_license=accept_license, report=report) as source:
        yield source


def _find_folder(folder: Path) -> Source:
    try:
        files = checkpoint.check_folder(folder)
        shape = checkpoint.read_shape(folder)
        architecture = check_architecture(shape.architecture, str(folder))
        total = sum((folder / name).stat().st_size for name in files)
        weights = sum((folder / name).stat().st_size for name in files if name.endswith(checkpoint.WEIGHTS))
        tensors = checkpoint.count_parameters(folder, files)
        parameters = sum(tensors.values())
        checkpoint.check_whole(shape, files, parameters, tensors)
    except OSError as error:
        raise StoreError(f"{error.filename or folder} cannot be read", detail=str(error)) from error

    def take(report: Report) -> tuple[InstalledFile, ...]:
        meter = Meter(folder.name, total, report)
        try:
            return checkpoint.hash_files(folder, checkpoint.check_folder(folder), meter)
        except OSError as error:
            raise StoreError(f"{error.filename or folder} cannot be read", detail=str(error)) from error

    return Source(
        label=str(folder),
        name=make_name(folder),
        architecture=architecture,
        sizes=_find_sizes(shape, parameters, weights),
        fetch_bytes=0,
        license=None,
        root=folder,
        take=take,
    )


def find_remedy(folder: Path) -> str | None:
    """What to type where nothing here runs the model in a folder; `None` where no build can be made of it."""
    try:
        _find_folder(folder)
        usable = engines.find_runtime(NAME).state != "unavailable"
    except LfError:
        return None
    return f"`lf model optimize {shlex.quote(str(folder))}` makes a build of it that runs here" if usable else None


def _find_sizes(shape: Shape, parameters: int, weights_bytes: int) -> Sizes:
    return Sizes(parameters, min(shape.embedding, parameters), shape.numbers.tied is True, weights_bytes)


@contextmanager
def _open_repository(asked: ModelName, *, accept_license: bool, report: Report) -> Iterator[Source]:
    listing = read_listing(asked.repo or "", asked.revision, report=report)
    chosen = _choose(listing)
    model, variant = describe_checkpoint(listing, chosen)
    consent.require_for(add_terms(model), accepted=accept_license)
    if (present := _find_present(listing, chosen)) is not None:
        yield _find_folder(present)._replace(
            label=_name(listing), name=make_name(Path(listing.repo.rpartition("/")[2])), license=listing.license
        )
        return
    with borrow(model, variant, listing, report=report) as loan:
        keep = loan.begun  # who declines a plan, or has too little memory now, loses nothing that was kept before

        def take(report: Report) -> tuple[InstalledFile, ...]:
            nonlocal keep
            keep = True
            files = loan.fetch(chosen, report)
            try:
                _find_folder(loan.root)
            except ModelFileError:
                keep = False
                raise
            return files

        try:
            loan.fetch((checkpoint.CONFIG,), report)
            yield _describe(listing, chosen, loan.root)._replace(take=take)
            keep = False
        finally:
            # Who has waited for gigabytes has them still when the disk was full, or the builder failed.
            if not keep:
                loan.end()


def _describe(listing: Listing, chosen: tuple[str, ...], root: Path) -> Source:
    shape = checkpoint.read_shape(root)
    architecture = check_architecture(shape.architecture, f"hf:{listing.repo}")
    sizes = {file.path: file.size_bytes for file in listing.files if file.path in chosen}
    weights = sum(size for path, size in sizes.items() if path.endswith(checkpoint.WEIGHTS))
    parameters = listing.parameters or shape.count_parameters(weights)
    checkpoint.check_whole(shape, chosen, parameters)
    return Source(
        label=_name(listing),
        name=make_name(Path(listing.repo.rpartition("/")[2])),
        architecture=architecture,
        sizes=_find_sizes(shape, parameters, weights),
        fetch_bytes=sum(sizes.values()),
        license=listing.license,
        root=root,
        take=lambda _: (),
    )


def _name(listing: Listing) -> str:
    return f"hf:{listing.repo}@{listing.commit}"


def _choose(listing: Listing) -> tuple[str, ...]:
    paths = [file.path for file in listing.files]
    if code := sorted(path for path in paths if path.endswith(".py")):
        raise ModelFileError(
            f"`{listing.repo}` brings code of its own, which is never run",
            detail="\n".join(code[:20]),
            hint="Use a build of the model that needs none: `lf list` shows those that there are.",
        )
    chosen = checkpoint.choose_files(paths)
    if checkpoint.CONFIG not in chosen or not any(path.endswith(checkpoint.WEIGHTS) for path in chosen):
        raise ModelFileError(
            f"`{listing.repo}` has no config.json with .safetensors files",
            detail="\n".join(paths[:20]),
            hint="Give the repository with the original weights of the model.",
        )
    return chosen


def _find_present(listing: Listing, chosen: tuple[str, ...]) -> Path | None:
    """Where a model of this disk has these files."""
    for one in manifest.find_all():
        same = (one.repo, one.revision) == (listing.repo, listing.commit)
        if same and set(chosen) <= {file.path for file in one.files}:
            return Path(one.root)
    return None

"""Files that were verified beside the store become a model of it: all of them first, the manifest last."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import IntegrityError, StoreError, UsageError
from localfirst.store import layout, manifest, revisions
from localfirst.store.claim import claim, claim_record
from localfirst.store.disk import explained, hash_file, sync_file, sync_folder
from localfirst.store.progress import Meter
from localfirst.store.verify import is_whole
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.store.formats import Found
    from localfirst.store.progress import Report
    from localfirst.types import Making

_BUNDLES = layout.WORKPLACES[0]


@contextmanager
def open_workplace(report: Report, name: str = _BUNDLES) -> Iterator[Path]:
    """An empty folder on the store's disk, for one process at a time; what a killed one left in it is gone.

    Raises:
        StoreError: it cannot be made.
    """
    with ExitStack() as held:
        work = held.enter_context(claim_record(name, report)) / f".{name}"
        with explained(work):
            if work.exists():
                shutil.rmtree(work)
            work.mkdir()
        held.callback(shutil.rmtree, work, ignore_errors=True)
        yield work


def find_twin(model: InstalledModel) -> InstalledModel | None:
    """The installed model that has this one's place, if it is whole and has the same files; `None` where it may go.

    Raises:
        IntegrityError: another model of a hub has its place, with other digests.
        UsageError: an import has its name.
    """
    path = manifest.find_manifest(model)
    try:
        there = manifest.read_manifest(path)
    except StoreError:  # none, or damaged
        return None
    digests = {file.path: file.sha256 for file in there.files}
    wanted = {file.path: file.sha256 for file in model.files}
    if digests != wanted:
        detail = "\n".join(
            f"{name}\ninstalled: {digests.get(name, 'no such file')}\nbundle:    {wanted.get(name, 'no such file')}"
            for name in sorted(digests.keys() | wanted.keys())
            if digests.get(name) != wanted.get(name)
        )
        hint = f"To take the bundle's: `lf model rm {model.name}` first"
        if model.repo is None:
            raise UsageError(f"There is another model named `{model.name}` here", detail=detail, hint=hint)
        raise IntegrityError(f"`{model.full_name}` is installed with other digests", detail=detail, hint=hint)
    return there if is_whole(there) else None


def place(model: InstalledModel, staged: Path, report: Report) -> None:
    """Move a model's verified and synced files from the folder `staged` to where they belong, and record it.

    `model.root` is the store's folder for it, as `find_root` says. Until the manifest is written there is no model, and
    doing it again begins where this ended.

    Raises:
        StoreError, DiskFullError: the store cannot be written.
    """
    root = Path(model.root)

    def find_folder() -> Path:
        return find_root(model.name, model.variant, model.repo, model.revision).parent

    with claim(find_folder, model.name, report) as (folder, _):
        if folder != root.parent:
            raise StoreError(
                "The store was moved to another place meanwhile",
                detail=str(paths.models_dir()),
                hint="Run the same command again.",
            )
        if find_twin(model) is not None:  # placed meanwhile by another process, which may also have taken the name
            return
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            manifest.clear(folder)  # there only if the model is damaged
            for file in model.files:
                target = root / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (staged / file.path).replace(target)
            for parent in {(root / file.path).parent for file in model.files} | {root, folder, folder.parent}:
                sync_folder(parent)
        manifest.write(model)
        revisions.make_current(model, manifest.find_all())
        with suppress(OSError):  # what an interrupted pull of it left
            shutil.rmtree(folder / layout.PARTIAL)


def record_made(found: Found, name: str, recipe: Making, *, license_: str | None, report: Report) -> InstalledModel:
    """Make what a tool has written into a workplace a model of the store.

    Raises:
        UsageError: an import has its name.
        StoreError, DiskFullError: the store cannot be written.
    """
    variant = f"{recipe.precision}-{recipe.device}"
    meter = Meter(name, sum((found.root / path).stat().st_size for path in found.paths), report)
    with explained(found.root):
        files = tuple(_seal(found.root, path, meter) for path in found.paths)
    model = InstalledModel(
        name=name,
        variant=variant,
        format=found.format,
        quantization=recipe.precision,
        host="import",
        repo=None,
        revision=None,
        root=str(find_root(name, variant, None, None)),
        files=files,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        license=license_,
        recipe=recipe,
    )
    place(model, found.root, report)
    return model


def _seal(root: Path, path: str, meter: Meter) -> InstalledFile:
    """A file's digest, when its bytes are on the disk."""
    with (root / path).open("r+b") as file:
        sync_file(file.fileno())
    digest = hash_file(root / path, partial(meter.add, file=path))
    return InstalledFile(path, (root / path).stat().st_size, digest)


def find_root(name: str, variant: str, repo: str | None, revision: str | None) -> Path:
    """Where the files of a model of the store lie."""
    return layout.find_folder(name, variant, repo, revision) / layout.FILES

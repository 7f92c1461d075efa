"""Models from the user's own disk: by reference, where nothing is copied, or as copies. Every digest is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, ModelFileError, StoreError, UsageError
from localfirst.store import layout, manifest, removal, staging
from localfirst.store.claim import claim, claim_record
from localfirst.store.disk import explained, hash_file
from localfirst.store.formats import recognise
from localfirst.store.names import check_paths
from localfirst.store.progress import Meter, ignore
from localfirst.store.verify import is_whole
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.store.formats import Found
    from localfirst.types import Progress

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def import_path(
    path: Path,
    *,
    name: str | None,
    copy: bool = False,
    is_taken: Callable[[str], bool] = lambda _: False,
    report: Callable[[Progress], None] = ignore,
) -> InstalledModel:
    """Make files of the user's a model of this store: where they lie, or with `copy` as the store's own.

    Importing the same files under the same name again refreshes their digests, and may change the one into the other.
    `is_taken` tells whether a name means something outside of this store.

    Raises:
        UsageError: no such path, a name that cannot be one, or one that belongs to another model.
        ModelFileError: the files are damaged, incomplete, or of a kind that is never loaded.
        DiskFullError: there is no room for a copy.
        StoreError: they cannot be read, or the store cannot be written.
    """
    path, found = _find(path)
    name = check_name(name) if name is not None else make_name(path)
    if is_taken(name):
        raise UsageError(
            f"`{name}` is the name of a model in the catalog", hint="Give it another one: `--name my-model`"
        )
    variant = _name_variant(found)
    # The name first: builds of several quantizations have folders of their own, and a clash is between them.
    with (
        claim_record(f"import--{name}", report),
        claim(lambda: layout.find_folder(name, variant, None, None), name, report) as (folder, _),
    ):
        _check_clash(name, variant, found)
        copied = _find_copy(name, variant)
        if copied is not None and _is_copy(copied, _hash_files(found, name, report), found):
            return copied
        record = _copy if copy else _refer
        model = record(found, name, folder, report)
    # One lock at a time: who moves the store holds many, and waits for the next.
    for other in manifest.find_own():
        if other.keeper and other.variant != variant and _is_same(other, name, found):
            removal.remove(other)  # it was named by another quantization, as an earlier release understood it
    return model


def _find_copy(name: str, variant: str) -> InstalledModel | None:
    """What an import with `copy` made."""
    found = (one for one in manifest.find_own() if (one.name, one.variant, one.host) == (name, variant, "import"))
    return next((one for one in found if one.keeper is None), None)


def _is_copy(copied: InstalledModel, files: tuple[InstalledFile, ...], found: Found) -> bool:
    """Whether a copy still is there in whole; it stays as it is, since nothing but it may be left of its original.

    Raises:
        UsageError: it is one of other files.
    """
    if copied.files != files:
        raise _refuse_clash(copied, found)
    return is_whole(copied)


def _refer(found: Found, name: str, folder: Path, report: Callable[[Progress], None]) -> InstalledModel:
    model = _describe(found, name, _hash_files(found, name, report))
    manifest.write(model)
    staging.clear(folder)  # of a copy that was begun or damaged
    return model


def _copy(found: Found, name: str, folder: Path, report: Callable[[Progress], None]) -> InstalledModel:
    sizes = _find_sizes(found)
    meter = Meter(name, sum(sizes.values()), report, files=sizes)
    files = staging.stage(found.root, found.paths, folder, meter)
    model = _describe(found, name, files)._replace(root=str(folder / layout.FILES), keeper=None)
    with explained(folder):
        manifest.clear(folder)
    staging.settle(files, folder)
    manifest.write(model)
    staging.clear(folder, keep=files)
    return model


def inspect_path(path: Path) -> InstalledModel:
    """What `import_path` would make of a path, without writing or hashing anything: its digests are empty.

    Raises:
        UsageError, ModelFileError, StoreError: as `import_path`.
    """
    path, found = _find(path)
    files = tuple(InstalledFile(name, size, "") for name, size in _find_sizes(found).items())
    return _describe(found, make_name(path), files)


def _find(path: Path) -> tuple[Path, Found]:
    try:
        str(path).encode()  # a manifest is text
        path = _find_place(path.expanduser())
        found = recognise(path)
        check_paths(found.paths, str(found.root))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"There is no {path}", hint="Give the path of a model's file or folder.") from error
    except UnicodeEncodeError as error:
        raise UsageError("The path has bytes that are no text", detail=ascii(str(path)), hint="Rename it.") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to themselves, or no home folder
        raise StoreError(f"{path} cannot be read", detail=str(error)) from error
    except IntegrityError as error:
        raise ModelFileError(error.message, detail=error.detail, hint="Rename the file, then import again.") from error
    return path, found


def _find_place(path: Path) -> Path:
    """The absolute path; a file keeps the name that it was given by, whatever the link leads to.

    In the Hugging Face cache that is a digest, and other shards and the ending have only the links' names.
    """
    whole = path.resolve(strict=True)
    return whole if whole.is_dir() else path.parent.resolve(strict=True) / path.name


def _name_variant(found: Found) -> str:
    return (found.quantization or "import").lower()


def _describe(found: Found, name: str, files: tuple[InstalledFile, ...]) -> InstalledModel:
    return InstalledModel(
        name=name,
        variant=_name_variant(found),
        format=found.format,
        quantization=found.quantization,
        host="import",
        repo=None,
        revision=None,
        root=str(found.root),
        files=files,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        keeper="you",
    )


def check_name(name: str) -> str:
    """The name itself, if a model may have it.

    Raises:
        UsageError: it has other letters than a name may have.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot be a model's name",
            hint="Use lower-case letters, digits, `.`, `-` and `_`: --name my-model.",
        )
    return name


def make_name(path: Path) -> str:
    """A name for what lies at a path, made of the path's own."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem if path.is_file() else path.name)
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:80]
    return name if _NAME.fullmatch(name) else "imported"


def _check_clash(name: str, variant: str, found: Found) -> None:
    """Other builds in the same folder may share a name; anything else is another model.

    Where the originals of a copy lay is not known, so it shares its name with no other build.
    """
    for other in manifest.find_own():
        if other.name != name:
            continue
        same_files = _list_paths(other) == found.paths
        same_folder = Path(other.root) == found.root if other.keeper else other.variant == variant
        if other.host != "import" or not same_folder or (other.variant == variant and not same_files):
            raise _refuse_clash(other, found)


def _is_same(other: InstalledModel, name: str, found: Found) -> bool:
    return (other.name, other.root, _list_paths(other)) == (name, str(found.root), found.paths)


def _list_paths(model: InstalledModel) -> tuple[str, ...]:
    return tuple(file.path for file in model.files)


def _refuse_clash(other: InstalledModel, found: Found) -> UsageError:
    there, new = _say_place(other.root, _list_paths(other)), _say_place(found.root, found.paths)
    return UsageError(
        f"There is another model named `{other.name}`",
        detail=f"there: {there}\nnew: {new}",
        hint=f"Choose a name with --name, or remove the other one: `lf model rm {other.name}`.",
    )


def _say_place(root: str | Path, paths: tuple[str, ...]) -> Path:
    return Path(root) / paths[0] if len(paths) == 1 else Path(root)


def _find_sizes(found: Found) -> dict[str, int]:
    try:
        return {path: (found.root / path).stat().st_size for path in found.paths}
    except OSError as error:
        raise StoreError(f"{error.filename or found.root} cannot be read", detail=str(error)) from error


def _hash_files(found: Found, name: str, report: Callable[[Progress], None]) -> tuple[InstalledFile, ...]:
    sizes = _find_sizes(found)
    meter = Meter(name, sum(sizes.values()), report, files=sizes)
    try:
        return tuple(
            InstalledFile(path, size, hash_file(found.root / path, partial(meter.add, file=path)))
            for path, size in sizes.items()
        )
    except OSError as error:
        raise StoreError(f"{error.filename or found.root} cannot be read", detail=str(error)) from error

"""Models from the user's own disk, by reference: nothing is copied, every digest is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, ModelFileError, StoreError, UsageError
from localfirst.store import manifest
from localfirst.store.disk import hash_file
from localfirst.store.names import check_paths
from localfirst.store.progress import Meter, ignore
from localfirst.store.recognise import recognise
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.store.recognise import Found
    from localfirst.types import Progress

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def import_path(
    path: Path,
    *,
    name: str | None,
    is_taken: Callable[[str], bool] = lambda _: False,
    report: Callable[[Progress], None] = ignore,
) -> InstalledModel:
    """Make a GGUF file, an ONNX Runtime GenAI folder or an MLX folder a model of this store, where it lies.

    Importing the same files under the same name again refreshes their digests. `is_taken` tells whether a name means
    something outside of this store.

    Raises:
        UsageError: no such path, a name that cannot be one, or one that belongs to another model.
        ModelFileError: the files are damaged, incomplete, or of a kind that is never loaded.
        StoreError: they cannot be read, or the store cannot be written.
    """
    path, found = _find(path)
    name = _check_name(name) if name is not None else _make_name(path)
    if is_taken(name):
        raise UsageError(
            f"`{name}` is the name of a model in the catalog", hint="Give it another one: `--name my-model`"
        )
    _check_clash(name, _name_variant(found), found)
    model = _describe(found, name, _hash_files(found, name, report))
    manifest.write(model)
    return model


def inspect_path(path: Path) -> InstalledModel:
    """What `import_path` would make of a path, without writing or hashing anything: its digests are empty.

    Raises:
        UsageError, ModelFileError, StoreError: as `import_path`.
    """
    path, found = _find(path)
    try:
        files = tuple(InstalledFile(name, (found.root / name).stat().st_size, "") for name in found.paths)
    except OSError as error:
        raise StoreError(f"{error.filename or found.root} cannot be read", detail=str(error)) from error
    return _describe(found, _make_name(path), files)


def _find(path: Path) -> tuple[Path, Found]:
    try:
        path = path.expanduser().resolve(strict=True)
        found = recognise(path)
        check_paths(found.paths, str(found.root))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"There is no {path}", hint="Give the path of a .gguf file or of a model's folder.") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to themselves, or no home folder
        raise StoreError(f"{path} cannot be read", detail=str(error)) from error
    except IntegrityError as error:
        raise ModelFileError(error.message, detail=error.detail, hint="Rename the file, then import again.") from error
    return path, found


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


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot be a model's name",
            hint="Use lower-case letters, digits, `.`, `-` and `_`: --name my-model.",
        )
    return name


def _make_name(path: Path) -> str:
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem if path.is_file() else path.name)
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:80]
    return name if _NAME.fullmatch(name) else "imported"


def _check_clash(name: str, variant: str, found: Found) -> None:
    """Other builds in the same folder may share a name; anything else is another model."""
    for other in manifest.find_all():
        if other.name != name:
            continue
        same_folder = other.keeper is not None and Path(other.root) == found.root
        same_files = tuple(file.path for file in other.files) == found.paths
        if not same_folder or (other.variant == variant and not same_files):
            raise UsageError(
                f"There is another model named `{name}`",
                detail="\n".join(str(Path(other.root) / file.path) for file in other.files),
                hint=f"Choose a name with --name, or remove the other one: `lf model rm {name}`.",
            )


def _hash_files(found: Found, name: str, report: Callable[[Progress], None]) -> tuple[InstalledFile, ...]:
    try:
        sizes = {path: (found.root / path).stat().st_size for path in found.paths}
        meter = Meter(name, sum(sizes.values()), report)
        files = []
        for path, size in sizes.items():
            digest = hash_file(found.root / path, partial(meter.add, file=path))
            files.append(InstalledFile(path, size, digest))
    except OSError as error:
        raise StoreError(f"{error.filename or found.root} cannot be read", detail=str(error)) from error
    return tuple(files)

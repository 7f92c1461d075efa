"""Manifests: a model exists if and only if its `manifest.json` does, and that is written last and removed first."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import localfirst
from localfirst import paths
from localfirst.errors import IntegrityError, StoreError
from localfirst.store import layout, revisions
from localfirst.store.disk import explained, sync_folder, write_atomically
from localfirst.store.lock import hold
from localfirst.store.names import check_paths, check_sha256
from localfirst.store.progress import ignore
from localfirst.types import Format, InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import Progress

SCHEMA = "lf.manifest/1"
SCHEMA_KEEPER = "lf.manifest/2"
"""Says who keeps the files, which version 1 took from the host: an import's lie where the user has them, all others in
the store. Still 1 where that is so, and thus read by every version of this program."""


def _folder_of(model: InstalledModel) -> Path:
    return layout.find_folder(model.name, model.variant, model.repo, model.revision)


def find_manifest(model: InstalledModel) -> Path:
    """Where this model's manifest lies."""
    return _folder_of(model) / layout.MANIFEST


def _parse_text(record: dict[str, object], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` is no text")
    return value


def _parse_optional(record: dict[str, object], key: str) -> str | None:
    return None if record.get(key) is None else _parse_text(record, key)


def _parse_file(record: object, source: str) -> InstalledFile:
    if not isinstance(record, dict):
        raise ValueError("a file is no object")  # noqa: TRY004 (one error type for all that is wrong with a text)
    size = record.get("size_bytes")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError("`size_bytes` is no size")
    return InstalledFile(_parse_text(record, "path"), size, check_sha256(_parse_text(record, "sha256"), source))


def parse_manifest(text: str, folder: Path) -> InstalledModel:
    """The model that a manifest in `folder` describes.

    Raises:
        ValueError, IntegrityError: the text is not a manifest of ours.
    """
    record = json.loads(text)
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(schema, str) or schema not in {SCHEMA, SCHEMA_KEEPER}:
        raise ValueError(f"the schema is not {SCHEMA} or {SCHEMA_KEEPER}")
    model_format: Any = record.get("format")
    host: Any = record.get("host")
    listed = record.get("files")
    if model_format not in get_args(Format) or host not in {"huggingface", "import"}:
        raise ValueError("unknown `format` or `host`")
    if not isinstance(listed, list) or not listed:
        raise ValueError("`files` is no list of files")
    files = tuple(_parse_file(item, str(folder)) for item in listed)
    check_paths((file.path for file in files), str(folder))
    default = "you" if schema == SCHEMA and host == "import" else None
    keeper = _parse_optional(record, "keeper") or default
    return InstalledModel(
        name=_parse_text(record, "name"),
        variant=_parse_text(record, "variant"),
        format=model_format,
        quantization=_parse_optional(record, "quantization"),
        host=host,
        repo=_parse_optional(record, "repo"),
        revision=_parse_optional(record, "revision"),
        # A store may be moved as a whole; only what others keep has a place of its own.
        root=_parse_text(record, "root") if keeper else str(folder / layout.FILES),
        files=files,
        created=_parse_text(record, "created"),
        title=_parse_optional(record, "title"),
        keeper=keeper,
    )


def read_manifest(path: Path) -> InstalledModel:
    """Read one manifest.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), path.parent)
    except (OSError, ValueError, RecursionError, IntegrityError) as error:
        raise StoreError(
            "A model's manifest is damaged",
            detail=f"{path}\n{error}",
            hint=f"Delete {path} and pull or import the model again; files that are still good are used again.",
        ) from error


def _find_manifests() -> list[Path]:
    root = paths.models_dir()
    with explained(root):
        if not root.exists():
            return []
        return sorted(root.glob(f"*/*/*/{layout.MANIFEST}"))


def find_all() -> tuple[InstalledModel, ...]:
    """All models on this disk, by name and variant. Damaged manifests are left out; `find_damaged` has them."""
    models = []
    for path in _find_manifests():
        with suppress(StoreError):
            models.append(read_manifest(path))
    return tuple(sorted(models, key=lambda model: (model.name, model.variant, model.created)))


def find_damaged() -> tuple[StoreError, ...]:
    """One error for each manifest that cannot be used."""
    errors = []
    for path in _find_manifests():
        try:
            read_manifest(path)
        except StoreError as error:
            errors.append(error)
    return tuple(errors)


def find_in(folder: Path) -> InstalledModel | None:
    """The model in a folder of the store; a damaged manifest is none."""
    with suppress(StoreError):
        return read_manifest(folder / layout.MANIFEST)
    return None


def find(name: str, variant: str | None = None, revision: str | None = None) -> InstalledModel | None:
    """The model of this name, and variant if one is named: its current revision, or the one with this commit.

    Raises:
        StoreError: the only manifest that this name could mean is damaged.
    """
    matches = [model for model in find_all() if model.name == name and variant in {None, model.variant}]
    if revision is not None:
        return next((model for model in matches if model.revision == revision), None)
    if matches:
        return max(revisions.keep_current(matches), key=lambda model: model.created)
    for path in _find_manifests():
        if _may_mean(path, name, variant):
            read_manifest(path)
    return None


def _may_mean(path: Path, name: str, variant: str | None) -> bool:
    """Whether a manifest's place is one that `find_folder` gives for this name."""
    repo_folder, _, leaf = path.parent.parts[-3:]
    imported = layout.find_folder(name, variant or "", None, None)
    if repo_folder == imported.parent.parent.name:
        return variant is None or leaf == imported.name
    repo = repo_folder.replace("--", "/", 1)
    expected = layout.find_folder(name, variant or "", repo, "0" * 12).name
    if name.startswith("hf:") and not name.startswith(f"hf:{repo}"):
        return False
    return leaf == expected if variant is not None else leaf.partition("@")[0] == expected.partition("@")[0]


def write(model: InstalledModel) -> None:
    """Write a model's manifest: from now on it exists.

    Raises:
        StoreError: its files are not where a model of this name belongs, or the store cannot be written.
    """
    folder = _folder_of(model)
    if model.keeper is None and Path(model.root) != folder / layout.FILES:
        raise StoreError("A model's files lie outside its folder", detail=f"{model.root}\n{folder / layout.FILES}")
    schema = SCHEMA if model.keeper == ("you" if model.host == "import" else None) else SCHEMA_KEEPER
    record = {"schema": schema, "lf_version": localfirst.__version__, **model.to_record()}
    if model.keeper is None:
        del record["root"]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / layout.MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def remove(model: InstalledModel, *, report: Callable[[Progress], None] = ignore) -> int:
    """Remove a model: the manifest, then the files that no other model needs. Returns the bytes freed.

    Files that others keep stay, and 0 bytes are freed.

    Raises:
        StoreError: the store cannot be written, or the model is part of this program.
    """
    if model.host == "builtin":
        raise StoreError("A built-in model cannot be removed: it is part of this program")
    folder = _folder_of(model)
    with hold(layout.find_lock(folder), model.name, report), explained(folder):
        (folder / layout.MANIFEST).unlink(missing_ok=True)
        if not folder.is_dir():
            return 0
        sync_folder(folder)
        needed = {os.path.realpath(Path(other.root) / file.path) for other in find_all() for file in other.files}
        freed = _remove_files(folder, needed)
        for parent in (folder.parent, folder.parent.parent):
            with suppress(OSError):  # another model's folder is in it
                parent.rmdir()
        return freed


def _remove_files(folder: Path, needed: set[str]) -> int:
    """Remove a tree without following links, sparing the files in `needed`. Returns the bytes freed."""
    freed = 0
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(parent, name)
            if os.path.realpath(path) not in needed:
                freed += path.lstat().st_size
                path.unlink()
        for name in folders:
            child = Path(parent, name)
            with suppress(OSError):  # not empty: a file in it is still needed
                child.unlink() if child.is_symlink() else child.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return freed

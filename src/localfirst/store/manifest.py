"""Manifests: a model exists if and only if its `manifest.json` does, and that is written last and removed first.

A manifest of a newer version of this program is neither read nor damaged: it is left alone, and so are its files.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import localfirst
from localfirst import paths
from localfirst.errors import IntegrityError, StoreError
from localfirst.store import layout, pointer, revisions
from localfirst.store.disk import explained, size_on_disk, sync_folder, write_atomically
from localfirst.store.names import check_paths, check_sha256
from localfirst.store.roots import find_roots
from localfirst.types import Derived, Format, InstalledFile, InstalledModel, Making, Recipe

SCHEMA = "lf.manifest/1"
SCHEMA_KEEPER = "lf.manifest/2"
"""Says who keeps the files, which version 1 took from the host: an import's lie where the user has them, all others in
the store. Still 1 where that is so, and thus read by every version of this program."""


_NEWEST_SCHEMA = 2


class NewerManifestError(StoreError):
    """A model that a newer version of this program has installed."""


def find_home(model: InstalledModel) -> Path:
    """The folder in one's own store that belongs to this model, where the store is now."""
    return layout.find_folder(model.name, model.variant, model.repo, model.revision)


def find_manifest(model: InstalledModel) -> Path:
    """Where this model's manifest lies."""
    if model.keeper is None and model.host != "builtin":
        return Path(model.root).parent / layout.MANIFEST
    return find_home(model) / layout.MANIFEST


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


def _parse_derived(record: object, source: str) -> Derived | None:
    """What was made of the files; one by a recipe of another version of this program is none, and is made again."""
    if record is None:
        return None
    file = _parse_file(record, source)
    assert isinstance(record, dict)  # noqa: S101 - it has been parsed as one
    check_paths((file.path,), source)
    recipe: Any = record.get("recipe")
    version = record.get("recipe_version")
    if recipe not in get_args(Recipe) or not isinstance(version, int):
        return None
    return Derived(*file, check_sha256(_parse_text(record, "from_sha256"), source), recipe, version)


def parse_manifest(text: str, folder: Path) -> InstalledModel:
    """The model that a manifest in `folder` describes.

    Raises:
        NewerManifestError: a newer version of this program wrote it.
        ValueError, IntegrityError: the text is not a manifest of ours.
    """
    record = json.loads(text)
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, str) and (number := re.fullmatch(r"(?a)lf\.manifest/(\d{1,9})", schema)):
        _check_schema(int(number[1]), record)
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
        license=_parse_optional(record, "license"),
        derived=_parse_derived(record.get("derived"), str(folder)),
        recipe=_parse_recipe(record.get("recipe"), str(folder)),
    )


def _parse_recipe(record: object, source: str) -> Making | None:
    """How the model was made; manifests of models that were not, and of earlier versions, say nothing."""
    if record is None:
        return None
    if not isinstance(record, dict) or not all(isinstance(record.get(key), list) for key in ("options", "files")):
        raise ValueError("`recipe` is none")
    texts = {key: _parse_text(record, key) for key in ("tool", "version", "precision", "device", "source")}
    options = tuple(map(str, record["options"]))
    return Making(**texts, options=options, files=tuple(_parse_file(item, source) for item in record["files"]))


def _check_schema(number: int, record: dict[str, object]) -> None:
    if number > _NEWEST_SCHEMA:
        version = record.get("lf_version")
        by = f"lf {version}" if isinstance(version, str) else "a newer lf"
        raise NewerManifestError(f"A model was installed by {by}, which this one cannot read (lf.manifest/{number})")


def read_manifest(path: Path) -> InstalledModel:
    """Read one manifest.

    Raises:
        NewerManifestError: a newer version of this program wrote it.
        StoreError: it cannot be read, or is damaged.
    """
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), path.parent)
    except NewerManifestError as error:
        raise NewerManifestError(
            error.message, detail=str(path), hint="Update localfirst. The model is left as it is."
        ) from error
    except (OSError, ValueError, RecursionError, IntegrityError) as error:
        raise StoreError(
            "A model's manifest is damaged",
            detail=f"{path}\n{error}",
            hint=f"Delete {path} and pull or import the model again; files that are still good are used again.",
        ) from error


def _find_manifests() -> list[Path]:
    root = paths.models_dir()
    pointer.require_present(root)
    with explained(root):
        if not root.exists():
            return []
        return sorted(root.glob(f"*/*/*/{layout.MANIFEST}"))


def find_shared() -> tuple[InstalledModel, ...]:
    """The models in shared stores, in the order in which those are named; one that cannot be read has none."""
    models = []
    for root in find_roots():
        if root.problem is None and root.models != paths.models_dir():
            with suppress(OSError):
                for path in sorted(root.models.glob(f"*/*/*/{layout.MANIFEST}")):
                    with suppress(StoreError):
                        models.append(read_manifest(path)._replace(shared=str(root.models)))
    return tuple(models)


def find_own() -> tuple[InstalledModel, ...]:
    """The models in one's own store, by name and variant. What cannot be read is left out; `find_damaged` has it.

    Raises:
        StoreError: the store cannot be read, or is on a disk that is not there.
    """
    models = []
    for path in _find_manifests():
        with suppress(StoreError):
            models.append(read_manifest(path))
    return tuple(sorted(models, key=lambda model: (model.name, model.variant, model.created)))


def find_all() -> tuple[InstalledModel, ...]:
    """All models on this disk, by name and variant; of a build that is in one's own store that one alone.

    Raises:
        StoreError: the store cannot be read, or is on a disk that is not there.
    """
    models = find_own()
    places = {(model.name, model.variant): model.shared for model in models}
    for model in find_shared():
        if places.setdefault((model.name, model.variant), model.shared) == model.shared:
            models = (*models, model)
    return tuple(sorted(models, key=lambda model: (model.name, model.variant, model.created)))


def find_damaged() -> tuple[StoreError, ...]:
    """One error for each manifest in one's own store that cannot be used."""
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
        StoreError: the only manifest that this name could mean is damaged, or a newer version's.
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

    It comes to its files, and that of a model whose files others keep to where the store is. Nobody locks the folder of
    such a one: should the store be moved at this moment, the manifest is written again.

    Raises:
        StoreError: its files are not where a model of this name belongs, or the store cannot be written.
    """
    home = find_home(model)
    pointer.require_present(home.parents[2])
    if model.keeper is None:
        folder = Path(model.root).parent
        if (*folder.parts[-3:], layout.FILES) != (*home.parts[-3:], Path(model.root).name):
            raise StoreError("A model's files lie outside its folder", detail=f"{model.root}\n{home / layout.FILES}")
        _write_to(folder, model)
        return
    while True:
        _write_to(home, model)
        if (moved := find_home(model)) == home:
            return
        home = moved


def _write_to(folder: Path, model: InstalledModel) -> None:
    schema = SCHEMA if model.keeper == ("you" if model.host == "import" else None) else SCHEMA_KEEPER
    record = {"schema": schema, "lf_version": localfirst.__version__, **model.to_record()}
    del record["shared"]
    _spare_newer(folder)
    if model.keeper is None:
        del record["root"]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / layout.MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def clear(folder: Path) -> int:
    """Remove the manifest in a folder whose lock is held: its model no longer exists. Returns the bytes freed.

    Raises:
        NewerManifestError: a newer version of this program wrote it.
        OSError: the folder cannot be written.
    """
    _spare_newer(folder)
    path, freed = folder / layout.MANIFEST, 0
    with suppress(FileNotFoundError):
        freed = size_on_disk(path.lstat())
        path.unlink()
        sync_folder(folder)
    return freed


def _spare_newer(folder: Path) -> None:
    try:
        read_manifest(folder / layout.MANIFEST)
    except NewerManifestError:
        raise
    except StoreError:
        pass  # damaged, or not there: nothing is lost with it

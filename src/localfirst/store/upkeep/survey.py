"""What lies in a store, folder by folder: models, what is no model any more or not yet, and what is not ours.

A folder is ours by its place and shape (`<org>--<repo>/<12 digits>/<leaf>`, `import--<name>/import/<leaf>`) or by the
manifest in it. Names that begin with a dot are this program's own.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst.errors import StoreError
from localfirst.store import layout, manifest
from localfirst.store.disk import size_on_disk
from localfirst.store.verify import is_whole
from localfirst.types import format_build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.types import InstalledModel

Kind = Literal["model", "revision", "partial", "leftover", "damaged", "newer"]
"""`model`: what its name gives; `revision`: one that another has superseded; `partial`: being fetched, or left at that;
`leftover`: what a removal left; `damaged`: with a manifest that cannot be read; `newer`: of a newer version."""

_REVISION = re.compile(r"import|[0-9a-f]{12}")
TEMPORARY = ".tmp"
_WRITTEN = r"(?a)(.*\.json)?\.\d+\.tmp"
"""What a record is written as before it gets its name, by the number of its process: see `disk.write_atomically`."""


def find_temporary(folder: Path) -> list[Path]:
    """Records in a folder that were being written; what else may be called so is not this program's."""
    return [path for path in folder.glob(f"*{TEMPORARY}") if re.fullmatch(_WRITTEN, path.name) and path.is_file()]


"""The end of a name that a file has while it is written."""


class Leaf(NamedTuple):
    """One model's folder."""

    folder: Path
    kind: Kind
    model: InstalledModel | None = None

    @property
    def build(self) -> tuple[str, str]:
        """The names of its model and its own; without a manifest as far as the folder's name tells."""
        if self.model is not None:
            return self.model.name, self.model.variant
        repo, _, leaf = self.folder.parts[-3:]
        if self.is_import:
            return repo.removeprefix("import--"), leaf
        name, _, variant = leaf.partition("@")
        variant, at, revision = variant.partition("@")
        return name or f"hf:{repo.replace('--', '/', 1)}{at}{revision}", variant

    @property
    def full_name(self) -> str:
        """What people call it, as it may be typed."""
        if self.model is not None:
            return self.model.full_name
        return self.build[0] if self.is_import else format_build(*self.build)

    @property
    def is_import(self) -> bool:
        """Whether it came from a file of the user's, by where it lies."""
        return self.folder.parts[-3].startswith("import--")

    @property
    def long_name(self) -> str:
        """The same with its revision, which tells it apart from others of one build."""
        return f"{self.full_name}, revision {self.folder.parts[-2]}"


class Survey(NamedTuple):
    """A store, and files and folders in it that are not this program's."""

    leaves: tuple[Leaf, ...]
    unknown: tuple[Path, ...]


class Extent(NamedTuple):
    """Bytes on the disk, and when the newest of them was written, in seconds since 1970 (0: there is nothing)."""

    size_bytes: int
    newest_at: float


def survey(models: Path) -> Survey:
    """What lies in the store `models`; nothing where there is none.

    Raises:
        OSError: the store cannot be read.
    """
    unknown: list[Path] = []
    found = [_classify(folder) for folder in find_folders(models, unknown)]
    return Survey(tuple(_find_superseded(found)), tuple(unknown))


def find_unfinished(models: Path, name: str) -> tuple[Leaf, ...]:
    """The builds of a model whose download has not ended; none where the store cannot be read."""
    with suppress(OSError):
        found = [leaf for leaf in map(_classify, find_folders(models)) if leaf.kind == "partial" and not leaf.is_import]
        return tuple(leaf for leaf in found if leaf.build[0].lower() == name.lower())
    return ()


def find_folders(models: Path, unknown: list[Path] | None = None) -> Iterator[Path]:
    """The folders of models in a store, whatever is in them; what is not ours is added to `unknown`.

    Raises:
        OSError: the store cannot be read.
    """
    unknown = [] if unknown is None else unknown
    records = layout.find_records(models)
    for repo in _list(models):
        if repo.name == layout.MARK or repo in records or repo.name.startswith(".") or repo.name.endswith(TEMPORARY):
            continue
        if not _is_folder(repo) or "--" not in repo.name:
            unknown.append(repo)
            continue
        for revision in _list(repo):
            if not _is_folder(revision) or not _REVISION.fullmatch(revision.name):
                unknown.append(revision)
                continue
            for folder in _list(revision):
                if _is_folder(folder):
                    unknown.extend(_find_unknown(folder))
                    yield folder
                else:
                    unknown.append(folder)


def prune(models: Path, *, until: float) -> None:
    """Remove the empty folders above those of models, if they have been so since `until`, in seconds since 1970."""
    for repo in _list(models):
        if "--" in repo.name and _is_folder(repo):
            for folder in (*_list(repo), repo):
                with suppress(OSError):  # not empty, or no folder
                    if folder.lstat().st_mtime <= until:
                        folder.rmdir()


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:  # a store not yet made, or a folder that has just been removed
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _find_unknown(folder: Path) -> list[Path]:
    """What is not ours in a folder without a manifest; with one, all that is there belongs to the model."""
    if (folder / layout.MANIFEST).exists():
        return []
    ours = find_parts(folder)
    return [path for path in _list(folder) if path not in ours and not path.name.startswith(".")]


def find_parts(folder: Path) -> tuple[Path, ...]:
    """What a folder without a manifest has of a model."""
    return tuple(
        path
        for path in _list(folder)
        if path.name in {layout.FILES, layout.DERIVED, layout.PARTIAL, layout.TRAILS} or path.name.endswith(TEMPORARY)
    )


def _classify(folder: Path) -> Leaf:
    path = folder / layout.MANIFEST
    if not path.exists():
        return Leaf(folder, "partial" if (folder / layout.PARTIAL).is_dir() else "leftover")
    try:
        return Leaf(folder, "model", manifest.read_manifest(path))
    except manifest.NewerManifestError:
        return Leaf(folder, "newer")
    except StoreError:
        return Leaf(folder, "damaged")


def _find_superseded(leaves: list[Leaf]) -> Iterator[Leaf]:
    own = [(leaf.model.name, leaf.model.variant) for leaf in leaves if leaf.model]
    for leaf in leaves:
        model = leaf.model
        several = model is not None and own.count((model.name, model.variant)) > 1
        yield leaf._replace(kind="revision") if model and several and is_superseded(model) else leaf


def is_superseded(model: InstalledModel) -> bool:
    """Whether the model's name gives another revision, which is whole; never of files that others keep."""
    current = manifest.find(model.name, model.variant)
    if current is None or current == model or current.shared is not None or model.keeper is not None:
        return False
    return is_whole(current)


def measure(path: Path, seen: set[tuple[int, int]]) -> Extent:
    """How much a file or a tree takes, no link followed; a file of several names counts where it is `seen` first."""
    size, newest = 0, 0.0
    inner = (Path(parent, name) for parent, folders, names in os.walk(path) for name in (*folders, *names))
    for one in chain([path], inner):
        with suppress(OSError):  # gone meanwhile
            status = one.lstat()
            newest = max(newest, status.st_mtime)
            key = (status.st_dev, status.st_ino)
            if not stat.S_ISDIR(status.st_mode) and key not in seen:
                seen.add(key)
                size += size_on_disk(status)
    return Extent(size, newest)

"""The cache of the Hugging Face Hub: `models--<org>--<name>/{blobs,refs,snapshots}`, links from snapshots to blobs.

On Windows without developer mode the snapshots hold the files themselves. A blob is named by its SHA-256, or by its git
digest where it is small. Source: https://huggingface.co/docs/hub/local-cache, and huggingface_hub, `constants.py`, for
the variables.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.store.foreign import tree
from localfirst.store.foreign.tool import (
    ForeignFile,
    Refusal,
    Tool,
    find_user_folder,
    list_folder,
    list_folders,
    look_in,
    measure,
    read_places,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.store.foreign.tool import Finding

KEEPER = "huggingface cache"
_REPO = r"models--((?:[A-Za-z0-9][\w.-]*?--)?[A-Za-z0-9][\w.-]*)"
_SHA256 = r"[0-9a-f]{64}"
_UNFINISHED = (".incomplete", ".part")


def find_folders(environment: Mapping[str, str]) -> Sequence[Path]:
    """The cache that the hub's own library would use."""
    caches = read_places(environment, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    homes = (home / "hub" for home in read_places(environment, "HF_HOME"))
    systems = (home / "huggingface" / "hub" for home in read_places(environment, "XDG_CACHE_HOME"))
    default = find_user_folder(environment) / ".cache" / "huggingface" / "hub"
    return (next((path for paths in (caches, homes, systems) for path in paths), default),)


def find_findings(folder: Path) -> Iterator[Finding]:
    """Every build of every snapshot; of those that several snapshots have, the newest's."""
    return look_in(KEEPER, _find_repositories(folder), _find_in)


def find_files(folder: Path) -> Iterator[ForeignFile]:
    """All blobs, and files that lie in snapshots themselves."""
    for repository, _ in _find_repositories(folder):
        if (repository / "blobs").is_dir():
            for entry in list_folder(repository / "blobs"):
                path = Path(entry.path)
                size = measure(path) if entry.is_file(follow_symlinks=False) else None
                if size is not None and not entry.name.endswith(_UNFINISHED):
                    yield ForeignFile(KEEPER, path, size, _announce(path))
        for parent, _, names in os.walk(repository / "snapshots"):
            for path in (Path(parent, name) for name in sorted(names)):
                size = None if path.is_symlink() else measure(path)
                if size is not None:
                    yield ForeignFile(KEEPER, path, size, None)


def _find_repositories(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in list_folders(folder):
        if match := re.fullmatch(_REPO, path.name):
            yield path, match[1].replace("--", "/", 1)


def _find_in(repository: Path, repo: str) -> Iterator[Finding]:
    seen, labels = set[tuple[str, ...]](), set[str]()
    for snapshot in _order_snapshots(repository):
        homes = tuple(home for home in (repository / "blobs", snapshot) if not home.is_symlink())
        for found in tree.find_builds(tree.Place(KEEPER, repo, snapshot, homes, _announce, snapshot.name)):
            is_newest = found.label not in labels
            labels.add(found.label)
            if isinstance(found, Refusal):
                if is_newest:
                    yield found
                continue
            files = tuple(os.path.realpath(file.path) for file in found.files)
            if files not in seen:
                seen.add(files)
                label = found.label if is_newest else f"{found.label} at {snapshot.name[:7]}"
                yield found._replace(label=label, superseded=not is_newest)
    unfinished = _count_unfinished(repository / "blobs")
    if unfinished:
        what = "a download of it has" if unfinished == 1 else f"{unfinished} downloads of it have"
        yield Refusal(KEEPER, repo, "incomplete", f"{what} not ended")


def _order_snapshots(repository: Path) -> list[Path]:
    """The snapshots, the one that `main` names first, then the newest."""
    if not (repository / "snapshots").is_dir():
        return []
    snapshots = [path for path in list_folders(repository / "snapshots") if re.fullmatch(r"[0-9a-f]{40}", path.name)]
    main = _read_ref(repository / "refs" / "main")
    return sorted(snapshots, key=lambda path: (path.name != main, -path.stat().st_mtime))


def _read_ref(path: Path) -> str | None:
    if measure(path) is None:
        return None
    with path.open("rb") as file:
        return file.read(100).decode("ascii", "replace").strip()


def _count_unfinished(blobs: Path) -> int:
    return sum(entry.name.endswith(_UNFINISHED) for entry in list_folder(blobs)) if blobs.is_dir() else 0


def _announce(path: Path) -> str | None:
    """The SHA-256 that a blob is named by."""
    name = os.path.basename(os.path.realpath(path))  # noqa: PTH119 - of a text
    return name if re.fullmatch(_SHA256, name) else None


TOOL = Tool("hf", KEEPER, find_folders, find_findings, find_files)

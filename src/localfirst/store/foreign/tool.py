"""What another tool has on this disk, as one of its readers found it, and the checks that all readers share.

Everything in another tool's folders may be damaged or hostile, and all of it stays as it is: readers only read.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from localfirst.types import Format

MOST_ENTRIES = 20_000
"""Of one folder, or of one repository: more is no model's."""
MOST_JSON_BYTES = 4 * 2**20
"""Of a manifest: the layers of a model of 10,000 tensors take half of it."""


class ForeignFile(NamedTuple):
    """A file that another tool keeps. What it is named by is an announcement: only its bytes tell its digest."""

    tool: str
    path: Path
    size_bytes: int
    sha256_announced: str | None


class Build(NamedTuple):
    """A model that another tool has, whole as far as names, sizes and headers tell."""

    keeper: str
    """The tool, as manifests name it."""
    label: str
    """What the tool calls it."""
    name: str
    """The part of that which says what it is, from which our name is made."""
    format: Format
    quantization: str | None
    root: Path
    files: tuple[ForeignFile, ...]
    """Inside `root`; what an engine opens comes first, where no name tells it."""
    revision: str | None = None
    """The commit, where the tool keeps it."""
    superseded: bool = False
    """The tool has a newer state of it too."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files' paths from the root, as manifests write them."""
        return tuple(file.path.relative_to(self.root).as_posix() for file in self.files)

    @property
    def size_bytes(self) -> int:
        """The sum of its files."""
        return sum(file.size_bytes for file in self.files)


class Refusal(NamedTuple):
    """Something that another tool has and that is no model for us, with the reason."""

    keeper: str
    label: str
    state: Literal["incomplete", "unusable"]
    reason: str


Finding = Build | Refusal


def look_in(
    keeper: str, repositories: Iterable[tuple[Path, str]], find: Callable[[Path, str], Iterator[Finding]]
) -> Iterator[Finding]:
    """What `find` gives of each repository and its name; of one that cannot be read, why."""
    for repository, repo in repositories:
        try:
            yield from find(repository, repo)
        except NotOursError as refused:
            yield Refusal(keeper, repo, refused.state, refused.reason)
        except OSError as error:
            yield Refusal(keeper, repo, "unusable", f"it cannot be read: {error.strerror}")


class Tool(NamedTuple):
    """Another tool: where it keeps models, and who reads them there."""

    key: str
    """What a user types."""
    keeper: str
    """What manifests say, and lists."""
    find_folders: Callable[[Mapping[str, str]], Sequence[Path]]
    """The folders to look at, by the environment; they need not exist."""
    find_findings: Callable[[Path], Iterator[Finding]]
    find_files: Callable[[Path], Iterator[ForeignFile]]
    """All that may be part of a model in such a folder; names and sizes alone."""


class NotOursError(Exception):
    """A part of a tool's folder that cannot be taken, with the words for it; readers make a `Refusal` of it."""

    def __init__(self, state: Literal["incomplete", "unusable"], reason: str) -> None:
        super().__init__(reason)
        self.state: Literal["incomplete", "unusable"] = state
        self.reason = reason


def find_user_folder(environment: Mapping[str, str]) -> Path:
    """The user's own folder, which Windows names differently. Nothing is written below it."""
    home = environment.get("USERPROFILE" if os.name == "nt" else "HOME")
    return Path(home) if home else Path(os.path.expanduser("~"))  # noqa: PTH111 - `Path.home` raises without one


def read_places(environment: Mapping[str, str], *names: str) -> Iterator[Path]:
    """The folders that variables name, in this order, those that are set."""
    for name in names:
        if value := environment.get(name, "").strip():
            yield Path(os.path.expandvars(value)).expanduser()


def list_folder(folder: Path) -> tuple[os.DirEntry[str], ...]:
    """The entries of a folder by name; hidden ones are the systems' and the tools' own.

    Raises:
        NotOursError: too many.
        OSError: it cannot be read.
    """
    found: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) >= MOST_ENTRIES:
                raise NotOursError("unusable", "its folder has too many files")
            if not entry.name.startswith("."):
                found.append(entry)
    return tuple(sorted(found, key=lambda entry: entry.name))


def list_folders(folder: Path) -> tuple[Path, ...]:
    """The folders in a folder, no links to such."""
    return tuple(Path(entry.path) for entry in list_folder(folder) if entry.is_dir(follow_symlinks=False))


def is_inside(path: Path, homes: Iterable[Path]) -> bool:
    """Whether a path leads into one of these folders, after all links."""
    target = Path(os.path.realpath(path))
    return any(target.is_relative_to(os.path.realpath(home)) for home in homes)


def measure(path: Path) -> int | None:
    """The size of a regular file in bytes; `None` for what is none, or not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def read_json(path: Path) -> dict[str, object]:
    """A JSON object of bounded length.

    Raises:
        NotOursError: it is none.
        OSError: it cannot be read.
    """
    if measure(path) is None:
        raise NotOursError("unusable", f"{path.name} is no file")
    with path.open("rb") as file:
        text = file.read(MOST_JSON_BYTES + 1)
    if len(text) > MOST_JSON_BYTES:
        raise NotOursError("unusable", f"{path.name} is too long to be a manifest")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotOursError("unusable", f"{path.name} is damaged: no JSON") from error
    if not isinstance(value, dict):
        raise NotOursError("unusable", f"{path.name} is damaged: no JSON object")
    return value

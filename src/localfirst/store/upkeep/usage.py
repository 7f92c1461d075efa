"""What the store takes on the disk, and which files are there more than once."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.store.upkeep.survey import find_parts, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from localfirst.store.upkeep.survey import Survey
    from localfirst.types import InstalledModel

WORTH_BYTES = 1_000_000
"""Smaller files that are there twice (licences, configurations) are not worth a word."""


class Share(NamedTuple):
    """How many of a kind there are, and their bytes on the disk."""

    number: int = 0
    size_bytes: int = 0


class Copy(NamedTuple):
    """A file with a known digest: whose it is, and where."""

    owner: str
    """A model's name, or a tool's."""
    path: Path
    size_bytes: int
    sha256: str
    keeper: str | None = None
    """The tool, where it is one's."""


class Duplicate(NamedTuple):
    """Files of the same bytes, the store's own first. One of them would do."""

    copies: tuple[Copy, ...]

    @property
    def wasted_bytes(self) -> int:
        """Bytes of all but one."""
        return self.copies[0].size_bytes * (len(self.copies) - 1)


def measure_kinds(found: Survey, seen: set[tuple[int, int]]) -> Mapping[str, Share]:
    """The share of each kind of folder, and of `unknown` files; what is `seen` already is not counted again."""
    counts, sizes = defaultdict[str, int](int), defaultdict[str, int](int)
    for leaf in found.leaves:
        # In a folder without a manifest may be files of somebody else, which are counted as unknown.
        parts = find_parts(leaf.folder) if leaf.kind in {"partial", "leftover"} else (leaf.folder,)
        counts[leaf.kind] += 1
        sizes[leaf.kind] += sum(measure(part, seen).size_bytes for part in parts)
    for path in found.unknown:
        counts["unknown"] += 1
        sizes["unknown"] += measure(path, seen).size_bytes
    return {kind: Share(counts[kind], sizes[kind]) for kind in counts}


def find_copies(models: Iterable[InstalledModel]) -> tuple[Copy, ...]:
    """The files of models, as duplicates are looked for among them."""
    return tuple(
        Copy(
            model.full_name,
            Path(model.root) / file.path,
            file.size_bytes,
            file.sha256,
        )
        for model in models
        for file in model.files
    )


def find_duplicates(own: Sequence[Copy], others: Iterable[Copy]) -> tuple[Duplicate, ...]:
    """Files of one's own store that are there again, in it or among the others, most wasted first.

    Two names of one file are one.
    """
    groups = defaultdict[tuple[str, int], dict[tuple[int, int], Copy]](dict)
    for copy in chain(own, others):
        if copy.size_bytes >= WORTH_BYTES:
            try:
                status = copy.path.stat()
            except OSError:
                continue
            groups[copy.sha256, copy.size_bytes].setdefault((status.st_dev, status.st_ino), copy)
    found = [Duplicate(tuple(group.values())) for group in groups.values() if len(group) > 1]
    found = [one for one in found if one.copies[0] in own]
    return tuple(sorted(found, key=lambda one: -one.wasted_bytes))

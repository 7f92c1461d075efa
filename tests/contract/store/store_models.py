"""Models with real bytes, put into the store without a hub."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fixtures.hub import sha256

from localfirst.store import layout, manifest
from localfirst.types import InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_bytes(seed: object, size: int = 200_000) -> bytes:
    return random.Random(str(seed)).randbytes(size)  # noqa: S311 (the same bytes in every run)


def install(
    name: str = "tiny",
    variant: str = "q4_0",
    commit: str = "c",
    files: Mapping[str, bytes] | None = None,
    created: str = "2026-11-24T00:00:00+00:00",
) -> InstalledModel:
    """A model of `org/repo`, of the commit that consists of one digit."""
    files = files or {"model.gguf": make_bytes((name, variant, commit)), "sub/config.json": b"{}"}
    root = layout.find_folder(name, variant, "org/repo", commit * 40) / layout.FILES
    model = InstalledModel(
        name=name,
        variant=variant,
        format="gguf",
        quantization="Q4_0",
        host="huggingface",
        repo="org/repo",
        revision=commit * 40,
        root=str(root),
        files=tuple(InstalledFile(path, len(data), sha256(data)) for path, data in files.items()),
        created=created,
    )
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    manifest.write(model)
    return model


def leave_partial(name: str = "half", commit: str = "d", *, with_etag: bool = True) -> Path:
    """A download that was interrupted: a part whose second half is a hole, as the first release left it."""
    folder = layout.find_folder(name, "q4_0", "org/repo", commit * 40)
    partial = folder / layout.PARTIAL
    partial.mkdir(parents=True)
    part = partial / f"{'e' * 64}.part"
    with part.open("wb") as file:
        file.write(make_bytes(name, 100_000))
        file.truncate(50_000_000)
    if with_etag:
        part.with_suffix(".etag").write_text('"tag"')
    else:
        part.with_suffix(".journal").write_text("0 100000\n")
    return folder


def import_file(path: Path, name: str, data: bytes) -> InstalledModel:
    """A model whose file lies where `path` says, whoever put it there."""
    model = InstalledModel(
        name=name,
        variant="q4_0",
        format="gguf",
        quantization="Q4_0",
        host="import",
        repo=None,
        revision=None,
        root=str(path.parent),
        files=(InstalledFile(path.name, len(data), sha256(data)),),
        created="2026-11-24T00:00:00+00:00",
        keeper="you",
    )
    manifest.write(model)
    return model

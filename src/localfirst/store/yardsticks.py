"""Networks of made-up weights that engines are measured by, written where they are needed and removed afterwards.

A GGUF file is written here; of the other formats the package has archives that `tools/yardsticks.py` made. All are in 4
bits, laid out as vendors publish them: blocks of 32 in GGUF, ONNX and LiteRT-LM, groups of 64 in MLX and of 128 in
OpenVINO.
"""

from __future__ import annotations

import shutil
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.gguf.write import Shape, write_random
from localfirst.lock import try_hold
from localfirst.store.disk import check_space, explained, sync_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.types import Format

Size = Literal["small", "medium", "large"]
SHAPES: dict[Size, Shape] = {
    "small": Shape(layers=24, hidden=512, feed_forward=1408, heads=8, kv_heads=4, context_tokens=256),
    "medium": Shape(layers=6, hidden=1536, feed_forward=4096, heads=12, kv_heads=4, context_tokens=256),
    "large": Shape(layers=12, hidden=2048, feed_forward=5632, heads=16, kv_heads=4, context_tokens=256),
}
"""Small: 71 M parameters, 40 MB, whose many layers take as much time as their weights: no narrower, for the narrowest
models that people run are 576 wide, and a layer of half that takes half the time besides its weights. Medium: 151 M,
85 MB, of which caches hold much. Large: 541 M, some 305 MB, written in two seconds and too large for most caches."""
FILES: dict[Format, str] = {
    "gguf": "yardstick.gguf",
    "onnx": "onnx",
    "mlx": "mlx",
    "openvino": "openvino",
    "litertlm": "yardstick.litertlm",
}
"""What an engine opens, by format."""
FIXED_CACHE_BYTES: dict[Format, int] = {"litertlm": 4}
"""Bytes per number of a cache whose length is the file's: LiteRT-LM's reads all of it for every token."""
FOLDER = "yardsticks"
SPARE = 1.2
"""Space to be free before one is written, in sizes of its layers at 5 bits a weight, which no format exceeds."""


class Yardstick(NamedTuple):
    """One that lies on the disk."""

    path: Path
    """What an engine opens; it lies in a folder of its own."""
    bytes_per_token: int
    """What one token reads: its files, whose embedding of 257 or 512 tokens is one in a hundred of them or less, and
    the cache where its length is the file's and all of it is read."""


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for yardsticks, empty, that is removed in the end; what a killed process left there before is, too.

    Raises:
        StoreError: another process has it; or it cannot be written.
    """
    folder = paths.cache_dir() / FOLDER
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{FOLDER}.lock")
        with try_hold(lock) as free:
            if not free:
                raise StoreError("Another process measures this machine's speed", hint="Wait until it has ended")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def make(folder: Path, kind: Format, size: Size) -> Yardstick:
    """Write one into a folder of its own.

    Raises:
        DiskFullError: there is not enough space.
        StoreError: it cannot be written.
    """
    check_space(folder, int(SPARE * SHAPES[size].layer_parameters * 5 / 8))
    place = folder / f"{kind}-{size}"
    with explained(place):
        place.mkdir()
        if kind == "gguf":
            with (place / FILES[kind]).open("wb") as file:
                write_random(file, SHAPES[size])
        else:
            with zipfile.ZipFile(paths.package_dir() / FOLDER / f"{kind}-{size}.zip") as archive:
                archive.extractall(place)
        files = [one for one in place.rglob("*") if one.is_file()]
        for one in files:
            with one.open("r+b") as file:
                sync_file(file.fileno())  # else the system writes it out while engines are measured, and slows them
    shape = SHAPES[size]
    cache_bytes = FIXED_CACHE_BYTES.get(kind, 0) * 2 * shape.layers * shape.kv_width * shape.context_tokens
    return Yardstick(place / FILES[kind], sum(one.stat().st_size for one in files) + cache_bytes)


def remove(yardstick: Yardstick) -> None:
    """Give its space back."""
    shutil.rmtree(yardstick.path.parent, ignore_errors=True)

"""Makes the yardsticks: networks by which `lf bench calibrate` learns how fast an engine is on a machine.

    python tools/yardsticks.py

Run from the repository's root with the `dev` extra. Three archives, in 4 bits, for each format that `lf` does not write
itself. Their weights repeat the same few thousand random ones, in each matrix from another place on: 300 MB are less
than 300 kB in the package, and no engine finds two matrices alike.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.fixtures import scripted  # noqa: E402
from tests.fixtures.scripted import network  # noqa: E402

from localfirst.store.yardsticks import FILES, FOLDER, SHAPES  # noqa: E402

NOISE = 4099
"""A prime: rows differ."""
VOCABULARY = 512
MAKERS = {
    "onnx": partial(scripted.make_random_onnx, bits=4),
    "mlx": partial(scripted.make_random_mlx, bits=4),
    "openvino": partial(scripted.make_random_openvino, bits=4),
    "litertlm": partial(scripted.make_random_litert, bits=4),
}


def repeat_weights(shape: network.Shape, vocabulary_size: int, seed: int) -> network.Weights:
    """A network whose matrices repeat the same noise, each from another place on."""
    noise = np.random.default_rng(seed).standard_normal(NOISE).astype(np.float32)
    places = itertools.count(0, 31)
    return network.fill(shape, vocabulary_size, lambda sizes: np.resize(np.roll(noise, next(places)), sizes))


def main() -> None:
    """Write the archives."""
    for size, (kind, make) in itertools.product(SHAPES, MAKERS.items()):
        one, archive = SHAPES[size], ROOT / "src/localfirst" / FOLDER / f"{kind}-{size}.zip"
        archive.parent.mkdir(exist_ok=True)
        shape = scripted.Shape(one.hidden, one.layers, one.heads, one.kv_heads, one.feed_forward, one.context_tokens)
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(network, "random_weights", repeat_weights):
            path = Path(folder, FILES[kind])
            make(path, shape, vocabulary_size=VOCABULARY)
            pack(path, archive)
        print(f"{archive.name}: {archive.stat().st_size} bytes")


def pack(path: Path, archive: Path) -> None:
    """A file, or a folder of files, as an archive that is the same for the same content."""
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            entry = zipfile.ZipInfo(file.relative_to(path.parent).as_posix())
            packed.writestr(entry, file.read_bytes(), zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main()

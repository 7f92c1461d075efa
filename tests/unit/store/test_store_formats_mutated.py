"""Files with some bytes changed: what they are is told, or refused, within bounds, and nothing else ever happens."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures import formats as make
from tests.fixtures.scripted.gguf_file import make_gguf

from localfirst.errors import ModelFileError
from localfirst.store.formats import recognise, tell

if TYPE_CHECKING:
    from collections.abc import Callable

MUTATIONS = 250
MOST_BYTES = 48 * 2**20
"""What reading may allocate, whatever a file of 300 KB says: a description of 16 MiB and what is made of it."""
WORDS = (
    b"\xff" * 8,
    bytes(8),
    b"\x7f\xff\xff\xff",
    b"\x80" * 10,
    b"\0\0\0\x80",
    b"9" * 19,
    b"[" * 40,
    b'"',
    b"<a>",
    b"-1",
)


def make_scripted(folder: Path) -> Path:
    path = folder / "model.gguf"
    make_gguf(path, "hello")
    return path


def make_packed(folder: Path) -> Path:
    weights = make.make_safetensors(
        a__weight=("U32", [64, 4], 1024), a__scales=("F16", [64, 1], 128), norm=("F16", [32], 64)
    )
    return make.make_mlx(folder / "mlx", weights, num_hidden_layers=2, hidden_size=32, num_attention_heads=4)


MAKERS: dict[str, tuple[Callable[[Path], Path], dict[str, int]]] = {
    "gguf": (make_scripted, {"model.gguf": 6000}),
    "llamafile": (lambda folder: make.make_llamafile(folder / "m.llamafile"), {"m.llamafile": 12_000}),
    "litertlm": (lambda folder: make.make_litertlm(folder / "m.litertlm"), {"m.litertlm": 2**30}),
    "openvino": (
        lambda folder: make.make_openvino(folder / "ov"),
        {"openvino_model.xml": 2**30, "openvino_tokenizer.xml": 2**30, "openvino_model.bin": 0, "config.json": 2**30},
    ),
    "mlx": (make_packed, {"model.safetensors": 400, "config.json": 2**30}),
    "onnx": (
        lambda folder: make.make_onnx(folder / "onnx", make.pack_onnx(depth=2)),
        {"model.onnx": 2**30, "genai_config.json": 2**30, "model.onnx.data": 0},
    ),
}
"""How each is made, and how far into each of its files bytes are worth changing."""


def mutate(data: bytes, within: int, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(max(1, min(within, len(changed))))
        word = chance.choice((*WORDS, chance.randbytes(chance.randint(1, 4))))
        kind = chance.randrange(4)
        if kind == 0 or not changed:
            changed[at : at + len(word)] = word
        elif kind == 1:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            changed[at:at] = word
        else:
            del changed[at : at + len(word)]
    if chance.random() < 0.15:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


@pytest.mark.parametrize("name", MAKERS)
def test_a_mutated_model_is_told_or_refused(name: str, tmp_path: Path) -> None:
    path = MAKERS[name][0](tmp_path)
    files = {(path if path.is_dir() else path.parent) / one: within for one, within in MAKERS[name][1].items()}
    originals = {file: file.read_bytes() for file in files}
    chance = random.Random(name)  # noqa: S311 (the same files in every run)
    refused = 0
    for _ in range(MUTATIONS):
        file = chance.choice(list(files))
        file.write_bytes(mutate(originals[file], files[file], chance))
        tracemalloc.start()
        try:
            found = recognise(path)
            tell(found.format, path, [found.root / one for one in found.paths])
        except ModelFileError:
            refused += 1
        finally:
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak_bytes < MOST_BYTES
        file.write_bytes(originals[file])
    assert 0 < refused < MUTATIONS, "the mutations must reach what is checked, and leave something whole"

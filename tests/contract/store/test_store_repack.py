"""BitNet files are repacked without loss, or not at all: real files, read again by llama.cpp's own reader."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import gguf
import pytest
from tests.fixtures.scripted import Shape, make_bitnet_source, make_random_gguf
from tests.fixtures.scripted.bitnet_file import Ternary, Weights

from localfirst.errors import IntegrityError, ModelFileError
from localfirst.gguf import read_header
from localfirst.store.repack import PART_BYTES, measure, repack

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Weights]:
    path = tmp_path_factory.mktemp("bitnet") / "ggml-model-i2_s.gguf"
    return path, make_bitnet_source(path, Shape(hidden=512, layers=2, feed_forward=1280))


@pytest.fixture
def source(weights: tuple[Path, Weights], tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(weights[0].read_bytes())
    return path


def test_every_weight_and_every_scale_is_the_same(weights: tuple[Path, Weights], tmp_path: Path) -> None:
    path, originals = weights
    target = tmp_path / "made.gguf"
    size_bytes, _ = repack(path, target, DIGEST)
    assert target.stat().st_size == size_bytes <= measure(path.stat().st_size)
    made = {tensor.name: tensor for tensor in gguf.GGUFReader(target).tensors}
    ternary = [name for name, value in originals.items() if isinstance(value, Ternary)]
    assert len(made) == len(originals) + len(ternary)
    assert max(made[name].n_bytes for name in ternary) > PART_BYTES  # of several parts
    for name, value in originals.items():
        if isinstance(value, Ternary):
            assert made[name].tensor_type.name == "TQ2_0"
            assert (gguf.quants.dequantize(made[name].data, made[name].tensor_type) == value.codes).all()
            assert made[name.replace(".weight", ".scale")].data.tobytes() == struct.pack("<f", value.scale)
        else:
            assert made[name].data.tobytes() == value.tobytes()


def test_its_metadata_says_what_llama_cpp_needs_and_what_it_was_made_of(
    weights: tuple[Path, Weights], tmp_path: Path
) -> None:
    target = tmp_path / "made.gguf"
    repack(weights[0], target, DIGEST)
    with weights[0].open("rb") as file:
        original = read_header(file, weights[0].stat().st_size).metadata
    with target.open("rb") as file:
        made = read_header(file, target.stat().st_size).metadata
    renamed = {key.replace("bitnet-b1.58.", "bitnet."): value for key, value in original.items()}
    assert made == renamed | {
        "general.architecture": "bitnet",
        "general.file_type": 37,
        "bitnet.hidden_activation": "relu2",
        "tokenizer.ggml.pre": "llama-bpe",
        "localfirst.derived.from_sha256": DIGEST,
        "localfirst.derived.recipe_version": 1,
    }
    assert len(gguf.GGUFReader(target).fields["tokenizer.ggml.tokens"].data) == 512


def test_it_is_the_same_every_time(weights: tuple[Path, Weights], tmp_path: Path) -> None:
    assert repack(weights[0], tmp_path / "one", DIGEST) == repack(weights[0], tmp_path / "two", DIGEST)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def find_tensor(path: Path, name: str) -> int:
    """Where a tensor's bytes begin."""
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size)
    end = max(tensor.offset + tensor.size_bytes for tensor in header.tensors)
    (tensor,) = (one for one in header.tensors if one.name == name)
    return path.stat().st_size - -(-end // 32) * 32 + tensor.offset


def change(path: Path, at: int, raw: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(raw)


CODES_BYTES = 512 * 512 // 4
DAMAGES = {
    "a code that means nothing": (CODES_BYTES - 7, b"\xff", "a code is 3"),
    "a scale that is no number": (CODES_BYTES, struct.pack("<f", float("nan")), "the scale of .* is nan"),
    "a scale of nothing": (CODES_BYTES, bytes(4), "the scale of .* is 0.0"),
    "a scale below nothing": (CODES_BYTES, struct.pack("<f", -1), "the scale of .* is -1.0"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_not_in_this_layout_is_refused_and_leaves_nothing(source: Path, damage: tuple[int, bytes, str]) -> None:
    at, raw, reason = damage
    change(source, find_tensor(source, "blk.1.attn_q.weight") + at, raw)
    with pytest.raises(ModelFileError, match="not BitNet in Microsoft's layout") as caught:
        repack(source, source.with_name("made.gguf"), DIGEST)
    assert re.search(reason, caught.value.detail or "")
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("end", [1000, -1])
def test_a_file_that_is_cut_short_is_refused(source: Path, end: int) -> None:
    source.write_bytes(source.read_bytes()[:end])
    with pytest.raises(ModelFileError, match="Damaged GGUF"):
        repack(source, source.with_name("made.gguf"), DIGEST)


def test_a_plain_model_is_refused(tmp_path: Path) -> None:
    make_random_gguf(tmp_path / "model.gguf", Shape())
    with pytest.raises(ModelFileError, match="not BitNet"):
        repack(tmp_path / "model.gguf", tmp_path / "made.gguf", DIGEST)


@pytest.mark.parametrize("name", ["token_embd.weight", "blk.0.ffn_up.weight", "blk.0.attn_q.scale"])
def test_a_bit_that_the_disk_loses_is_seen(weights: tuple[Path, Weights], tmp_path: Path, name: str) -> None:
    """What was written is spoilt before it is compared, as a failing disk would."""
    path, originals = weights
    repack(path, tmp_path / "right.gguf", DIGEST)
    at = find_tensor(tmp_path / "right.gguf", name)
    payload = sum(one.codes.size // 4 if isinstance(one, Ternary) else one.nbytes for one in originals.values())
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if done == payload:  # all is read, and all but the end is written
            (written,) = tmp_path.glob(".*.tmp")
            change(written, at, bytes([written.read_bytes()[at] ^ 1]))

    with pytest.raises(IntegrityError, match="is not what it was"):
        repack(path, tmp_path / "made.gguf", DIGEST, count)
    assert done >= payload
    assert [one.name for one in tmp_path.iterdir()] == ["right.gguf"]

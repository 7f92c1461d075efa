"""Microsoft's BitNet file, whose weights are I2_S, as one that llama.cpp loads: TQ2_0, with every scale as it was.

Nothing is rounded: a weight keeps its code, and its tensor's scale of 32 bits goes into a tensor `.scale` of its own,
which llama.cpp multiplies with (`src/models/bitnet.cpp` in ggml-org/llama.cpp). What was written is read again and
compared with the original, weight for weight.

Files of type I2_S do not tell how they were packed: writers on ARM group 16 bytes instead of 32, and a build without
`ACT_PARALLEL` packs rows across (`src/ggml-bitnet-mad.cpp` in microsoft/BitNet). So whoever calls knows the file by its
digest.
"""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from dataclasses import replace
from math import isfinite, prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import IntegrityError, ModelFileError
from localfirst.gguf import read_header
from localfirst.gguf.header import Tensor
from localfirst.gguf.pairs import START, VERSION, Pair, make_number, make_text, pack_pair, pack_tensor, pad, read_pairs
from localfirst.gguf.ternary import GROUP_BYTES, GROUP_WEIGHTS, ONE, from_tq2_0, is_ternary, to_tq2_0
from localfirst.store.disk import sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from localfirst.gguf.pairs import Stored

RECIPE_VERSION = 1
"""Another one makes every file anew."""
SOURCE_TYPE, TARGET_TYPE = "I2_S", "TQ2_0"
ARCHITECTURES = ("bitnet-b1.58", "bitnet-25", "bitnet")
"""What converters have called it. llama.cpp knows the last one."""
ARCHITECTURE = "bitnet"
FILE_TYPE_TQ2_0 = 37
"""`LLAMA_FTYPE_MOSTLY_TQ2_0` in `include/llama.h`."""
ACTIVATION_KEY, ACTIVATION = f"{ARCHITECTURE}.hidden_activation", "relu2"
"""What the model was trained with, `hidden_act` in its `config.json`; llama.cpp computes SiLU for this architecture."""
MARK = "localfirst.derived"
"""Begins the keys that say what the file was made of, for whoever finds it."""
ALIGNMENT = 32
SCALE = struct.Struct("<f")
PART_BYTES = 2048 * GROUP_BYTES
"""Of a tensor at once: 128 KiB, which stay in a processor's own memory."""


class _File(NamedTuple):
    """A file and its header."""

    file: BinaryIO
    tensors: tuple[Tensor, ...]
    stored: Stored

    def read(self, tensor: Tensor, at: int, size: int) -> bytes:
        """Bytes of a tensor.

        Raises:
            IntegrityError: the file ends before.
        """
        self.file.seek(self.stored.data_start + tensor.offset + at)
        data = self.file.read(size)
        if len(data) != size:
            raise IntegrityError(f"`{tensor.name}` is cut off")
        return data


def measure(source_bytes: int) -> int:
    """The most bytes that a repacked file takes: a scale of 2 bytes to 64, and a page for names."""
    return source_bytes + source_bytes // 32 + 2**16


def repack(source: Path, target: Path, sha256: str, count: Callable[[int], None] = lambda _: None) -> tuple[int, str]:
    """Write `target`, and compare it with `source`; its size in bytes and its SHA-256. It appears whole or not at all.

    Args:
        source: Microsoft's file.
        target: where to; its folder is there.
        sha256: the digest of `source`, which is written into `target`.
        count: hears of every part of `source`, once when it is read and once when it is compared.

    Raises:
        ModelFileError: the source is no such file.
        IntegrityError: what was written is not the same.
        OSError: it cannot be read or written.
    """
    unfinished = target.with_name(f".{os.getpid()}.tmp")
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reading, unfinished.open("w+b") as writing:
            original = _read(reading, source.stat().st_size)
            _check_kind(original, source.name)
            for part in _make_parts(original, sha256, count):
                writing.write(part)
                digest.update(part)
            writing.flush()
            sync_file(writing.fileno())
            size_bytes = writing.seek(0, os.SEEK_END)
            made = _read(writing, size_bytes)
            if made.stored.pairs != tuple(_translate_pairs(original, sha256)):
                raise _differ("its metadata")
            _compare(original, made, count)
        unfinished.replace(target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return size_bytes, digest.hexdigest()


def _read(file: BinaryIO, size_bytes: int) -> _File:
    header = read_header(file, size_bytes)
    alignment = header.metadata.get("general.alignment", ALIGNMENT)
    assert isinstance(alignment, int)  # noqa: S101 - the reader has refused all else
    return _File(file, header.tensors, read_pairs(file, header.tensors, alignment))


def _check_kind(original: _File, name: str) -> None:
    architecture = _find_architecture(original)
    ternary = [tensor for tensor in original.tensors if tensor.type == SOURCE_TYPE]
    if architecture not in ARCHITECTURES or not ternary:
        raise _refuse(name, f"architecture {architecture}, {len(ternary)} tensors of type {SOURCE_TYPE}")
    for tensor in ternary:
        if tensor.shape[0] % GROUP_WEIGHTS or not tensor.name.endswith(".weight"):
            raise _refuse(name, f"`{tensor.name}` has rows of {tensor.shape[0]}")
        (scale,) = SCALE.unpack(_read_scale(original, tensor))
        if not (isfinite(scale) and scale > 0):
            raise _refuse(name, f"the scale of `{tensor.name}` is {scale}")


def _refuse(name: str, detail: str) -> ModelFileError:
    return ModelFileError(f"{name} is not BitNet in Microsoft's layout", detail=detail)


def _find_architecture(file: _File) -> str:
    (text,) = (pair.value[8:].decode() for pair in file.stored.pairs if pair.key == "general.architecture")
    return text


def _find_packed_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's codes, without what follows them."""
    return prod(tensor.shape) // 4


def _read_scale(original: _File, tensor: Tensor) -> bytes:
    return original.read(tensor, _find_packed_bytes(tensor), SCALE.size)


def _translate_pairs(original: _File, sha256: str) -> Iterator[Pair]:
    """The metadata for llama.cpp's names, and what the file was made of."""
    old, keys = _find_architecture(original), {pair.key for pair in original.stored.pairs}
    for pair in original.stored.pairs:
        if pair.key == "general.architecture":
            yield make_text(pair.key, ARCHITECTURE)
        elif pair.key == "general.file_type":
            yield make_number(pair.key, FILE_TYPE_TQ2_0)
        elif pair.key.startswith(f"{old}."):
            yield pair._replace(key=ARCHITECTURE + pair.key.removeprefix(old))
        elif pair.key != "general.alignment":
            yield pair
    if ACTIVATION_KEY not in keys:
        yield make_text(ACTIVATION_KEY, ACTIVATION)
    if "tokenizer.ggml.pre" not in keys:  # microsoft/BitNet, pull request 508: its vocabulary is Llama 3's
        yield make_text("tokenizer.ggml.pre", "llama-bpe")
    yield make_text(f"{MARK}.from_sha256", sha256)
    yield make_number(f"{MARK}.recipe_version", RECIPE_VERSION)


def _find_scale_name(tensor: Tensor) -> str:
    return f"{tensor.name.removesuffix('.weight')}.scale"


def _plan(original: _File) -> Iterator[tuple[Tensor, Tensor]]:
    """Each tensor to write, its offset not yet known, with the one that it is made of."""
    for tensor in original.tensors:
        if tensor.type != SOURCE_TYPE:
            yield tensor, tensor
            continue
        groups = prod(tensor.shape) // GROUP_WEIGHTS
        yield replace(tensor, type=TARGET_TYPE, size_bytes=groups * (GROUP_BYTES + len(ONE))), tensor
        yield Tensor(_find_scale_name(tensor), (1,), "F32", 0, SCALE.size), tensor


def _make_parts(original: _File, sha256: str, count: Callable[[int], None]) -> Iterator[bytes]:
    """The file, part for part."""
    pairs, tensors = tuple(_translate_pairs(original, sha256)), tuple(_plan(original))
    head = [START.pack(b"GGUF", VERSION, len(tensors), len(pairs)), *map(pack_pair, pairs)]
    offset = 0
    for tensor, _ in tensors:
        head.append(pack_tensor(tensor, offset))
        offset += pad(tensor.size_bytes, ALIGNMENT)
    yield _fill(b"".join(head))
    for tensor, source in tensors:
        yield from _make_tensor(original, tensor, source, count)
        yield bytes(-tensor.size_bytes % ALIGNMENT)


def _fill(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def _make_tensor(original: _File, tensor: Tensor, source: Tensor, count: Callable[[int], None]) -> Iterator[bytes]:
    if tensor.type == TARGET_TYPE:
        for part in _read_parts(original, source, _find_packed_bytes(source)):
            if not is_ternary(part):
                raise _refuse(source.name, "a code is 3, which stands for no weight")
            count(len(part))
            yield to_tq2_0(part)
    elif source.type == SOURCE_TYPE:
        yield _read_scale(original, source)
    else:
        for part in _read_parts(original, source, source.size_bytes):
            count(len(part))
            yield part


def _read_parts(file: _File, tensor: Tensor, size_bytes: int, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    for at in range(0, size_bytes, part_bytes):
        yield file.read(tensor, at, min(part_bytes, size_bytes - at))


def _compare(original: _File, made: _File, count: Callable[[int], None]) -> None:
    """Read all that was written and find the original in it.

    Raises:
        IntegrityError: something is another.
    """
    tensors = {tensor.name: tensor for tensor in made.tensors}
    for source in original.tensors:
        target = tensors.pop(source.name, None)
        ternary = source.type == SOURCE_TYPE
        scale = tensors.pop(_find_scale_name(source), None) if ternary else None
        if target is None or target.shape != source.shape or target.type != (TARGET_TYPE if ternary else source.type):
            raise _differ(f"`{source.name}`")
        if ternary and (scale is None or made.read(scale, 0, SCALE.size) != _read_scale(original, source)):
            raise _differ(f"`{source.name}`")
        size_bytes = _find_packed_bytes(source) if ternary else source.size_bytes
        blocks_bytes = PART_BYTES // GROUP_BYTES * (GROUP_BYTES + len(ONE)) if ternary else PART_BYTES
        written = _read_parts(made, target, target.size_bytes, blocks_bytes)
        for part, blocks in zip(_read_parts(original, source, size_bytes), written, strict=True):
            if part != (from_tq2_0(blocks) if ternary else blocks):
                raise _differ(f"`{source.name}`")
            count(len(part))
    if tensors:
        raise _differ(f"`{min(tensors)}`")


def _differ(what: str) -> IntegrityError:
    return IntegrityError(
        f"{what} is not what it was before it was repacked",
        detail="what was written was read again and compared",
        hint="The disk or the memory of this machine may be failing. Run the same command again.",
    )

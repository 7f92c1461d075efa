"""Writes a GGUF file of architecture `llama` with random weights in Q4_0: something for an engine to compute.

Sources: `docs/gguf.md` in ggml-org/ggml; `block_q4_0` in `ggml/src/ggml-common.h` there.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
"""Of `enum gguf_metadata_value_type`. Whole numbers have no sign alone, and one in arrays, as llama.cpp wants them."""
TENSOR_F32, TENSOR_Q4_0 = 0, 2
BLOCK, BLOCK_BYTES = 32, 18
SCALE = 0.005
"""Of a block: its weights are -8 to 7 of these, spread as a trained network's are."""
NORMAL, CONTROL = 1, 3
"""Of `enum llama_token_type`."""
BYTES = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
"""Bytes that are spelt as themselves in a byte-level vocabulary. Source: `bytes_to_unicode` in openai/gpt-2."""


class Shape(NamedTuple):
    """The sizes of a network; each a multiple of 32."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    context_tokens: int

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values, of a token."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer_parameters(self) -> int:
        """Weights of all layers, without embedding and output layer."""
        return self.layers * self.hidden * (2 * (self.hidden + self.kv_width) + 3 * self.feed_forward)


def write_random(file: BinaryIO, shape: Shape) -> None:
    """Write a model that answers anything with noise without an end: its end token is never the likeliest."""
    tokens = [*map(_spell, range(256)), "<end>"]
    tensors = list(_list_tensors(shape, len(tokens)))
    file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), 18))
    file.writelines(_pack_string(key) + _pack_value(value) for key, value in _list_keys(shape, tokens))
    offset = 0
    for name, sizes in tensors:
        kind = TENSOR_F32 if len(sizes) == 1 else TENSOR_Q4_0
        file.write(_pack_string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset))
        offset += _pad(_count_bytes(sizes))
    file.write(bytes(_pad(file.tell()) - file.tell()))
    blocks = _make_blocks()
    for name, sizes in tensors:
        size = _count_bytes(sizes)
        if len(sizes) == 1:
            file.write(struct.pack("<f", 1.0) * sizes[0])
        else:
            last = BLOCK_BYTES * sizes[0] // BLOCK if name == "output.weight" else 0  # the end token's row is nothing
            file.write((blocks * (size // len(blocks) + 1))[: size - last] + bytes(last))
        file.write(bytes(_pad(size) - size))


def _list_keys(shape: Shape, tokens: list[str]) -> Iterator[tuple[str, object]]:
    yield "general.architecture", "llama"
    yield "general.name", "random weights"
    yield "general.file_type", 2
    yield "llama.context_length", shape.context_tokens
    yield "llama.embedding_length", shape.hidden
    yield "llama.block_count", shape.layers
    yield "llama.feed_forward_length", shape.feed_forward
    yield "llama.attention.head_count", shape.heads
    yield "llama.attention.head_count_kv", shape.kv_heads
    yield "llama.attention.layer_norm_rms_epsilon", 1e-5
    yield "llama.rope.dimension_count", shape.hidden // shape.heads
    yield "llama.vocab_size", len(tokens)
    yield "tokenizer.ggml.model", "gpt2"
    yield "tokenizer.ggml.pre", "llama-bpe"
    yield "tokenizer.ggml.tokens", tokens
    yield "tokenizer.ggml.token_type", [NORMAL] * 256 + [CONTROL]
    yield "tokenizer.ggml.merges", [f"{_spell(0xFF)} {_spell(0xFE)}"]  # one is demanded; no UTF-8 has these bytes
    yield "tokenizer.ggml.eos_token_id", 256


def _list_tensors(shape: Shape, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes, the row's length first."""
    wide, narrow, deep = shape.hidden, shape.kv_width, shape.feed_forward
    yield "token_embd.weight", (wide, vocabulary)
    yield "output.weight", (wide, vocabulary)
    yield "output_norm.weight", (wide,)
    for layer in range(shape.layers):
        for name, sizes in {
            "attn_norm": (wide,),
            "attn_q": (wide, wide),
            "attn_k": (wide, narrow),
            "attn_v": (wide, narrow),
            "attn_output": (wide, wide),
            "ffn_norm": (wide,),
            "ffn_gate": (wide, deep),
            "ffn_up": (wide, deep),
            "ffn_down": (deep, wide),
        }.items():
            yield f"blk.{layer}.{name}.weight", sizes


def _count_bytes(sizes: tuple[int, ...]) -> int:
    return 4 * sizes[0] if len(sizes) == 1 else sizes[0] * sizes[1] // BLOCK * BLOCK_BYTES


def _make_blocks() -> bytes:
    """Some thousand blocks, the same every time; a network repeats them."""
    noise = random.Random(0)  # noqa: S311 - weights, not secrets
    return b"".join(struct.pack("<e", SCALE) + noise.randbytes(16) for _ in range(4099))  # a prime: rows differ


def _pad(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _spell(byte: int) -> str:
    """The character that stands for a byte in a byte-level vocabulary."""
    return chr(byte) if byte in BYTES else chr(0x100 + byte - sum(one < byte for one in BYTES))


def _pack_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pack_value(value: object) -> bytes:
    """A value after its type."""
    match value:
        case str():
            return struct.pack("<I", STRING) + _pack_string(value)
        case int():
            return struct.pack("<II", U32, value)
        case float():
            return struct.pack("<If", F32, value)
        case list():
            kind = STRING if isinstance(value[0], str) else I32
            items = b"".join(_pack_value(one)[4:] for one in value)
            return struct.pack("<IIQ", ARRAY, kind, len(value)) + items
        case _:
            raise TypeError(f"no value of GGUF: {value!r}")

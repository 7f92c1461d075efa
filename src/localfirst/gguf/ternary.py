"""Weights of three values, -1, 0 and 1, from BitNet's I2_S to llama.cpp's TQ2_0 and back, without loss. Pure.

Both keep two bits a weight, 0 to 2 for -1 to 1, four weights a byte, and the same weights share a byte: in every 32
bytes, byte `m` holds the weights `m`, `32 + m`, `64 + m` and `96 + m`. I2_S has the first of them in the highest bits,
TQ2_0 in the lowest; and TQ2_0 puts a scale of 16 bits behind every 64 bytes, where I2_S has one of 32 bits for all.

Sources: `src/ggml-bitnet-mad.cpp` in microsoft/BitNet (`quantize_i2_s`, as written on x86); `block_tq2_0` in
`ggml/src/ggml-common.h` and `dequantize_row_tq2_0` in `ggml/src/ggml-quants.c` of ggml-org/llama.cpp.
"""

from __future__ import annotations

import struct
from functools import cache

GROUP_WEIGHTS = 256
"""Weights of a TQ2_0 block. A row has to be whole blocks of them."""
GROUP_BYTES = 64
"""Their bytes, without a scale."""
CODES = bytes(byte for byte in range(256) if all(byte >> shift & 3 != 3 for shift in (0, 2, 4, 6)))
"""The bytes that have no code 3, which means nothing."""
REVERSED = bytes((byte & 3) << 6 | (byte >> 2 & 3) << 4 | (byte >> 4 & 3) << 2 | byte >> 6 for byte in range(256))
"""Each byte with its four weights in the other order, which is the way there and the way back."""
ONE = struct.pack("<e", 1.0)
"""The scale of every block: the real one has 32 bits, and lies beside the weights."""


def is_ternary(packed: bytes) -> bool:
    """Whether every code is one of the three."""
    return not packed.translate(None, CODES)


def to_tq2_0(packed: bytes) -> bytes:
    """I2_S without its tail, whole groups of it, as TQ2_0."""
    groups = _find_layout(len(packed) // GROUP_BYTES, "64s").unpack(packed.translate(REVERSED))
    return ONE.join((*groups, b""))


def from_tq2_0(blocks: bytes) -> bytes | None:
    """The way back; `None` where a block has another scale than one."""
    parts = _find_layout(len(blocks) // (GROUP_BYTES + len(ONE)), "64s2s").unpack(blocks)
    if parts[1::2].count(ONE) != len(parts) // 2:
        return None
    return b"".join(parts[::2]).translate(REVERSED)


@cache
def _find_layout(groups: int, group: str) -> struct.Struct:
    return struct.Struct("<" + group * groups)

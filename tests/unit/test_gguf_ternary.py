"""Three-valued weights from I2_S to TQ2_0 and back, held to numpy and to llama.cpp's own converter."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.scripted.bitnet_file import Ternary, pack_i2_s

from localfirst.gguf.ternary import CODES, GROUP_BYTES, REVERSED, from_tq2_0, is_ternary, to_tq2_0

TAIL = 32

packed = st.integers(1, 9).flatmap(
    lambda groups: st.lists(
        st.sampled_from(list(CODES)), min_size=groups * GROUP_BYTES, max_size=groups * GROUP_BYTES
    ).map(bytes)
)


@given(packed)
def test_there_and_back_is_the_same(codes: bytes) -> None:
    assert is_ternary(codes)
    assert from_tq2_0(to_tq2_0(codes)) == codes


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
def test_llama_cpps_own_reader_finds_the_weights_that_were_packed(seed: int, rows: int, groups: int) -> None:
    codes = np.random.default_rng(seed).integers(-1, 2, (rows, 256 * groups), dtype=np.int8)
    blocks = to_tq2_0(pack_i2_s(Ternary(codes, 1.0))[:-TAIL])
    read = gguf.quants.dequantize(np.frombuffer(blocks, np.uint8).reshape(rows, -1), gguf.GGMLQuantizationType.TQ2_0)
    assert (read == codes).all()


def test_only_bytes_with_a_code_that_means_nothing_are_refused() -> None:
    assert len(CODES) == 3**4
    for byte in range(256):
        fields = [byte >> shift & 3 for shift in (0, 2, 4, 6)]
        assert is_ternary(bytes([byte])) is (3 not in fields)
        assert [REVERSED[byte] >> shift & 3 for shift in (6, 4, 2, 0)] == fields


@pytest.mark.parametrize("at", [0, 63, 64, 65, 66, -1])
def test_a_changed_byte_is_seen(at: int) -> None:
    codes = bytes(CODES[number % len(CODES)] for number in range(4 * GROUP_BYTES))
    blocks = bytearray(to_tq2_0(codes))
    blocks[at] ^= 1
    assert from_tq2_0(bytes(blocks)) != codes

"""How many bytes one generated token reads."""

from __future__ import annotations

import pytest
from tests.unit.catalog.catalog_examples import QWEN3_4B, VARIANT, make_model

from localfirst.catalog.fit import find_need
from localfirst.catalog.traffic import find_passed_bytes, find_read_bytes, find_token_bytes
from localfirst.types import Architecture


def test_a_token_reads_the_weights_and_what_came_before() -> None:
    model = make_model(VARIANT)
    need = find_need(model, VARIANT, 4096)
    assert need is not None
    assert find_token_bytes(model, VARIANT, 4096) == need.weights_bytes + need.kv_bytes
    assert find_token_bytes(model, VARIANT, 0) == pytest.approx(need.weights_bytes, rel=0.02)


def test_of_experts_the_active_share_counts_and_a_table_that_is_only_looked_up_does_not() -> None:
    model = make_model(VARIANT)
    plain = find_token_bytes(model, VARIANT, 1)
    assert plain is not None
    sparse = model._replace(active_parameters=(model.parameters or 0) // 4)
    assert find_token_bytes(sparse, VARIANT, 1) == pytest.approx(plain / 4, rel=0.06)
    untied = model._replace(architecture=QWEN3_4B._replace(tied=False))
    assert (find_token_bytes(untied, VARIANT, 1) or 0) < plain


def test_an_embedding_that_stays_in_the_mapped_file_is_not_taken_off_twice() -> None:
    """ONNX keeps it in 32 bits; a token reads the other parameters' four bits, and their scales."""
    table = 151_936 * 2560
    untied = make_model(VARIANT, architecture=QWEN3_4B._replace(tied=False, vocab_size=151_936, hidden_size=2560))
    others = (untied.parameters or 0) - table
    weights_bytes = others * 5 // 8
    onnx = VARIANT._replace(format="onnx", quantization="int4", devices=("cpu",), size_bytes=weights_bytes + 4 * table)
    need = find_need(untied, onnx, 1)
    assert need is not None
    assert find_passed_bytes(untied, onnx, need.weights_bytes) == weights_bytes


def test_a_cache_of_the_builds_own_length_is_read_whole() -> None:
    model = make_model(VARIANT)
    need = find_need(model, VARIANT, 4096)
    assert need is not None
    weights_bytes = find_passed_bytes(model, VARIANT, need.weights_bytes)
    assert find_read_bytes(model, VARIANT, need, filled=0.0) == weights_bytes
    assert find_read_bytes(model, VARIANT, need, filled=0.5) == weights_bytes + need.kv_bytes // 2
    fixed = VARIANT._replace(context_tokens=4096)
    assert find_read_bytes(model, fixed, need, filled=0.0) == weights_bytes + need.kv_bytes


def test_what_is_unknown_is_not_guessed() -> None:
    assert find_token_bytes(make_model(VARIANT, architecture=Architecture()), VARIANT, 1) is None
    assert find_token_bytes(make_model(VARIANT), VARIANT._replace(size_bytes=None), 1) is None

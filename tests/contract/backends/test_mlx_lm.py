"""What is particular to MLX: caches in few bits, windows, memory, and that nothing of it is left behind."""

from __future__ import annotations

import gc
import json
import math
import struct
import sys
from pathlib import Path

import pytest
from tests.contract.backends.engines import GREEDY, ask
from tests.fixtures import scripted
from tests.fixtures.scripted.vocabulary import spell

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.mlx.adapter import MlxBackend, MlxModel
from localfirst.conversation import Sampling
from localfirst.errors import EngineError, ModelFileError

mx = pytest.importorskip("mlx.core")

WIDE = scripted.Shape(hidden=128, layers=2, heads=2, kv_heads=1)
"""Heads of 64, the least that MLX quantizes in groups of 64."""


def load(path: Path, **options) -> MlxModel:
    return MlxBackend().load(ModelFiles(str(path)), LoadOptions(None, 2, **options))


def change_json(path: Path, **change: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def count_cache_bytes(model: MlxModel) -> int:
    return sum(layer.nbytes for layer in model._batch.idle[0].layers)


def test_a_cache_in_few_bits_takes_the_bytes_that_are_planned_for_it(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, WIDE)
    plain_bytes, texts = 0, []
    for cache, bits in (("f16", 32), ("q8_0", 8 + 2 * 32 / 64), ("q4_0", 4 + 2 * 32 / 64)):  # scales as wide as weights
        model = load(tmp_path, cache=cache)
        texts.append(ask(model, scripted.render("hi"), max_tokens=24).text)
        plain_bytes = plain_bytes or count_cache_bytes(model)
        assert count_cache_bytes(model) == plain_bytes * bits / 32
        model.close()
    assert texts[0] == texts[1]


def test_mlx_without_mlx_lm_is_a_missing_engine_and_no_fault_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.make_random_mlx(tmp_path, WIDE)
    monkeypatch.setitem(sys.modules, "mlx_lm", None)  # the documented way to forbid an import
    with pytest.raises(ImportError) as caught:
        load(tmp_path)
    assert caught.value.name == "mlx_lm"


def test_a_cache_in_few_bits_is_reused_by_the_next_turn(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, WIDE)
    model, fresh = (load(tmp_path, cache="q8_0") for _ in range(2))
    ask(model, scripted.render("one two three"), max_tokens=8)
    prompt = scripted.render("one two four")
    second, cold = (ask(one, prompt, max_tokens=24) for one in (model, fresh))
    assert (second.end.usage.cached_tokens, cold.end.usage.cached_tokens) == (9, 0)
    assert second.text == cold.text
    model.close()
    fresh.close()


def test_heads_too_narrow_for_few_bits_are_an_error_that_says_so(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, scripted.Shape())
    with pytest.raises(EngineError, match="in 8 bits") as caught:
        load(tmp_path, cache="q8_0")
    assert caught.value.hint == "Leave out `--kv-cache`"


@pytest.fixture
def windowed(tmp_path: Path) -> Path:
    """A model whose first layer sees the last 16 tokens only."""
    scripted.make_random_mlx(tmp_path / "windowed", scripted.Shape(layers=2))
    kinds = ["sliding_attention", "full_attention"]
    change_json(tmp_path / "windowed" / "config.json", sliding_window=16, layer_types=kinds)
    return tmp_path / "windowed"


def test_a_window_that_is_full_is_not_turned_back_but_read_again(windowed: Path) -> None:
    model, fresh = load(windowed), load(windowed)
    ask(model, scripted.render("a" * 40), max_tokens=8)
    prompt = scripted.render("a" * 30)
    second, cold = (ask(one, prompt, max_tokens=24) for one in (model, fresh))
    assert second.end.usage.cached_tokens == 0
    assert second.text == cold.text
    model.close()
    fresh.close()


def test_a_window_that_is_full_is_reused_by_a_turn_that_goes_on(windowed: Path) -> None:
    model, fresh = load(windowed), load(windowed)
    first = tuple(model.tokenize(scripted.render("a" * 40)))
    said = ask(model, first, max_tokens=1)
    prompt = (*first, 97, 98, 99)
    second, cold = (ask(one, prompt, max_tokens=24) for one in (model, fresh))
    assert said.prompt_tokens == second.end.usage.cached_tokens == len(first)
    assert second.text == cold.text
    model.close()
    fresh.close()


def test_a_closed_model_gives_its_memory_back(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, scripted.Shape(hidden=512, layers=4, heads=8, kv_heads=8, feed_forward=2048))
    gc.collect()
    before = mx.get_active_memory()
    model = load(tmp_path)
    ask(model, scripted.render("hi"), max_tokens=4)
    held = mx.get_active_memory() - before
    model.close()
    assert held > 50_000_000
    assert mx.get_active_memory() - before < held / 100
    assert mx.get_cache_memory() < held / 100


def test_the_memory_of_the_plan_is_told_to_mlx(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, scripted.Shape())
    limit = mx.set_memory_limit(2**40)
    try:
        load(tmp_path).close()
        assert mx.set_memory_limit(2**40) == 2**40
        load(tmp_path, memory_bytes=2**30).close()
        assert mx.set_memory_limit(2**40) == 2**30
    finally:
        mx.set_memory_limit(limit)


def test_weights_that_are_no_numbers_are_an_error_and_no_text(tmp_path: Path) -> None:
    scripted.make_mlx(tmp_path, "Hello there.")
    path = tmp_path / "model.safetensors"
    raw = bytearray(path.read_bytes())
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    begin, _ = header["model.norm.weight"]["data_offsets"]
    struct.pack_into("<f", raw, 8 + int.from_bytes(raw[:8], "little") + begin, math.nan)
    path.write_bytes(raw)
    model = load(tmp_path)
    for sampling in (GREEDY, Sampling(1.0), Sampling(1.0, 40, 0.9, 0.05, 1.1, 7)):
        with pytest.raises(EngineError, match="not a number"):
            ask(model, scripted.render("hi"), sampling)
    model.close()


def test_a_tokenizer_of_an_unknown_kind_decodes_by_itself(tmp_path: Path) -> None:
    scripted.make_mlx(tmp_path, "Hello there, you two.")
    change_json(tmp_path / "tokenizer.json", decoder={"type": "Fuse"})
    model = load(tmp_path)
    assert ask(model, scripted.render("hi")).text == spell(b"Hello there, you two.")
    model.close()


def test_a_context_that_nobody_knows_has_to_be_asked_for(tmp_path: Path) -> None:
    scripted.make_mlx(tmp_path, "Hello there.")
    change_json(tmp_path / "config.json", max_position_embeddings=None)
    with pytest.raises(ModelFileError, match="does not say how long its context is"):
        load(tmp_path)
    model = MlxBackend().load(ModelFiles(str(tmp_path)), LoadOptions(300, 2))
    assert model.info.context_tokens == 300
    model.close()

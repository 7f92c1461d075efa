"""How many requests a plan answers at the same time."""

from __future__ import annotations

import pytest
from catalog_examples import LLAMA, METAL, ONNX, ONNX_VARIANT, VARIANT, make_machine, make_model

from localfirst.catalog.resolve import resolve
from localfirst.types import Plan, Wanted
from localfirst.units import GIB

ROOM_BYTES = 48 * GIB


MLX = METAL._replace(name="mlx-metal", backend="mlx", engine="mlx-lm", formats=("mlx",), placement="cpu")
MLX_VARIANT = VARIANT._replace(name="4bit", format="mlx", quantization="4bit")


def choose(available_bytes: int, parallel: int, **wanted: object) -> Plan:
    machine = make_machine(available_bytes=available_bytes)
    asked = Wanted(requests=parallel, **wanted)  # type: ignore[arg-type]
    model = make_model(VARIANT, ONNX_VARIANT, MLX_VARIANT)
    return resolve(model, machine, (LLAMA, ONNX, MLX), wanted=asked).chosen


@pytest.mark.parametrize(("backend", "surplus_tokens"), [("xllamacpp", 0), ("mlx", 256)])
def test_every_request_has_a_cache_of_its_own(backend: str, surplus_tokens: int) -> None:
    one, four = (choose(ROOM_BYTES, requests, backend=backend) for requests in (1, 4))
    assert one.need
    assert four.need
    assert (four.requests, four.context_tokens) == (4, one.context_tokens)
    assert four.need.kv_bytes == 4 * one.need.kv_bytes * (8192 + surplus_tokens) // 8192
    assert four.need.weights_bytes == one.need.weights_bytes


@pytest.mark.parametrize("parallel", [4, 3, 2, 1])
def test_as_many_as_fit_without_a_shorter_context(parallel: int) -> None:
    enough = choose(ROOM_BYTES, parallel)
    assert enough.need
    assert enough.free_bytes
    margin_bytes = ROOM_BYTES - enough.free_bytes
    plan = choose(enough.need.total_bytes + margin_bytes, 4)
    assert (plan.requests, plan.context_tokens) == (parallel, 8192)
    assert (f"answers {parallel} at a time, not the 4 asked for, so that it fits" in plan.reason) == (parallel < 4)


def test_where_one_hardly_fits_its_context_is_shortened_as_ever() -> None:
    one = choose(ROOM_BYTES, 1)
    assert one.need
    assert one.free_bytes
    little_bytes = one.need.total_bytes + ROOM_BYTES - one.free_bytes - GIB // 4
    plan = choose(little_bytes, 4)
    assert 4096 <= (plan.context_tokens or 0) < 8192
    assert plan._replace(reason="") == choose(little_bytes, 1)._replace(reason="")


def test_an_engine_that_computes_one_at_a_time_does_so_out_loud() -> None:
    plan = choose(ROOM_BYTES, 4, backend="onnx")
    assert plan.requests == 1
    assert "answers 1 at a time, not the 4 asked for, as its engine does" in plan.reason


def test_caches_in_few_bits_are_not_put_together_by_every_engine() -> None:
    plan = choose(ROOM_BYTES, 4, backend="mlx", cache="q8_0")
    assert plan.requests == 1
    assert "answers 1 at a time, not the 4 asked for, as its engine does with `--kv-cache q8_0`" in plan.reason
    assert choose(ROOM_BYTES, 4, backend="xllamacpp", cache="q8_0").requests == 4

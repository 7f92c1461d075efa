"""Which loaded models stand in for one that would be loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localfirst.services.serving.alike import Loading, find_difference
from localfirst.types import Parallel
from localfirst.worker.protocol import Load

LOAD = Load("xllamacpp", "/models/a/b.gguf", 4096, 4, "cpu")
HERE = Loading("llama-cpu", "cpu", LOAD)


def test_the_same_is_the_same_whatever_the_memory_was() -> None:
    there = HERE._replace(load=replace(LOAD, memory_bytes=5, budget_bytes=6, requests=4, threads=2, title="A"))
    assert find_difference(HERE, there, context=True, threads=False) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"main": "/models/a/c.gguf"}, "its build is c.gguf, not b.gguf"),
        ({"main": "/models/2/b.gguf"}, "its revision is /models/2/b.gguf, not /models/a/b.gguf"),
        ({"draft": "/models/small.gguf"}, "its draft is small.gguf, not none"),
        ({"device_layers": 12}, "its part on the device is 12 layers, not all"),
        ({"cache": "q8_0"}, "its KV cache is q8_0, not f16"),
        ({"parallel": Parallel(2, 1, None)}, "its spread is 2 x 1, not 1 x 1"),
        ({"threads": 2}, "its threads are 2, not 4"),
        ({"context_tokens": 8192}, "its context is 8,192 tokens, not 4,096 tokens"),
        ({"context_tokens": None}, "its context is the model's own, not 4,096 tokens"),
    ],
)
def test_a_difference_is_named(changed: dict, words: str) -> None:
    there = HERE._replace(load=replace(LOAD, **changed))
    assert find_difference(HERE, there, context=True, threads=True) == words


def test_another_engine_or_device_is_another() -> None:
    assert find_difference(HERE, HERE._replace(runtime="llama-cuda"), context=False, threads=False) == (
        "its runtime is llama-cuda, not llama-cpu"
    )
    assert find_difference(HERE, HERE._replace(device="RTX"), context=False, threads=False) == (
        "its device is RTX, not cpu"
    )


@pytest.mark.parametrize(("tokens", "will_do"), [(4096, True), (8192, True), (2048, False), (None, False)])
def test_a_longer_context_will_do_where_none_was_named(tokens: int | None, will_do: bool) -> None:
    there = HERE._replace(load=replace(LOAD, context_tokens=tokens))
    assert (find_difference(HERE, there, context=False, threads=False) is None) is will_do

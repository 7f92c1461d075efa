"""Prompts that llama.cpp counts itself are those that are counted before, whatever a file wants around them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.backends.engines import GREEDY
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import make_gguf, make_random_gguf
from tests.fixtures.scripted.network import Shape

from localfirst.backends.base import Chunk, Finished, GenerateRequest, LoadOptions, ModelFiles, Started
from localfirst.backends.registry import make_backend

PROMPTS = ["hi", "<s>hi", "<s>", "<s><s>hi", " hi", "é漢😀", "<|user|>hi<|end|><|assistant|>", "a\x00b", "</s>hi</s>"]


def push(model: object, request: GenerateRequest) -> list[Chunk]:
    told: list[Chunk] = []
    model.push(request, told.append, lambda: None)  # type: ignore[attr-defined]
    return told


def describe(told: list[Chunk]) -> object:
    started, *pieces, end = told
    assert isinstance(started, Started)
    assert isinstance(end, Finished)
    text = "".join(one.text for one in pieces)  # type: ignore[union-attr]
    return started.prompt_tokens, text, end.finish_reason, end.usage.prompt_tokens, end.usage.completion_tokens


@pytest.mark.parametrize("add_eos", [False, True], ids=["", "end"])
@pytest.mark.parametrize("add_bos", [False, True], ids=["", "first token"])
def test_what_a_file_wants_around_a_prompt_is_there_alike(add_bos: bool, add_eos: bool, tmp_path: Path) -> None:
    need_engine("xllamacpp")
    path = tmp_path / "model.gguf"
    make_gguf(path, "Good day, and so on.", add_bos=add_bos, add_eos=add_eos)
    model = make_backend("xllamacpp").load(ModelFiles(str(path)), LoadOptions(None, 1, "cpu", None))
    for prompt in PROMPTS:
        request = GenerateRequest(prompt, GREEDY, max_tokens=6)
        assert describe(push(model, request)) == describe(list(model.generate(request))), prompt
    model.close()


@pytest.mark.parametrize("context_tokens", [256, 300, 512])
@pytest.mark.parametrize("max_tokens", [None, 1, 200, 10_000])
def test_an_answer_ends_where_it_would(context_tokens: int, max_tokens: int | None, tmp_path: Path) -> None:
    need_engine("xllamacpp")
    path = tmp_path / "model.gguf"
    make_random_gguf(path, Shape(context=1024), add_bos=True)
    model = make_backend("xllamacpp").load(ModelFiles(str(path)), LoadOptions(context_tokens, 1, "cpu", None))
    for prompt in ("hi", "x" * 120, "x" * 250):
        request = GenerateRequest(prompt, GREEDY, max_tokens=max_tokens, ignore_end=True)
        assert describe(push(model, request)) == describe(list(model.generate(request))), prompt
    model.close()

"""The makers of test models, checked without an engine; the contract suite checks them with two."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.scripted import Vocabulary, make_gguf, make_onnx, render, split_reply

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text(min_size=2))
def test_the_chunks_of_a_reply_are_different_and_make_up_the_text(text: str) -> None:
    chunks = split_reply(text)
    assert b"".join(chunks) == text.encode()
    assert len(set(chunks)) == len(chunks)


@pytest.mark.parametrize("chunks", [(b"a", b"b", b"a"), (b"",)], ids=["twice", "empty"])
def test_a_reply_that_a_chain_cannot_say_is_refused(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="pairwise different"):
        Vocabulary(chunks)


def test_prompts_are_bytes_special_tokens_and_whole_words_of_the_reply() -> None:
    assert Vocabulary((b"Hello", b" you")).tokenize("<|user|>Hello you!<|end|>") == [258, 261, 262, 33, 260]
    assert render("a", "b", system="s") == "<|system|>s<|end|><|user|>a<|end|><|assistant|>b<|end|><|assistant|>"


def test_the_same_script_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_gguf(tmp_path / name / "model.gguf", "Hello there.")
        make_onnx(tmp_path / name, "Hello there.")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False) == (names, [], [])

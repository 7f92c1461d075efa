"""Which prompts llama.cpp's server counts itself, and by what slots know them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.llama_cpp.prompt import fits, make_counted, make_key, make_uncounted
from localfirst.choices import LLAMA_BATCH_TOKENS


@pytest.mark.parametrize(
    ("size", "context_tokens", "max_tokens", "fitting"),
    [
        (10, 512, 16, True),
        (10, 512, None, True),  # the engine's own end of the context is ours
        (10, 500, None, False),
        (10, 512, 501, True),
        (10, 500, 488, True),
        (10, 500, 489, False),
        (509, 512, 1, True),
        (510, 512, 1, False),
        (0, 512, 16, False),
        (10, 512, 0, False),
    ],
)
def test_a_text_that_surely_fits_need_not_be_counted(
    size: int, context_tokens: int, max_tokens: int | None, fitting: bool
) -> None:
    assert fits("x" * size, context_tokens, max_tokens) == fitting


@given(st.text())
def test_room_is_counted_in_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "replace"))
    assert not fits(text, size + 2, 1)
    assert fits(text, size + 3, 1) == bool(text)


def test_the_model_s_own_first_token_is_there_once() -> None:
    assert make_uncounted("<s>hi", [1], "<s>").given == [1, "hi"]
    assert make_uncounted("hi", [1], "<s>").given == [1, "hi"]
    assert make_uncounted("<s><s>hi", [1], "<s>").given == [1, "<s>hi"]
    assert make_uncounted("<s>", [1], "<s>").given == [1]
    assert make_uncounted("<s>hi", [], "<s>").given == "<s>hi"


def test_a_text_has_one_key_whoever_counts_it() -> None:
    assert make_uncounted("<s>hé", [1], "<s>").key == make_counted([1, 2, 3], "<s>hé").key


def test_tokens_that_begin_alike_have_keys_that_do() -> None:
    assert make_key([1, 2, 3]).startswith(make_key([1, 2]))
    assert not make_key([1, 2, 3]).startswith(make_key([1, 3]))


def test_one_batch_is_one_whatever_the_tokens_are() -> None:
    most = LLAMA_BATCH_TOKENS
    assert make_counted([1] * most).is_one_batch
    assert not make_counted([1] * (most + 1)).is_one_batch
    assert make_uncounted("x" * (most - 2), [], "").is_one_batch
    assert not make_uncounted("x" * (most - 1), [], "").is_one_batch

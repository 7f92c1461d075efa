from __future__ import annotations

import pytest

from localfirst.backends.limits import Allowance, find_allowance
from localfirst.errors import ContextError, UsageError


@pytest.mark.parametrize(
    ("prompt", "context", "maximum", "expected"),
    [
        (10, 100, None, Allowance(90, "context")),
        (10, 100, 20, Allowance(20, "length")),
        (10, 100, 90, Allowance(90, "length")),
        (10, 100, 91, Allowance(90, "context")),
        (99, 100, None, Allowance(1, "context")),
    ],
    ids=["no maximum", "less", "exactly", "more", "one left"],
)
def test_an_answer_may_have_what_the_context_leaves(
    prompt: int, context: int, maximum: int | None, expected: Allowance
) -> None:
    assert find_allowance(prompt, context, maximum) == expected


@pytest.mark.parametrize("prompt", [100, 5000])
def test_a_prompt_that_fills_the_context_is_an_error(prompt: int) -> None:
    with pytest.raises(ContextError) as caught:
        find_allowance(prompt, 100, 10)
    assert caught.value.message == f"The prompt has {prompt} tokens; the context is 100"
    assert caught.value.hint is not None


@pytest.mark.parametrize(("prompt", "maximum"), [(0, None), (10, 0), (10, -1)])
def test_nothing_to_read_or_to_write_is_an_error(prompt: int, maximum: int | None) -> None:
    with pytest.raises(UsageError):
        find_allowance(prompt, 100, maximum)

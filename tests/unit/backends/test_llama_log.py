"""The reason of a failure in llama.cpp's log."""

from __future__ import annotations

import pytest

from localfirst.backends.llama_cpp.server import find_reason

LATE = "0.00.014.220 E srv          init: exiting due to model loading error"
REASON = "0.00.008.370 E llama_model_load: error loading model: missing tensor 'blk.0.attn_q.weight'"
QUIET = "0.00.001.002 I srv    load_model: loading model"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([QUIET, REASON, LATE], "error loading model: missing tensor 'blk.0.attn_q.weight'"),
        ([LATE, QUIET, REASON, LATE], "error loading model: missing tensor 'blk.0.attn_q.weight'"),
        ([LATE, QUIET], None),
        ([], None),
    ],
    ids=["as it is written", "the end of another attempt comes first", "not yet written", "nothing yet"],
)
def test_the_reason_is_the_engines_first_error(lines: list[str], expected: str | None) -> None:
    assert find_reason("\n".join(lines)) == expected

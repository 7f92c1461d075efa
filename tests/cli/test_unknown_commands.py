"""A command that does not exist is answered with the one that was probably meant, wherever that is."""

from __future__ import annotations

import pytest
from tests.conftest import Lf


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["info", "phi-4"], "Did you mean `lf model info`?"),
        (["explian"], "Did you mean `lf model explain`?"),
        (["model", "lst"], "Did you mean `lf model list`?"),
        (["runtime", "instal", "onnx-cpu"], "Did you mean `lf runtime install`?"),
        (["frobnicate"], "See what there is: `lf --help`"),
    ],
)
def test_an_unknown_command_is_answered_with_what_was_meant(lf: Lf, typed: list[str], hint: str) -> None:
    done = lf(*typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: `lf")
    assert done.stderr.rstrip().endswith(f"hint: {hint}")

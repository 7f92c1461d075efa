"""Which of the catalog's builds some files are: all pinned weights have to be there, and none may be unknown."""

from __future__ import annotations

import pytest
from tests.fixtures.hub import make_model

from localfirst.services.adopt import find_catalog_build
from localfirst.types import ModelFile

A, B = "a" * 64, "b" * 64


PINNED = ModelFile("m-00001-of-00002.gguf", 10, A)
SECOND = ModelFile("m-00002-of-00002.gguf", 20, B)


@pytest.mark.parametrize(
    ("catalog", "found", "expected"),
    [
        ((PINNED,), [(10, A)], True),
        ((PINNED,), [(10, B)], False),
        ((PINNED, SECOND), [(20, B), (5, "c" * 64), (10, A)], True),
        ((PINNED, SECOND), [(10, A)], False),
        ((PINNED, ModelFile("LICENSE")), [(10, A)], True),
        ((PINNED, ModelFile("m-00002-of-00002.gguf")), [(10, A)], False),
        ((PINNED, ModelFile("onnx/*")), [(10, A)], False),
        ((ModelFile("*.gguf"),), [(10, A)], False),
        ((PINNED,), [(10, None)], True),
        ((PINNED,), [(11, None)], False),
        ((PINNED, SECOND), [(10, A), (20, None)], True),
        ((PINNED,), [], False),
    ],
)
def test_a_build_is_known_by_all_of_its_weights(
    catalog: tuple[ModelFile, ...], found: list[tuple[int, str | None]], expected: bool
) -> None:
    assert (find_catalog_build(make_model("org/model", *catalog)[:1], found) is not None) is expected


def test_what_is_not_on_a_hub_is_nobodys_download() -> None:
    assert find_catalog_build(make_model("org/model", PINNED, host="builtin")[:1], [(10, A)]) is None

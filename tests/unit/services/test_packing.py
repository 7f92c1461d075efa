"""What a model is called inside a llamafile: a name that every command line takes, whatever it was called before."""

from __future__ import annotations

import pytest

from localfirst.services.packing import make_member_name


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("Qwen3-0.6B-Q8_0.gguf", "Qwen3-0.6B-Q8_0.gguf"),
        ("my model.gguf", "my-model.gguf"),
        ("模型.gguf", "model.gguf"),
        ("模型-7b.gguf", "7b.gguf"),
        ("Größe-é.gguf", "Gro-e-e.gguf"),
        ("../-x.gguf", "x.gguf"),
        (".gguf", "model.gguf"),
        ("sha256-abc", "sha256-abc.gguf"),
    ],
)
def test_a_member_has_a_plain_name(name: str, inside: str) -> None:
    assert make_member_name(name) == inside

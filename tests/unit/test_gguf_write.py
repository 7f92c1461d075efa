from __future__ import annotations

import io
from pathlib import Path

import gguf as reference
import pytest
from tests.contract.backends.engines import ENGINES, ask

from localfirst import gguf
from localfirst.gguf.write import Shape, write_random

SHAPE = Shape(layers=2, hidden=64, feed_forward=160, heads=4, kv_heads=2, context_tokens=256)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with (tmp_path / "model.gguf").open("wb") as file:
        write_random(file, SHAPE)
    return tmp_path / "model.gguf"


def test_our_own_reader_and_the_formats_understand_it(path: Path) -> None:
    with path.open("rb") as file:
        header = gguf.read_header(file, path.stat().st_size)
    assert (header.metadata["general.architecture"], header.context_tokens) == ("llama", 256)
    tensors = {tensor.name: tuple(tensor.shape) for tensor in reference.GGUFReader(path).tensors}
    assert len(tensors) == 3 + 9 * SHAPE.layers
    assert tensors["blk.1.ffn_down.weight"] == (160, 64)
    assert tensors["blk.0.attn_k.weight"] == (64, 32)


def test_it_is_the_same_every_time(path: Path) -> None:
    again = io.BytesIO()
    write_random(again, SHAPE)
    assert again.getvalue() == path.read_bytes()


def test_an_engine_answers_from_it_without_an_end(path: Path) -> None:
    model = ENGINES[0].load(path)
    end = ask(model, "A prompt.", max_tokens=64).end
    model.close()
    assert (end.finish_reason, end.usage.completion_tokens) == ("length", 64)

"""The pipeline that NPUs need, on the CPU: no NPU was here, so its fixed sizes alone are not run."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import GREEDY, ask
from tests.fixtures import scripted
from tests.fixtures.scripted import Shape, render

from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles, Piece
from localfirst.backends.openvino import adapter, shared
from localfirst.conversation import Sampling
from localfirst.errors import ContextError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

CONTEXT_TOKENS = 256


def load(path: Path) -> LoadedModel:
    options = LoadOptions(CONTEXT_TOKENS, threads=2, placement="npu")
    return adapter.OpenVinoBackend().load(ModelFiles(str(path)), options)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shared.DEVICES, "npu", "CPU")


@pytest.fixture
def model(tmp_path: Path) -> Iterator[LoadedModel]:
    scripted.make_openvino(tmp_path / "model", TEXT)
    loaded = load(tmp_path / "model")
    yield loaded
    loaded.close()


def test_an_answer_has_the_exact_text_and_counts(model: LoadedModel) -> None:
    answer = ask(model, render("hi"))
    assert (answer.text, answer.end.finish_reason) == (TEXT, "stop")
    assert (answer.prompt_tokens, answer.end.usage.completion_tokens) == (5, 11)
    assert answer.end.prefill_s is not None


def test_a_maximum_and_a_stop_string_end_it(model: LoadedModel) -> None:
    assert ask(model, render("hi"), max_tokens=3).end.finish_reason == "length"
    assert ask(model, render("hi"), stop=("there! The",)).text == "Hello "


def test_half_of_a_short_context_is_for_the_prompt(model: LoadedModel) -> None:
    assert ask(model, render("a" * 125)).text == TEXT
    with pytest.raises(ContextError, match="The prompt has 129 tokens; of the context of 256, 128 are for it"):
        ask(model, render("a" * 126))


def test_a_cancel_ends_an_answer_and_the_next_one_is_whole(tmp_path: Path) -> None:
    scripted.make_openvino(tmp_path / "loop", reply_tokens=(b"on ", b"and "), loop=True)
    loaded = load(tmp_path / "loop")
    flag = threading.Event()
    chunks = []
    for chunk in loaded.generate(GenerateRequest(render("hi"), GREEDY, cancelled=flag.is_set)):
        chunks.append(chunk)
        if isinstance(chunk, Piece) and not flag.is_set():
            flag.set()
            cancelled_at = time.perf_counter()
    assert time.perf_counter() - cancelled_at < 0.5
    assert chunks[-1].finish_reason == "cancelled"
    chunks = loaded.generate(GenerateRequest(render("hi"), GREEDY))
    next(chunks), next(chunks)
    chunks.close()
    assert ask(loaded, render("hi"), max_tokens=3).text == "on and on "
    loaded.close()


def test_a_seed_repeats(tmp_path: Path) -> None:
    scripted.make_random_openvino(tmp_path / "random", Shape(layers=2))
    loaded = load(tmp_path / "random")
    texts = [ask(loaded, render("hi"), Sampling(1.0, seed=seed), max_tokens=16).text for seed in (7, 7, 8)]
    loaded.close()
    assert texts[0] == texts[1] != texts[2]


def test_without_an_npu_it_is_refused(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shared.DEVICES, "npu", "NPU")
    with pytest.raises(DeviceError, match="sees no NPU"):
        load(tmp_path / "model")

"""BitNet in llama.cpp: the logits that the model should give, and nothing at all where that is not certain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from tests.contract.backends.conftest import SKIP
from tests.contract.backends.engines import BITNET, ask, never
from tests.contract.backends.test_bad_files import GGUF_DAMAGES, load_in_child
from tests.fixtures import scripted
from tests.fixtures.scripted.bitnet_file import Ternary, Weights, expand, random_weights, widen, write_source
from tests.fixtures.scripted.bitnet_reference import compute_logits, silu
from tests.fixtures.scripted.gguf_file import make_squared_relu_gguf

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.llama_cpp import squared_relu
from localfirst.backends.registry import make_backend
from localfirst.errors import DeviceError, EngineError, ModelFileError
from localfirst.store.repack import repack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localfirst.backends.llama_cpp.engine import LlamaEngine

pytestmark = SKIP
LAYERS = 2
SHAPE = widen(scripted.Shape(layers=LAYERS))
OPTIONS = LoadOptions(256, threads=2)
SMALL = 3e-4
"""A scale with which the norm behind the activation has its epsilon count, so that no scale can be lost unseen."""
PROMPTS = ((72,), (5, 200, 31), tuple(range(40, 72)))


class Files(NamedTuple):
    """The same weights repacked, and without anything that an engine rounds."""

    weights: Weights
    repacked: Path
    plain: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, vocabulary = tmp_path_factory.mktemp("bitnet"), scripted.Vocabulary(minimum_size=512)
    weights = random_weights(SHAPE, vocabulary.size, seed=3)
    for name, value in weights.items():
        if isinstance(value, Ternary) and ".ffn_up." in name:
            weights[name] = replace(value, scale=float(np.float32(SMALL)))
    write_source(folder / "source.gguf", SHAPE, vocabulary, weights)
    write_source(folder / "plain.gguf", SHAPE, vocabulary, expand(weights), architecture="bitnet")
    repack(folder / "source.gguf", folder / "repacked.gguf", "0" * 64)
    return Files(weights, folder / "repacked.gguf", folder / "plain.gguf")


def read_logits(engine: LlamaEngine, prompt: tuple[int, ...]) -> np.ndarray:
    """The engine's logits after a prompt."""
    engine.forget()
    assert engine.read(prompt, bool)
    logits = engine._library.llama_get_logits_ith(engine._context, -1)
    return np.ctypeslib.as_array(logits, (512,)).astype(np.float64)


def open_engine(path: Path, *, changed: bool = True, layers: int = LAYERS) -> LlamaEngine:
    from localfirst.backends.llama_cpp.bitnet import BitnetEngine
    from localfirst.backends.llama_cpp.engine import LlamaEngine

    return BitnetEngine(str(path), 256, OPTIONS, layers) if changed else LlamaEngine(str(path), 256, OPTIONS)


@pytest.fixture(scope="module")
def engines(files: Files) -> Iterator[dict[str, LlamaEngine]]:
    opened = {
        "repacked": open_engine(files.repacked),
        "plain": open_engine(files.plain),
        "plain, unchanged": open_engine(files.plain, changed=False),
    }
    yield opened
    for engine in opened.values():
        engine.close()


def differ(one: np.ndarray, other: np.ndarray) -> float:
    """How far two vectors are apart, in parts of the second one's length."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_the_logits_are_those_of_the_reference(
    files: Files, engines: dict[str, LlamaEngine], prompt: tuple[int, ...]
) -> None:
    right = compute_logits(files.weights, SHAPE, prompt, rounded=False)[-1]
    wrong = compute_logits(files.weights, SHAPE, prompt, silu, rounded=False)[-1]
    found, unchanged = (read_logits(engines[name], prompt) for name in ("plain", "plain, unchanged"))
    assert differ(found, right) < 2e-3
    assert differ(unchanged, wrong) < 2e-3
    assert differ(unchanged, right) > 0.2


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_repacked_they_are_the_same_but_for_what_llama_cpp_rounds(
    files: Files, engines: dict[str, LlamaEngine], prompt: tuple[int, ...]
) -> None:
    """It rounds activations to 8 bits; where one falls on the other side of a half, random weights make much of it."""
    right = compute_logits(files.weights, SHAPE, prompt)[-1]
    assert differ(read_logits(engines["repacked"], prompt), right) < 0.1


def test_a_text_is_as_likely_as_the_reference_says(files: Files) -> None:
    """In the context that is made for it, too, every graph is changed."""
    prompt = [*PROMPTS[-1], *PROMPTS[-1][::-1], *PROMPTS[-1]]
    logits = compute_logits(files.weights, SHAPE, prompt, rounded=False)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    model = BITNET.load(files.plain, 256)
    try:
        scores = model.score(prompt, 1, never)
    finally:
        model.close()
    assert differ(np.array(scores.log_probs), expected[np.arange(len(prompt) - 1), prompt[1:]]) < 2e-3
    assert [place[0][0] for place in scores.likeliest] == list(logits[:-1].argmax(axis=1))


def test_token_by_token_is_the_same_as_all_at_once(files: Files, engines: dict[str, LlamaEngine]) -> None:
    """A graph that is computed again is not changed twice."""
    engine, prompt = engines["plain"], PROMPTS[-1]
    engine.forget()
    for token in prompt[:-1]:
        assert engine.read((token,), bool)
    assert engine.read(prompt[-1:], bool)
    stepped = np.ctypeslib.as_array(engine._library.llama_get_logits_ith(engine._context, -1), (512,)).copy()
    assert differ(stepped, compute_logits(files.weights, SHAPE, prompt, rounded=False)[-1]) < 2e-3


def test_a_version_whose_graph_is_not_known_is_refused(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squared_relu, "LAYOUTS", {})
    with pytest.raises(EngineError, match="does not compute this model's activation") as caught:
        make_backend("bitnet").load(ModelFiles(str(files.repacked)), OPTIONS)
    assert "llama-cpp-python 0.3.36 with ggml 0.25.3" in (caught.value.detail or "")


def test_another_number_of_layers_than_expected_is_refused(files: Files) -> None:
    with pytest.raises(EngineError) as caught:
        open_engine(files.repacked, layers=LAYERS + 1)
    assert caught.value.detail == "2 of 3 layers changed, 0 that needed no change"


def test_what_fails_in_a_later_step_ends_the_answer(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python only prints what a callback raises."""
    model = make_backend("bitnet").load(ModelFiles(str(files.repacked)), OPTIONS)
    before = ask(model, "hi", max_tokens=4).text
    with monkeypatch.context() as patch:
        patch.setattr(squared_relu.SquaredRelu, "_find_sources", lambda *_: 1 / 0)
        with pytest.raises(EngineError) as caught:
            ask(model, "hello", max_tokens=4)
    assert caught.value.detail == "ZeroDivisionError: division by zero"
    assert ask(model, "hi", max_tokens=4).text == before
    model.close()


def test_a_file_without_spare_multiplications_is_refused(files: Files, tmp_path: Path) -> None:
    weights = {name: value for name, value in expand(files.weights).items() if not name.endswith(".scale")}
    path = tmp_path / "model.gguf"
    write_source(path, SHAPE, scripted.Vocabulary(minimum_size=512), weights, architecture="bitnet")
    with pytest.raises(EngineError) as caught:
        make_backend("bitnet").load(ModelFiles(str(path)), OPTIONS)
    assert "fed by other nodes than expected" in (caught.value.detail or "")


@pytest.mark.parametrize("known", [True, False])
def test_an_engine_that_computes_it_by_itself_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    path, prompt = tmp_path / "model.gguf", PROMPTS[1]
    make_squared_relu_gguf(path, scripted.Shape(layers=3))
    if not known:
        monkeypatch.setattr(squared_relu, "LAYOUTS", {})
    plain, watched = open_engine(path, changed=False), open_engine(path, layers=3)
    assert (read_logits(watched, prompt) == read_logits(plain, prompt)).all()
    assert (watched._activation.changed, watched._activation.native) == (0, 3)
    plain.close()
    watched.close()


def test_a_plain_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    scripted.make_random_gguf(path, scripted.Shape())
    with pytest.raises(ModelFileError, match="no BitNet file that was repacked") as caught:
        BITNET.load(path)
    assert caught.value.detail == "architecture llama, activation None"


def test_no_other_device_than_the_cpu_is_tried(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from localfirst.backends.llama_cpp import api

    gpu = api.EngineDevice("CUDA0", "a GPU", api.GPU)
    monkeypatch.setattr(api, "find_devices", lambda: (gpu,))
    with pytest.raises(DeviceError, match="on the CPU alone"):
        make_backend("bitnet").load(ModelFiles(str(files.repacked)), LoadOptions(256, 2, "gpu"))


@pytest.mark.parametrize("damage", GGUF_DAMAGES.values(), ids=GGUF_DAMAGES)
def test_a_damaged_file_is_refused_before_native_code(
    files: Files, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(files.repacked.read_bytes()))
    with pytest.raises(ModelFileError, match=r"^model\.gguf(?! is no BitNet)"):
        BITNET.load(path)


@pytest.mark.parametrize("name", [b"blk.1.ffn_down.weight", b"blk.1.ffn_gate.scale"])
def test_a_tensor_under_another_name_is_refused(files: Files, name: bytes, tmp_path: Path) -> None:
    """A weight by llama.cpp; a scale, which it takes for none, by the graph that lacks its multiplication."""
    path = tmp_path / "model.gguf"
    path.write_bytes(files.repacked.read_bytes().replace(name, name.replace(b"ffn", b"fnn")))
    code, *_ = load_in_child("bitnet", path)
    assert code == "engine"

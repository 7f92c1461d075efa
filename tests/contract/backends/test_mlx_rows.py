"""Several requests in MLX: caches with windows and states, and models whose caches cannot be put together."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.backends.engines import GREEDY, Reply, ask
from tests.fixtures import scripted

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles, Piece
from localfirst.backends.mlx.adapter import MlxBackend, MlxModel
from localfirst.backends.mlx.network import Kept, Network
from localfirst.conversation import Sampling
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

mx = pytest.importorskip("mlx.core")

PARALLEL = 3
WIDE = scripted.Shape(hidden=128, layers=2, heads=2, kv_heads=1)
SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 1024,
}
CONVOLUTIONS = {
    "norm_eps": 1e-5,
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_dim": 64,
    "block_multiple_of": 16,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
    "block_ff_dim": 128,
    "full_attn_idxs": [1],
}
WINDOWS = {"sliding_window": 16, "sliding_window_pattern": 3}
ARCHITECTURES = {
    "whole contexts": {"model_type": "qwen3", "rope_theta": 1e4, "tie_word_embeddings": True},
    "windows": {"model_type": "gemma3_text", **WINDOWS},
    "states": {"model_type": "lfm2", **CONVOLUTIONS},
}


def make(path: Path, config: dict[str, Any]) -> None:
    """Write a folder of an architecture of mlx-lm, with random weights."""
    from mlx.utils import tree_map
    from mlx_lm.utils import _get_classes

    scripted.make_random_mlx(path, scripted.Shape())
    config = json.loads((path / "config.json").read_text()) | SIZES | config
    (path / "config.json").write_text(json.dumps(config))
    model_class, arguments_class = _get_classes(config)
    model = model_class(arguments_class.from_dict(config))
    mx.random.seed(1)
    model.update(tree_map(lambda one: mx.random.normal(one.shape) * 0.2 if one.ndim > 1 else one, model.parameters()))
    model.save_weights(str(path / "model.safetensors"))


def load(path: Path, requests: int = 1, **options: Any) -> MlxModel:
    return MlxBackend().load(ModelFiles(str(path)), LoadOptions(None, 2, requests=requests, **options))


def load_with_notices(path: Path, **options: Any) -> tuple[int, list[str]]:
    told: list[str] = []
    model = load(path, PARALLEL, report=lambda text, _lasting: told.append(text), **options)
    model.close()
    return model.info.parallel, told


@pytest.fixture(params=ARCHITECTURES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make(tmp_path, ARCHITECTURES[request.param])
    return tmp_path


def test_requests_that_come_and_go_have_the_answers_that_each_has_alone(path: Path) -> None:
    draw = random.Random(5)  # noqa: S311 - the same requests in every run
    asked = []
    for number in range(16):
        prompt = tuple(draw.choices(range(97, 123), k=draw.choice([1, 5, 40, 300])))
        sampling = draw.choice([GREEDY, Sampling(0.8, 40, 0.9, 0.05, 1.1, number)])
        asked.append((prompt, sampling, {"max_tokens": draw.randrange(1, 60), "stop": (chr(97 + number),)}))
    alone, together = load(path), load(path, PARALLEL)
    expected = [ask(alone, prompt, sampling, **options) for prompt, sampling, options in asked]
    with ThreadPoolExecutor(PARALLEL) as pool:
        found = list(pool.map(lambda one: ask(together, one[0], one[1], **one[2]), asked))
    alone.close()
    together.close()
    assert together.info.parallel == PARALLEL
    assert [describe(one) for one in found] == [describe(one) for one in expected]


def describe(reply: Reply) -> tuple[str, str, int]:
    return reply.text, reply.end.finish_reason, reply.end.usage.completion_tokens


def test_a_prompt_that_is_given_up_while_it_is_read_leaves_the_other_answer_as_it_is(path: Path) -> None:
    model = load(path, PARALLEL)
    asked: list[int] = []

    def is_cancelled() -> bool:
        """True once the engine has asked three times: before it takes the prompt, and before each part of it."""
        asked.extend([1] if threading.current_thread().name.startswith("mlx") else [])
        return len(asked) > 2

    expected = ask(model, (97, 98), max_tokens=200)
    other = model.generate(GenerateRequest((97, 98), GREEDY, max_tokens=200))
    _, first = next(other), next(other)
    long = tuple(range(97, 123)) * 30
    *_, given_up = model.generate(GenerateRequest(long, GREEDY, cancelled=is_cancelled))
    assert isinstance(given_up, Finished)
    assert (given_up.finish_reason, given_up.usage.completion_tokens) == ("cancelled", 0)
    *pieces, end = (first, *other)
    assert isinstance(end, Finished)
    assert end.finish_reason == expected.end.finish_reason
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == expected.text
    assert ask(model, long, max_tokens=1).end.usage.cached_tokens == 256
    model.close()


def test_caches_in_few_bits_are_not_put_together(tmp_path: Path) -> None:
    scripted.make_random_mlx(tmp_path, WIDE)
    parallel, told = load_with_notices(tmp_path, cache="q8_0")
    assert parallel == 1
    assert "one request at a time" in told[0]
    assert load_with_notices(tmp_path) == (PARALLEL, [])


def test_an_architecture_that_mixes_its_rows_up_computes_one_at_a_time(tmp_path: Path) -> None:
    """In `mlx_lm/models/gemma2.py` of 0.32.2 two rows and two heads fit each other's masks: nothing is raised."""
    make(tmp_path, {"model_type": "gemma2"})
    parallel, told = load_with_notices(tmp_path)
    assert parallel == 1
    assert "one request at a time" in told[0]


def test_a_model_that_is_closed_ends_what_it_answers(tmp_path: Path) -> None:
    make(tmp_path, ARCHITECTURES["whole contexts"])
    model = load(tmp_path, PARALLEL)
    chunks = model.generate(GenerateRequest((97, 98), GREEDY))
    next(chunks)
    next(chunks)
    model.close()
    with pytest.raises(EngineError, match="closed"):
        list(chunks)


def test_a_conversation_that_cannot_be_gone_on_from_costs_its_answer_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that no model makes on purpose: memory runs out while caches are cut."""
    scripted.make_mlx(tmp_path, "Still here.")
    model = load(tmp_path)
    turn_back = Network.turn_back

    def fail(*_: object) -> Kept:
        monkeypatch.setattr(Network, "turn_back", turn_back)
        raise RuntimeError("no memory for a cache")

    monkeypatch.setattr(Network, "turn_back", fail)
    with pytest.raises(EngineError, match="MLX"):
        ask(model, "hi")
    assert ask(model, "hi").text == "Still here."
    model.close()

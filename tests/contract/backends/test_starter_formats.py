"""The starter is the same model in MLX as in GGUF: the same weights to the last bit, the same answers but for ties."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.contract.backends.engines import GREEDY, ask

from localfirst.backends.base import LoadedModel, LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.paths import starter_dir
from localfirst.services.engines import STARTER_FILES

mx = pytest.importorskip("mlx.core")

ROOT = Path(__file__).parents[3]
EVERY = 20
"""Of the held-out questions that are asked."""
WHOLE, HEAD_TOKENS = 4, 4
"""So many are answered in full, of the others so many tokens are compared: the first names the intent."""
TIE = 0.2
"""How much likelier MLX may think its answer than the next best where GGUF gives another (natural logarithm): 0.002,
0.032 and 0.142 for the three that differ of all 795 questions. llama.cpp rounds activations to 8 bits, MLX does not."""


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, LoadedModel]]:
    files = {"xllamacpp": STARTER_FILES["gguf"], "mlx": STARTER_FILES["mlx"]}
    loaded = {
        name: make_backend(name).load(ModelFiles(str(Path(starter_dir(), path))), LoadOptions(None, 1))
        for name, path in files.items()
    }
    yield loaded
    for model in loaded.values():
        model.close()


@pytest.fixture(scope="module")
def prompts() -> list[tuple[str, int]]:
    """The README's questions, the first ones to be answered in full, and a twentieth of the held-out ones."""
    folder = str(ROOT / "tools/starter")
    sys.path.insert(0, folder)
    try:
        import chat
        import evaluate

        sets = evaluate.question_sets()
        questions = [chat.prompt(question) for question in (*sets["readme"], *list(sets["heldout"])[::EVERY])]
        return [(question, 160 if number < WHOLE else HEAD_TOKENS) for number, question in enumerate(questions)]
    finally:
        sys.path.remove(folder)


def test_answers_are_those_of_the_gguf_but_for_ties(
    models: dict[str, LoadedModel], prompts: list[tuple[str, int]]
) -> None:
    assert len(prompts) > 40
    for prompt, tokens in prompts:
        theirs, ours = (ask(models[name], prompt, GREEDY, max_tokens=tokens) for name in ("xllamacpp", "mlx"))
        if ours.text != theirs.text:
            assert find_lead(models["mlx"], prompt) < TIE


def find_lead(model: LoadedModel, prompt: str) -> float:
    """How much likelier the best first token is than the second. It is the one that decides: it names the intent."""
    logits = model._network.model(mx.array([model.tokenize(prompt)]))[0, -1]
    second, best = np.sort(np.array(logits))[-2:]
    return float(best - second)


def test_the_weights_are_those_of_the_gguf_to_the_last_bit() -> None:
    mlx = mx.load(str(Path(starter_dir(), STARTER_FILES["mlx"], "model.safetensors")))
    config = json.loads(Path(starter_dir(), STARTER_FILES["mlx"], "config.json").read_text())
    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    compared = 0
    for tensor in gguf.GGUFReader(str(Path(starter_dir(), STARTER_FILES["gguf"]))).tensors:
        layer, _, part = tensor.name.removesuffix(".weight").replace("blk.", "model.layers.").rpartition(".")
        name = f"{layer}.{names[part]}" if layer else names[part]
        weights = gguf.dequantize(tensor.data, tensor.tensor_type)
        if part in {"attn_q", "attn_k"}:  # llama.cpp pairs neighbours where MLX pairs the halves of a head
            heads = config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
            weights = weights.reshape(heads, -1, 2, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)
        np.testing.assert_array_equal(weights, unpack(mlx, name, 8 if part == "token_embd" else 4))
        compared += 1
    assert compared == 2 + 9 * config["num_hidden_layers"]


def unpack(tensors: dict[str, object], name: str, bits: int) -> np.ndarray:
    """What MLX computes with, by its own documentation: scale x code + bias, in groups of 32."""
    words = np.array(tensors[f"{name}.weight"])
    if f"{name}.scales" not in tensors:
        return words
    scales, biases = (np.array(tensors[f"{name}.{part}"])[..., None] for part in ("scales", "biases"))
    codes = (words[..., None] >> np.arange(0, 32, bits, dtype=np.uint32)) & np.uint32(2**bits - 1)
    codes = codes.reshape(*scales.shape[:2], 32)
    return (scales * codes + biases).reshape(scales.shape[0], -1)

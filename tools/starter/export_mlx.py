"""Write the checkpoint as a folder for mlx-lm with the same codes and scales as the GGUF file.

MLX keeps a weight as `scale x code + bias` with codes from 0 on, so Q4_0 is scale d and bias -8 d, and Q8_0 is scale d
and bias -128 d, with a group of 32: nothing is rounded. Scales are float32, because arrays of float16 or bfloat16 would
make the whole network compute in so few bits. Sources: ml-explore/mlx, `mlx.core.quantize`; ml-explore/mlx-lm,
`mlx_lm/models/llama.py` (names) and `mlx_lm/utils.py` (a layer's own quantization); huggingface/safetensors, README.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checkpoint import Checkpoint

GROUP = 32
EMBEDDING = "model.embed_tokens"
NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
DTYPES = {"float32": "F32", "uint32": "U32"}


def pack(code: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned codes `[N, K/32, 32]` as words `[N, K x bits / 32]`, the first code lowest."""
    per_word = 32 // bits
    words = code.reshape(code.shape[0], -1, per_word).astype(np.uint32)
    return np.bitwise_or.reduce(words << (np.arange(per_word, dtype=np.uint32) * np.uint32(bits)), axis=-1)


def matrix(name: str, code: np.ndarray, scale: np.ndarray, bits: int) -> Iterator[tuple[str, np.ndarray]]:
    """The three tensors of a quantized matrix, from codes whose zero is half of their range."""
    scale = scale.astype(np.float32)
    yield f"{name}.weight", pack(code, bits)
    yield f"{name}.scales", scale
    yield f"{name}.biases", scale * np.float32(-(2 ** (bits - 1)))


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor by its name in mlx-lm."""
    code, scale = checkpoint.codes("embed")
    yield from matrix(EMBEDDING, code.astype(np.int16) + 128, scale, 8)
    yield "model.norm.weight", checkpoint.arrays["norm"]
    for layer in range(checkpoint["layers"]):
        for ours, theirs in NAMES.items():
            yield from matrix(f"model.layers.{layer}.{theirs}", *checkpoint.codes(f"{layer}.{ours}"), 4)
        for ours, theirs in NORMS.items():
            yield f"model.layers.{layer}.{theirs}.weight", checkpoint.arrays[f"{layer}.{ours}"]


def safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    """A file of tensors: the length of a JSON header, the header, the bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *(array.tobytes() for array in arrays.values())))


def config(checkpoint: Checkpoint, ids: dict[str, int]) -> dict:
    """config.json; `ids` maps bos, eos and pad to token ids."""
    packing = {"group_size": GROUP, "bits": 4, "mode": "affine"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": checkpoint["hidden"],
        "num_hidden_layers": checkpoint["layers"],
        "intermediate_size": checkpoint["ffn"],
        "num_attention_heads": checkpoint["heads"],
        "num_key_value_heads": checkpoint["kv_heads"],
        "head_dim": checkpoint["hidden"] // checkpoint["heads"],
        "rms_norm_eps": checkpoint.shape["norm_epsilon"],
        "rope_theta": checkpoint.shape["rope_theta"],
        "vocab_size": checkpoint["vocab"],
        "max_position_embeddings": checkpoint["context"],
        "tie_word_embeddings": True,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        "quantization": packing | {EMBEDDING: packing | {"bits": 8}},
    }


def write(checkpoint: Checkpoint, ids: dict[str, int], folder: Path) -> None:
    """Write model.safetensors and config.json; the tokenizer files are written by `tokenizer.write`."""
    (folder / "model.safetensors").write_bytes(safetensors(dict(tensors(checkpoint))))
    text = json.dumps(config(checkpoint, ids), indent=1)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")

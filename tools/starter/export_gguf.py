"""Write the checkpoint as one GGUF file of architecture `llama`; the codes and scales are copied, not recomputed.

Beside it, the network's weights as they are before the grids, to measure what rounding costs (`benchmarks.quality`).

Sources: the GGUF specification (ggml, `docs/gguf.md`); block layouts in ggml, `src/ggml-common.h` (`block_q4_0`: a
float16 scale, then byte j holds element j low and element j+16 high; `block_q8_0`: a float16 scale, then 32 int8).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import chat
import gguf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoint import Checkpoint
    from model import Llama

Q4_0, Q8_0 = gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0
NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a q or k projection from half-split RoPE order to the adjacent pairs that `llama` files use."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def block_bytes(scale: np.ndarray, payload: np.ndarray) -> np.ndarray:
    """`[N, K/32]` scales and `[N, K/32, bytes]` payloads as rows of raw blocks."""
    head = np.ascontiguousarray(scale.astype("<f2"))[..., None].view(np.uint8)
    return np.concatenate((head, payload), axis=-1).reshape(scale.shape[0], -1)


def q4_0_bytes(code: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Raw rows of `block_q4_0`."""
    return block_bytes(scale, code[..., :16] | code[..., 16:] << 4)


def write_metadata(
    writer: gguf.GGUFWriter, checkpoint: Checkpoint, tokenizer_json: dict, file_type: gguf.LlamaFileType
) -> None:
    """Sizes of the network, tokenizer and template."""
    writer.add_name("lf starter")
    writer.add_description("A tiny demonstration model that only knows about lf; trained from scratch, 4-bit QAT")
    writer.add_license("apache-2.0")
    writer.add_size_label(f"{sum(a.size for n, a in checkpoint.arrays.items() if 'scale' not in n) / 1e6:.1f}M")
    writer.add_vocab_size(checkpoint["vocab"])
    writer.add_context_length(checkpoint["context"])
    writer.add_embedding_length(checkpoint["hidden"])
    writer.add_block_count(checkpoint["layers"])
    writer.add_feed_forward_length(checkpoint["ffn"])
    writer.add_head_count(checkpoint["heads"])
    writer.add_head_count_kv(checkpoint["kv_heads"])
    writer.add_layer_norm_rms_eps(checkpoint.shape["norm_epsilon"])
    writer.add_rope_dimension_count(checkpoint["hidden"] // checkpoint["heads"])
    writer.add_rope_freq_base(checkpoint.shape["rope_theta"])
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    model = tokenizer_json["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    ids = model["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    special = {token["content"] for token in tokenizer_json["added_tokens"] if token["special"]}
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(ids[chat.END_OF_TEXT])
    writer.add_eos_token_id(ids[chat.END])
    writer.add_eot_token_id(ids[chat.END])
    writer.add_pad_token_id(ids[chat.END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat.TEMPLATE)


def write(checkpoint: Checkpoint, tokenizer_path: Path, path: Path) -> None:
    """Write `path`."""
    writer = start(checkpoint, tokenizer_path, path, gguf.LlamaFileType.MOSTLY_Q4_0)
    code, scale = checkpoint.codes("embed")
    writer.add_tensor("token_embd.weight", block_bytes(scale, code.view(np.uint8)), raw_dtype=Q8_0)
    writer.add_tensor("output_norm.weight", checkpoint.arrays["norm"])
    for layer in range(checkpoint["layers"]):
        for ours, theirs in NAMES.items():
            code, scale = checkpoint.codes(f"{layer}.{ours}")
            if ours in {"q", "k"}:
                heads = checkpoint["heads" if ours == "q" else "kv_heads"]
                code, scale = interleave(code, heads), interleave(scale, heads)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", q4_0_bytes(code, scale), raw_dtype=Q4_0)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", checkpoint.arrays[f"{layer}.{name}"])
    finish(writer)


def write_float(network: Llama, checkpoint: Checkpoint, tokenizer_path: Path, path: Path) -> None:
    """Write `path`: the weights of `network` in 32 bits; all else as in `checkpoint`, which was made of it."""
    writer = start(checkpoint, tokenizer_path, path, gguf.LlamaFileType.ALL_F32)
    writer.add_tensor("token_embd.weight", network.embed.detach().numpy())
    writer.add_tensor("output_norm.weight", network.norm.weight.detach().numpy())
    for number, layer in enumerate(network.layers):
        for ours, theirs in NAMES.items():
            weight = getattr(layer, ours).weight.detach().numpy()
            if ours in {"q", "k"}:
                weight = interleave(weight, checkpoint["heads" if ours == "q" else "kv_heads"])
            writer.add_tensor(f"blk.{number}.{theirs}.weight", np.ascontiguousarray(weight))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{number}.{name}.weight", getattr(layer, name).weight.detach().numpy())
    finish(writer)


def start(checkpoint: Checkpoint, tokenizer_path: Path, path: Path, file_type: gguf.LlamaFileType) -> gguf.GGUFWriter:
    """A file with all but its tensors."""
    writer = gguf.GGUFWriter(str(path), "llama")
    write_metadata(writer, checkpoint, json.loads(tokenizer_path.read_text(encoding="utf-8")), file_type)
    return writer


def finish(writer: gguf.GGUFWriter) -> None:
    """Write all of it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

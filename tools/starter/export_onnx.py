"""Write the checkpoint as an ONNX Runtime GenAI folder with the same codes and scales as the GGUF file.

The 4-bit matrices are `MatMulNBits` (blocks of 32, zero point 8); the tied embedding is 8-bit: looked up by plain
Gather/Cast/Sub/Mul and used again as an 8-bit `MatMulNBits` head (zero point 128) over the same initializer.
accuracy_level 4 quantizes activations to int8 in blocks of 32, which is what llama.cpp does too.
Source: microsoft/onnxruntime, `docs/ContribOperators.md`; onnxruntime-genai's model builder for the input names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx_proto import FLOAT, INT32, INT64, MSFT, Graph, value_info

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoint import Checkpoint

ACCURACY_LEVEL = 4


def nibbles(code: np.ndarray) -> np.ndarray:
    """Codes `[N, K/32, 32]` as bytes `[N, K/32, 16]`, even element in the low half."""
    return code[..., 0::2] | code[..., 1::2] << 4


class Builder:
    """Adds the network to a graph, layer by layer."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.graph = checkpoint, Graph()
        self.epsilon = float(checkpoint.shape["norm_epsilon"])

    def int64(self, name: str, *values: int) -> str:
        """A one-dimensional int64 constant."""
        return self.graph.constant(name, np.array(values, "i8"))

    def matmul(self, x: str, name: str, sizes: tuple[int, int], bits: int, output: str) -> str:
        """`x` times the transposed matrix whose initializers are `name.code` and `name.scale`."""
        inputs = [x, f"{name}.code", f"{name}.scale"]
        rows, columns = sizes
        attrs = {"K": columns, "N": rows, "bits": bits, "block_size": 32, "accuracy_level": ACCURACY_LEVEL}
        return self.graph.add("MatMulNBits", inputs, output, MSFT, **attrs)

    def linear(self, x: str, layer: int, *names: str) -> str:
        """`x` through the 4-bit matrices `names` of a layer, stacked."""
        parts = [self.checkpoint.codes(f"{layer}.{name}") for name in names]
        code, scale = (np.concatenate(part) for part in zip(*parts, strict=True))
        name = f"layers.{layer}.{'_'.join(names)}"
        self.graph.constant(f"{name}.code", nibbles(code))
        self.graph.constant(f"{name}.scale", scale.astype("f4"))
        return self.matmul(x, name, (code.shape[0], code.shape[1] * 32), 4, f"{name}.out")

    def norm(self, x: str, name: str, array: str) -> str:
        """RMSNorm."""
        weight = self.graph.constant(f"{name}.weight", self.checkpoint.arrays[array])
        return self.graph.add(
            "SimplifiedLayerNormalization", [x, weight], f"{name}.out", epsilon=self.epsilon, axis=-1, stash_type=1
        )

    def embedding(self) -> str:
        """Rows of the 8-bit table as float32 `[batch, sequence, hidden]`."""
        graph, (code, scale) = self.graph, self.checkpoint.codes("embed")
        table = graph.constant("embed.code", (code.astype("i2") + 128).astype("u1"))
        scales = graph.constant("embed.scale", scale.astype("f4"))
        picked = graph.add(
            "Cast", [graph.add("Gather", [table, "input_ids"], "embed.rows", axis=0)], "embed.float", to=1
        )
        centred = graph.add("Sub", [picked, graph.constant("embed.zero", np.array(128, "f4"))], "embed.centred")
        factor = graph.add("Gather", [scales, "input_ids"], "embed.factors", axis=0)
        factor = graph.add("Unsqueeze", [factor, "last"], "embed.factor")
        rows = graph.add("Mul", [centred, factor], "embed.blocks")
        return graph.add("Reshape", [rows, self.int64("embed.shape", 0, 0, self.checkpoint["hidden"])], "embed.out")

    def lengths(self) -> None:
        """`seqlens_k` and `total_length`, which GroupQueryAttention takes instead of a mask."""
        graph = self.graph
        one = self.int64("one", 1)
        summed = graph.add("ReduceSum", ["attention_mask", one], "mask.sum", keepdims=0)
        graph.add("Cast", [graph.add("Sub", [summed, one], "mask.last")], "seqlens_k", to=INT32)
        shape = graph.add("Shape", ["attention_mask"], "mask.shape")
        total = graph.add("Gather", [shape, graph.constant("second", np.array(1, "i8"))], "mask.total", axis=0)
        graph.add("Cast", [total], "total_length", to=INT32)

    def rope(self) -> None:
        """The cosine and sine tables `[context, head_dim / 2]`, as nodes that the engine folds when it loads."""
        graph, size = self.graph, self.checkpoint["hidden"] // self.checkpoint["heads"]
        bounds = [graph.constant(f"rope.{n}", np.array(n, "f4")) for n in (0, self.checkpoint["context"], 1)]
        position = graph.add("Unsqueeze", [graph.add("Range", bounds, "rope.range"), "last"], "rope.position")
        speed = self.checkpoint.shape["rope_theta"] ** -(np.arange(0, size, 2) / size)
        angle = graph.add("Mul", [position, graph.constant("rope.speed", speed.astype("f4"))], "rope.angle")
        graph.add("Cos", [angle], "cos_cache")
        graph.add("Sin", [angle], "sin_cache")

    def layer(self, x: str, layer: int) -> str:
        """One transformer block."""
        graph, checkpoint, name = self.graph, self.checkpoint, f"layers.{layer}"
        normed = self.norm(x, f"{name}.attn_norm", f"{layer}.attn_norm")
        qkv = self.linear(normed, layer, "q", "k", "v")
        cache = [f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"]
        inputs = [qkv, "", "", *cache, "seqlens_k", "total_length", "cos_cache", "sin_cache"]
        outputs = [f"{name}.attention", f"present.{layer}.key", f"present.{layer}.value"]
        heads, width = checkpoint["heads"], checkpoint["hidden"] // checkpoint["heads"]
        attrs = {"num_heads": heads, "kv_num_heads": checkpoint["kv_heads"], "scale": width**-0.5}
        mixed = graph.add("GroupQueryAttention", inputs, outputs, MSFT, **attrs, do_rotary=1, rotary_interleaved=0)
        x = graph.add("Add", [x, self.linear(mixed, layer, "o")], f"{name}.middle")
        normed = self.norm(x, f"{name}.ffn_norm", f"{layer}.ffn_norm")
        gate = self.linear(normed, layer, "gate")
        swish = graph.add("Mul", [gate, graph.add("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.swish")
        hidden = graph.add("Mul", [swish, self.linear(normed, layer, "up")], f"{name}.hidden")
        return graph.add("Add", [x, self.linear(hidden, layer, "down")], f"{name}.output")

    def build(self) -> bytes:
        """The whole model."""
        checkpoint = self.checkpoint
        self.int64("last", -1)
        self.lengths()
        self.rope()
        x = self.embedding()
        for layer in range(checkpoint["layers"]):
            x = self.layer(x, layer)
        x = self.norm(x, "final_norm", "norm")
        self.matmul(x, "embed", (checkpoint["vocab"], checkpoint["hidden"]), 8, "logits")
        batch, width = "batch_size", checkpoint["hidden"] // checkpoint["heads"]

        def caches(prefix: str, time: str) -> list[bytes]:
            shape = [batch, checkpoint["kv_heads"], time, width]
            names = [f"{prefix}.{layer}.{part}" for layer in range(checkpoint["layers"]) for part in ("key", "value")]
            return [value_info(name, FLOAT, shape) for name in names]

        inputs = [
            value_info("input_ids", INT64, [batch, "sequence_length"]),
            value_info("attention_mask", INT64, [batch, "total_sequence_length"]),
            *caches("past_key_values", "past_sequence_length"),
        ]
        logits_info = value_info("logits", FLOAT, [batch, "sequence_length", checkpoint["vocab"]])
        return self.graph.model(inputs, [logits_info, *caches("present", "total_sequence_length")])


def genai_config(checkpoint: Checkpoint, ids: dict[str, int]) -> dict:
    """genai_config.json; `ids` maps bos, eos and pad to token ids."""
    decoder = {
        "filename": "model.onnx",
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "head_size": checkpoint["hidden"] // checkpoint["heads"],
        "hidden_size": checkpoint["hidden"],
        "num_attention_heads": checkpoint["heads"],
        "num_hidden_layers": checkpoint["layers"],
        "num_key_value_heads": checkpoint["kv_heads"],
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    model = {
        "type": "llama",
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        "vocab_size": checkpoint["vocab"],
        "context_length": checkpoint["context"],
        "decoder": decoder,
    }
    search = {
        "do_sample": False,
        "max_length": checkpoint["context"],
        "num_beams": 1,
        "past_present_share_buffer": True,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
    }
    return {"model": model, "search": search}


def write(checkpoint: Checkpoint, ids: dict[str, int], folder: Path) -> None:
    """Write model.onnx and genai_config.json; the tokenizer files are written by `tokenizer.write`."""
    (folder / "model.onnx").write_bytes(Builder(checkpoint).build())
    config = json.dumps(genai_config(checkpoint, ids), indent=1)
    (folder / "genai_config.json").write_text(config + "\n", encoding="utf-8")

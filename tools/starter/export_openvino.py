"""Write the checkpoint as an OpenVINO folder with the same codes and scales as the GGUF file.

The 4-bit matrices are `i4` constants (Q4_0's codes less 8), the tied embedding is `i8`, a float16 scale for each 32
weights; the engine multiplies with them as they are. The cache is kept by the graph, attention is one operation, which
the engine looks for. Sources: openvino, "Stateful models" and "OpenVINO IR format"; openvino_tokenizers,
`tokenizer_pipeline.py`, for the two graphs of the tokenizer.
"""
# ruff: noqa: E402 - what calls home is forbidden before the engine is imported

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import chat
import numpy as np

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov
import openvino_tokenizers
import openvino_tokenizers.tokenizer_pipeline as steps
from openvino import opset15 as op
from openvino.op.util import Variable, VariableInfo
from openvino_tokenizers.utils import UTF8ReplaceMode, change_inputs_type, change_outputs_type

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoint import Checkpoint

LOWEST = -3.4028235e38
"""What attention adds for a token that comes later."""
MIDDLE = 8
"""The code of zero in Q4_0."""

Node = Any


def ints(*values: int) -> Node:
    """A one-dimensional int64 constant."""
    return op.constant(np.array(values, np.int64))


def number(value: int) -> Node:
    """An int64 constant without dimensions."""
    return op.constant(value, dtype=np.int64)


def floats(values: object) -> Node:
    """A float32 constant."""
    return op.constant(np.asarray(values, np.float32))


class Builder:
    """Adds the network to a graph, layer by layer."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.heads, self.head_dim = checkpoint["heads"], checkpoint["hidden"] // checkpoint["heads"]
        self.sinks: list[Node] = []
        self.ids, self.mask, self.positions = (
            self.input(name, [-1, -1], ov.Type.i64) for name in ("input_ids", "attention_mask", "position_ids")
        )
        self.beams = self.input("beam_idx", [-1], ov.Type.i32)

    def input(self, name: str, shape: list[int], kind: ov.Type) -> Node:
        """A named input."""
        parameter = op.parameter(shape, kind, name=name)
        parameter.output(0).get_tensor().set_names({name})
        return parameter

    def weights(self, name: str) -> Node:
        """The matrix `name` as float32, computed from codes and scales."""
        code, scale = self.checkpoint.codes(name)
        if code.dtype == np.uint8:
            signed = (code - MIDDLE) & 15
            packed = (signed[..., 0::2] | signed[..., 1::2] << 4).reshape(-1)
            constant = ov.op.Constant(ov.Tensor(packed, ov.Shape(code.shape), ov.Type.i4), shared_memory=False)
        else:
            constant = op.constant(code)
        scaled = op.multiply(op.convert(constant, "f16"), op.constant(scale[..., None]))
        flat = op.reshape(scaled, ints(code.shape[0], code.shape[1] * code.shape[2]), special_zero=False)
        return op.convert(flat, "f32")

    def matmul(self, x: Node, name: str) -> Node:
        """`x` times the transposed matrix `name`."""
        return op.matmul(x, self.weights(name), transpose_a=False, transpose_b=True)

    def norm(self, x: Node, array: str) -> Node:
        """RMSNorm."""
        square = op.reduce_mean(op.power(x, floats([[[2.0]]])), ints(-1), keep_dims=True)
        epsilon = floats([[[self.checkpoint.shape["norm_epsilon"]]]])
        inverse = op.divide(floats([[[1.0]]]), op.sqrt(op.add(square, epsilon)))
        return op.multiply(op.multiply(x, inverse), floats(self.checkpoint.arrays[array].reshape(1, 1, -1)))

    def share(self) -> None:
        """What the attention of every layer uses: the batch, what may be looked at, and the rotations."""
        self.batch = op.gather(op.shape_of(self.ids), ints(0), number(0))
        length = op.gather(op.shape_of(self.mask), number(1), number(0))
        cells = op.unsqueeze(op.range(number(0), length, number(1), "i64"), ints(0, 1, 2))
        allowed = op.logical_and(
            op.less_equal(cells, op.unsqueeze(self.positions, ints(1, 3))),
            op.convert(op.unsqueeze(self.mask, ints(1, 2)), "boolean"),
        )
        self.bias = op.select(allowed, floats(0.0), floats(LOWEST))
        speed = self.checkpoint.shape["rope_theta"] ** -(np.arange(0, self.head_dim, 2) / self.head_dim)
        places = op.convert(op.unsqueeze(self.positions, ints(1)), "f32")
        angles = op.transpose(op.matmul(floats(speed.reshape(1, -1, 1)), places, False, False), ints(0, 2, 1))
        both = op.concat([angles, angles], -1)
        self.cosines, self.sines = (op.unsqueeze(wave(both), ints(1)) for wave in (op.cos, op.sin))

    def rotate(self, x: Node) -> Node:
        """Rotary positions, a head's two halves as pairs."""
        half = self.head_dim // 2
        low = op.slice(x, ints(0), ints(half), ints(1), ints(3))
        high = op.slice(x, ints(half), ints(2**63 - 1), ints(1), ints(3))
        turned = op.concat([op.multiply(high, floats([[[[-1.0]]]])), low], -1)
        return op.add(op.multiply(x, self.cosines), op.multiply(turned, self.sines))

    def keep(self, x: Node, name: str) -> Node:
        """Keys or values of this call after those of the calls before."""
        empty = op.broadcast(floats(0.0), op.concat([self.batch, ints(self.heads, 0, self.head_dim)], 0))
        info = VariableInfo()
        info.data_shape, info.data_type = ov.PartialShape([-1, self.heads, -1, self.head_dim]), ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        whole = op.concat([op.gather(op.read_value(empty, variable), self.beams, number(0)), x], 2)
        self.sinks.append(op.assign(whole, variable))
        return whole

    def attention(self, x: Node, layer: int) -> Node:
        """Attention with a cache; every head has keys and values of its own."""
        shape, order = ints(0, 0, self.heads, self.head_dim), ints(0, 2, 1, 3)
        queries, keys, values = (
            op.transpose(op.reshape(self.matmul(x, f"{layer}.{part}"), shape, special_zero=True), order)
            for part in "qkv"
        )
        keys = self.keep(self.rotate(keys), f"past_key_values.{layer}.keypresent.{layer}.key")
        values = self.keep(values, f"past_key_values.{layer}.valuepresent.{layer}.value")
        mixed = op.scaled_dot_product_attention(
            self.rotate(queries), keys, values, self.bias, floats(self.head_dim**-0.5), causal=False
        )
        joined = op.reshape(op.transpose(mixed, order), ints(0, 0, self.checkpoint["hidden"]), special_zero=True)
        return self.matmul(joined, f"{layer}.o")

    def build(self) -> ov.Model:
        """The whole model."""
        self.share()
        x = op.gather(self.weights("embed"), op.convert(self.ids, "i32"), number(0))
        for layer in range(self.checkpoint["layers"]):
            x = op.add(x, self.attention(self.norm(x, f"{layer}.attn_norm"), layer))
            normed = self.norm(x, f"{layer}.ffn_norm")
            gated = op.multiply(op.swish(self.matmul(normed, f"{layer}.gate")), self.matmul(normed, f"{layer}.up"))
            x = op.add(x, self.matmul(gated, f"{layer}.down"))
        logits = self.matmul(self.norm(x, "norm"), "embed")
        logits.output(0).get_tensor().set_names({"logits"})
        return ov.Model(
            [op.result(logits)], self.sinks, [self.ids, self.mask, self.positions, self.beams], "lf-starter"
        )


def build_tokenizers(tokenizer_json: dict) -> tuple[ov.Model, ov.Model]:
    """The graphs from text to tokens and back."""
    special = {token["content"]: token["id"] for token in tokenizer_json["added_tokens"]}
    pipeline = steps.TokenizerPipeline()
    pipeline.add_steps(
        [
            steps.SpecialTokensSplit.from_string_iter(special),
            steps.RegexSplitStep.byte_level_splitter(),
            steps.BytesToCharsStep(),
            steps.BPETokenizationStep.from_hf_json(tokenizer_json),
            steps.TruncationStep(2**31 - 65),
            steps.CombineSegmentsStep([steps.Sequence()]),
            steps.PaddingStep(token=chat.END_OF_TEXT, _token_id=special[chat.END_OF_TEXT], pad_right=False),
            steps.VocabDecoderStep(skip_tokens=list(special.values())),
            steps.CharsToBytesStep(),
            steps.UTF8ValidateStep(UTF8ReplaceMode.REPLACE),
        ]
    )
    whole = pipeline.get_tokenizer_ov_subgraph()
    ids, mask = (next(one for one in whole.outputs if name in one.names) for name in ("input_ids", "attention_mask"))
    tokenizer = ov.Model([ids, mask], whole.get_sinks(), whole.get_parameters(), "tokenizer")
    detokenizer = pipeline.get_detokenizer_ov_subgraph()
    for graph in (tokenizer, detokenizer):
        graph.set_rt_info(openvino_tokenizers.__version__, "openvino_tokenizers_version")  # else it counts as old
    return change_outputs_type(tokenizer, ov.Type.i64), change_inputs_type(detokenizer, ov.Type.i64)


def write(checkpoint: Checkpoint, tokenizer_folder: Path, folder: Path) -> None:
    """Write the three graphs and the texts beside them; the tokenizer's texts are copied from `tokenizer_folder`."""
    tokenizer_json = json.loads((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer, detokenizer = build_tokenizers(tokenizer_json)
    graphs = {"model": Builder(checkpoint).build(), "tokenizer": tokenizer, "detokenizer": detokenizer}
    for name, graph in graphs.items():
        ov.save_model(graph, folder / f"openvino_{name}.xml", compress_to_fp16=False)
    ids = tokenizer_json["model"]["vocab"]
    config = {
        "model_type": "llama",
        "bos_token_id": ids[chat.END_OF_TEXT],
        "eos_token_id": ids[chat.END],
        "hidden_size": checkpoint["hidden"],
        "intermediate_size": checkpoint["ffn"],
        "max_position_embeddings": checkpoint["context"],
        "num_attention_heads": checkpoint["heads"],
        "num_hidden_layers": checkpoint["layers"],
        "num_key_value_heads": checkpoint["kv_heads"],
        "vocab_size": checkpoint["vocab"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((tokenizer_folder / name).read_bytes())

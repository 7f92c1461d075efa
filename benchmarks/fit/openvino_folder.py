"""Writes a network with made-up weights as an OpenVINO folder, from numpy and openvino alone.

The graph is what `optimum-cli export openvino --weight-format int4 --sym --group-size 128` writes: a stateful cache
(ReadValue, Gather by `beam_idx`, Concat, Assign), 4-bit weights with a 16-bit scale for each group, embedding and
output layer in 8 bits, attention as one ScaledDotProductAttention.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from openvino import opset15 as op
from openvino.op.util import Variable, VariableInfo

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.fit.networks import Network

GROUP = 128
FURTHER_GROUP = 64
"""Of rows that are no multiple of 128."""
ROPE_BASE = 1e6
EPSILON = 1e-6
LOWEST = -3.4028235e38
QK_NORMED = ("qwen3",)
BIASED = ("qwen2",)
CONFIG = {"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2}

Node = Any
_random = np.random.default_rng(0)


def write_openvino(folder: Path, network: Network) -> int:
    """Write a folder that `openvino_genai.LLMPipeline` loads with token ids for a prompt; the bytes of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(_build(network), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return (folder / "openvino_model.bin").stat().st_size


def _build(network: Network) -> ov.Model:
    ids, mask, positions = (
        _name(op.parameter([-1, -1], ov.Type.i64, name=name))
        for name in ("input_ids", "attention_mask", "position_ids")
    )
    beams = _name(op.parameter([-1], ov.Type.i32, name="beam_idx"))
    table = _draw_table(network)
    hidden = op.gather(table, op.convert(ids, "i32"), _zero(np.int32))
    attention = _Attention(network, ids, mask, positions, beams)
    for layer in range(network.layers):
        hidden = op.add(hidden, attention.add(layer, _norm(hidden, network.hidden)))
        normed = _norm(hidden, network.hidden)
        gate, up = (_linear(normed, network.feed_forward, network.hidden) for _ in range(2))
        hidden = op.add(hidden, _linear(op.multiply(op.swish(gate), up), network.hidden, network.feed_forward))
    head = table if network.tied else _draw_table(network)
    logits = op.matmul(_norm(hidden, network.hidden), head, transpose_a=False, transpose_b=True)
    logits.output(0).get_tensor().set_names({"logits"})
    model = ov.Model([op.result(logits)], attention.sinks, [ids, mask, positions, beams], "random")
    model.validate_nodes_and_infer_types()
    return model


class _Attention:
    """The attention of every layer: what they share is computed once."""

    def __init__(self, network: Network, ids: Node, mask: Node, positions: Node, beams: Node) -> None:
        self.network, self.beams = network, beams
        self.sinks: list[Node] = []
        self.batch = op.gather(op.shape_of(ids), _ints(0), _zero())
        length = op.gather(op.shape_of(mask), _ints(1), _zero())
        cells = op.range(_zero(), op.squeeze(length, _ints(0)), op.constant(1, dtype=np.int64), "i64")
        allowed = op.logical_and(
            op.less_equal(op.unsqueeze(cells, _ints(0, 1, 2)), op.unsqueeze(positions, _ints(1, 3))),
            op.convert(op.unsqueeze(mask, _ints(1, 2)), "boolean"),
        )
        self.bias = op.select(allowed, _floats(0.0), _floats(LOWEST))
        frequency = ROPE_BASE ** (-np.arange(0, network.head_dim, 2) / network.head_dim)
        seen = op.convert(op.unsqueeze(positions, _ints(1)), "f32")
        angle = op.transpose(op.matmul(_floats(frequency.reshape(1, -1, 1)), seen, False, False), _ints(0, 2, 1))
        both = op.concat([angle, angle], -1)
        self.cos, self.sin = (op.unsqueeze(wave(both), _ints(1)) for wave in (op.cos, op.sin))

    def add(self, layer: int, hidden: Node) -> Node:
        """One layer's attention to `hidden`."""
        network = self.network
        biased = network.arch in BIASED
        queries, keys, values = (
            self._split(_linear(hidden, heads * network.head_dim, network.hidden, biased=biased), heads)
            for heads in (network.heads, network.kv_heads, network.kv_heads)
        )
        if network.arch in QK_NORMED:
            queries, keys = (_norm(one, network.head_dim, dimensions=4) for one in (queries, keys))
        keys = self._cache(self._rotate(keys), f"past_key_values.{layer}.keypresent.{layer}.key")
        values = self._cache(values, f"past_key_values.{layer}.valuepresent.{layer}.value")
        scale = _floats(network.head_dim**-0.5)
        mixed = op.scaled_dot_product_attention(
            self._rotate(queries), self._repeat(keys), self._repeat(values), self.bias, scale, False
        )
        width = network.heads * network.head_dim
        joined = op.reshape(op.transpose(mixed, _ints(0, 2, 1, 3)), _ints(0, 0, width), special_zero=True)
        return _linear(joined, network.hidden, width)

    def _split(self, value: Node, heads: int) -> Node:
        shaped = op.reshape(value, _ints(0, 0, heads, self.network.head_dim), special_zero=True)
        return op.transpose(shaped, _ints(0, 2, 1, 3))

    def _rotate(self, value: Node) -> Node:
        half = self.network.head_dim // 2
        low = op.slice(value, _ints(0), _ints(half), _ints(1), _ints(3))
        high = op.slice(value, _ints(half), _ints(2**63 - 1), _ints(1), _ints(3))
        turned = op.concat([op.multiply(high, _floats([[[[-1.0]]]])), low], -1)
        return op.add(op.multiply(value, self.cos), op.multiply(turned, self.sin))

    def _cache(self, value: Node, name: str) -> Node:
        network = self.network
        empty = op.broadcast(_floats(0.0), op.concat([self.batch, _ints(network.kv_heads, 0, network.head_dim)], 0))
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, network.kv_heads, -1, network.head_dim])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        past = op.gather(op.read_value(empty, variable), self.beams, _zero())
        whole = op.concat([past, value], 2)
        self.sinks.append(op.assign(whole, variable))
        return whole

    def _repeat(self, value: Node) -> Node:
        """Keys or values once for each head that reads them."""
        network, shape = self.network, op.shape_of(value)
        times = network.heads // network.kv_heads
        if times == 1:
            return value
        first, length = (op.gather(shape, index, _zero()) for index in (_ints(0, 1), _ints(2)))
        target = op.concat([first, _ints(times), length, _ints(network.head_dim)], 0)
        wide = op.broadcast(op.unsqueeze(value, _ints(2)), target, "BIDIRECTIONAL")
        return op.reshape(wide, _ints(0, network.heads, -1, network.head_dim), special_zero=True)


def _name(parameter: Node) -> Node:
    parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    return parameter


def _ints(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def _floats(values: object) -> Node:
    return op.constant(np.asarray(values, np.float32))


def _zero(kind: type = np.int64) -> Node:
    return op.constant(0, dtype=kind)


def _norm(value: Node, width: int, *, dimensions: int = 3) -> Node:
    ones = [1] * dimensions

    def fill(number: float) -> Node:
        return _floats(np.full(ones, number))

    square = op.reduce_mean(op.power(value, fill(2.0)), _ints(-1), keep_dims=True)
    inverse = op.divide(fill(1.0), op.sqrt(op.add(square, fill(EPSILON))))
    return op.multiply(op.multiply(value, inverse), _floats(np.ones((*ones[:-1], width))))


def _linear(value: Node, rows: int, columns: int, *, biased: bool = False) -> Node:
    """A product with made-up 4-bit weights."""
    group = GROUP if columns % GROUP == 0 else FURTHER_GROUP
    packed = np.frombuffer(_random.bytes(rows * columns // 2), np.uint8)
    tensor = ov.Tensor(packed, ov.Shape([rows, columns // group, group]), ov.Type.i4)
    weights = op.convert(ov.op.Constant(tensor, shared_memory=False), "f16")
    scale = op.constant((_random.random((rows, columns // group, 1)) * 0.01).astype(np.float16))
    flat = op.reshape(op.multiply(weights, scale), _ints(rows, columns), special_zero=False)
    product = op.matmul(value, op.convert(flat, "f32"), transpose_a=False, transpose_b=True)
    return op.add(product, _floats(np.zeros((1, 1, rows)))) if biased else product


def _draw_table(network: Network) -> Node:
    """Made-up 8-bit weights of the embedding or the output layer."""
    rows, columns = network.vocabulary, network.hidden
    numbers = np.frombuffer(_random.bytes(rows * columns), np.uint8).reshape(rows, columns)
    weights = op.convert(op.constant(numbers), "f16")
    middle = op.convert(op.constant(np.full((rows, 1), 128, np.uint8)), "f16")
    scale = op.constant((_random.random((rows, 1)) * 0.001).astype(np.float16))
    return op.convert(op.multiply(op.subtract(weights, middle), scale), "f32")

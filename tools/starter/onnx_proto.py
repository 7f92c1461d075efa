"""Just enough of the ONNX protobuf to write a graph with the standard library and numpy.

Source: onnx/onnx, `onnx/onnx.proto` (field numbers and enum values below are from it).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7
ELEMENT = {np.dtype("f4"): FLOAT, np.dtype("u1"): UINT8, np.dtype("i4"): INT32, np.dtype("i8"): INT64}
IR_VERSION, OPSET = 10, 21
MSFT = "com.microsoft"


def varint(value: int) -> bytes:
    """Base-128 encoding of a 64-bit integer."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def block(field: int, value: bytes | str) -> bytes:
    """A length-delimited field."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, value: np.ndarray) -> bytes:
    """TensorProto."""
    dims = b"".join(integer(1, size) for size in value.shape)
    raw = np.ascontiguousarray(value).tobytes()
    return dims + integer(2, ELEMENT[value.dtype]) + block(8, name) + block(9, raw)


def attribute(name: str, value: float) -> bytes:
    """AttributeProto of a float or an int."""
    if isinstance(value, float):
        return block(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + integer(20, 1)
    return block(1, name) + integer(3, value) + integer(20, 2)


def value_info(name: str, element: int, shape: Iterable[int | str]) -> bytes:
    """ValueInfoProto of a tensor; a string names a dynamic dimension."""
    dims = b"".join(block(1, integer(1, size) if isinstance(size, int) else block(2, size)) for size in shape)
    return block(1, name) + block(2, block(1, integer(1, element) + block(2, dims)))


class Graph:
    """Collects nodes and initializers; every method that adds one returns the name of its value."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.initializers: list[bytes] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add an initializer."""
        self.initializers.append(tensor(name, value))
        return name

    def add(
        self, op: str, inputs: Iterable[str], outputs: str | Iterable[str], domain: str = "", **attrs: float
    ) -> str:
        """Add a node; the first output names it and is returned."""
        outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        body = b"".join(block(1, name) for name in inputs) + b"".join(block(2, name) for name in outputs)
        body += block(3, f"{op}/{outputs[0]}") + block(4, op)
        body += b"".join(block(5, attribute(name, value)) for name, value in attrs.items())
        self.nodes.append(body + (block(7, domain) if domain else b""))
        return outputs[0]

    def model(self, inputs: Iterable[bytes], outputs: Iterable[bytes]) -> bytes:
        """ModelProto with the default and the Microsoft operator sets."""
        graph = b"".join(block(1, node) for node in self.nodes) + block(2, "starter")
        graph += b"".join(block(5, value) for value in self.initializers)
        graph += b"".join(block(11, value) for value in inputs) + b"".join(block(12, value) for value in outputs)
        opsets = block(8, block(1, "") + integer(2, OPSET)) + block(8, block(1, MSFT) + integer(2, 1))
        return integer(1, IR_VERSION) + block(2, "lf tools/starter") + block(7, graph) + opsets

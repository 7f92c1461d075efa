"""The one checkpoint that every export reads: integer codes, float16 scales and float32 norms, in a plain .npz.

Matrices: `NAME.code` uint8 `[N, K/32, 32]` and `NAME.scale` float16 `[N, K/32]`. The embedding holds Q8_0 codes
(int8), all others Q4_0 codes (0..15). Norms are float32 vectors. `shape` is the JSON of `model.Shape`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from quant import q4_0, q8_0

if TYPE_CHECKING:
    from pathlib import Path

    from model import Llama

MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Arrays by name, and the sizes of the network."""

    shape: dict[str, float]
    arrays: dict[str, np.ndarray]

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Codes `[N, K/32, 32]` and scales `[N, K/32]` of the matrix `name`."""
        return self.arrays[f"{name}.code"], self.arrays[f"{name}.scale"]

    def __getitem__(self, name: str) -> int:
        """An integer size of the network."""
        return int(self.shape[name])


def save(network: Llama, path: Path) -> None:
    """Quantize `network` on its grids and write it."""
    arrays = {}

    def put(name: str, quantized: tuple, kind: type) -> None:
        code, scale = (part.detach().numpy() for part in quantized)
        arrays[f"{name}.code"], arrays[f"{name}.scale"] = code.astype(kind), scale[..., 0].astype(np.float16)

    put("embed", q8_0(network.embed.detach()), np.int8)
    for index, layer in enumerate(network.layers):
        for name in MATRICES:
            put(f"{index}.{name}", q4_0(getattr(layer, name).weight.detach()), np.uint8)
        for name in ("attn_norm", "ffn_norm"):
            arrays[f"{index}.{name}"] = getattr(layer, name).weight.detach().numpy()
    arrays["norm"] = network.norm.weight.detach().numpy()
    np.savez_compressed(path, shape=json.dumps(network.shape.as_dict()), **arrays)


def load(path: Path) -> Checkpoint:
    """Read what `save` wrote."""
    with np.load(path) as data:
        return Checkpoint(json.loads(str(data["shape"])), {name: data[name] for name in data.files if name != "shape"})

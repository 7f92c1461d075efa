"""Write the checkpoint as one LiteRT-LM file, by the writer of the tests' models.

The engine has no blocks of 32 weights whose scale may be negative, as Q4_0 has, and looks up no embedding in blocks. So
this is the one format with other codes: 8 bits with a scale for each row, as its own exporter writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fixtures.scripted.litert_file import Builder, describe_model, pack_file, quantize
from tests.fixtures.scripted.network import Shape
from tests.fixtures.scripted.tflite import Tensor

if TYPE_CHECKING:
    from checkpoint import Checkpoint

MIDDLE = {"embed": 0}
"""The code of zero: of Q8_0; of Q4_0, all others, 8."""
NORMS = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm"}
MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def matrix(checkpoint: Checkpoint, name: str) -> Tensor:
    """A matrix of the checkpoint, in 8 bits."""
    code, scale = checkpoint.codes(name)
    values = (code.astype(np.float32) - MIDDLE.get(name, 8)) * scale[..., None].astype(np.float32)
    return quantize(name, values.reshape(len(code), -1), 8)


def weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every weight by its name in the writer's network."""
    named: dict[str, Tensor] = {"embedding": matrix(checkpoint, "embed"), "norm": checkpoint.arrays["norm"]}
    for layer in range(checkpoint["layers"]):
        for ours, theirs in NORMS.items():
            named[f"{layer}.{ours}"] = checkpoint.arrays[f"{layer}.{theirs}"]
        for name in MATRICES:
            named[f"{layer}.{name}"] = matrix(checkpoint, f"{layer}.{name}")
    return named


def write(checkpoint: Checkpoint, ids: dict[str, int], folder: Path, target: Path) -> None:
    """Write the file; tokenizer and chat template are those in `folder`, `ids` maps bos and eos to token ids."""
    shape = Shape(
        hidden=checkpoint["hidden"],
        layers=checkpoint["layers"],
        heads=checkpoint["heads"],
        kv_heads=checkpoint["kv_heads"],
        feed_forward=checkpoint["ffn"],
        context=checkpoint["context"],
    )
    graph = Builder(shape, weights(checkpoint), float(checkpoint.shape["norm_epsilon"])).build()
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    description = describe_model(shape.context, stop=(ids["eos"], ids["bos"]), template=template)
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    target.write_bytes(pack_file(graph, tokenizer, description))

"""The two ggml grids the model is trained on and shipped in, as a fake-quantizer (torch) and as integer codes.

Source: ggml, `src/ggml-quants.c`, `quantize_row_q4_0_ref` and `quantize_row_q8_0_ref`. Both cut a row into blocks of
32. Q4_0: scale = (value of largest magnitude) / -8, code = floor(x / scale + 8.5) in 0..15, value = (code - 8) * scale.
Q8_0: scale = (largest magnitude) / 127, code = round(x / scale) in -127..127. The scale is stored as float16, and
here the codes are computed from the stored scale, so that training sees exactly the shipped values.
"""

from __future__ import annotations

import torch

BLOCK = 32


def q4_0(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes 0..15 as float `[N, K/32, 32]` and float16-rounded scales `[N, K/32, 1]` of `weight` `[N, K]`."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = (extreme / -8).half().float()
    inverse = torch.where(scale == 0, 0, 1 / scale)
    return (blocks * inverse + 8.5).floor().clamp(0, 15), scale


def q8_0(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -127..127 as float `[N, K/32, 32]` and float16-rounded scales `[N, K/32, 1]` of `weight` `[N, K]`."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).half().float()
    inverse = torch.where(scale == 0, 0, 1 / scale)
    return (blocks * inverse).round().clamp(-127, 127), scale


def fake_q4_0(weight: torch.Tensor) -> torch.Tensor:
    """`weight` on the Q4_0 grid; the gradient passes straight through."""
    with torch.no_grad():
        code, scale = q4_0(weight)
        delta = ((code - 8) * scale).reshape(weight.shape) - weight
    return weight + delta


def fake_q8_0(weight: torch.Tensor) -> torch.Tensor:
    """`weight` on the Q8_0 grid; the gradient passes straight through."""
    with torch.no_grad():
        code, scale = q8_0(weight)
        delta = (code * scale).reshape(weight.shape) - weight
    return weight + delta

"""Muon in float32: momentum whose update is made orthogonal by Newton-Schulz steps.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the step scaled to the
size of AdamW's as in Liu et al., "Muon is Scalable for LLM Training" (arXiv:2502.16982). PyTorch's own
`torch.optim.Muon` computes in bfloat16, which most CPUs only emulate: 30 times slower here.
"""

from __future__ import annotations

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonal(update: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest matrix with orthonormal rows or columns."""
    a, b, c = COEFFICIENTS
    wide = update.shape[0] <= update.shape[1]
    x = (update if wide else update.T) / (update.norm() + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


class Muon(torch.optim.Optimizer):
    """For two-dimensional hidden weights only."""

    def __init__(self, params: list[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                velocity = state.setdefault("velocity", torch.zeros_like(weight))
                velocity.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(velocity, group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * max(weight.shape) ** 0.5)

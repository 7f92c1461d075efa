"""The starter model: a small Llama (RMSNorm, half-split RoPE, grouped-query attention, SwiGLU, tied embedding)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from quant import fake_q4_0, fake_q8_0
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; every row length is a multiple of 32, the block of both grids."""

    vocab: int
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    kv_heads: int = 3
    ffn: int = 512
    context: int = 2048
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def as_dict(self) -> dict[str, float]:
        """The fields, for the checkpoint."""
        return asdict(self)


class Linear(nn.Linear):
    """A bias-free layer whose weight can be seen through the Q4_0 grid."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.quantized = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x @ weight.T`."""
        return functional.linear(x, fake_q4_0(self.weight) if self.quantized else self.weight)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE on `[batch, heads, time, head_dim]`, first half paired with second half."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Layer(nn.Module):
    """One transformer block."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.head_dim
        self.attn_norm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.q = Linear(shape.hidden, shape.heads * width)
        self.k = Linear(shape.hidden, shape.kv_heads * width)
        self.v = Linear(shape.hidden, shape.kv_heads * width)
        self.o = Linear(shape.heads * width, shape.hidden)
        self.ffn_norm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.gate = Linear(shape.hidden, shape.ffn)
        self.up = Linear(shape.hidden, shape.ffn)
        self.down = Linear(shape.ffn, shape.hidden)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`x` `[batch, time, hidden]`; `mask` is True where attention is allowed."""
        batch, time, _ = x.shape
        shape, normed = self.shape, self.attn_norm(x)

        def heads(projection: Linear, count: int) -> torch.Tensor:
            return projection(normed).view(batch, time, count, shape.head_dim).transpose(1, 2)

        q = rotate(heads(self.q, shape.heads), cos, sin)
        k = rotate(heads(self.k, shape.kv_heads), cos, sin)
        v = heads(self.v, shape.kv_heads)
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, time, -1))
        normed = self.ffn_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    """Token ids to what the head sees, and `head` from there to logits; the head is the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.quantized = shape, False
        self.embed = nn.Parameter(torch.randn(shape.vocab, shape.hidden) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        exponent = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        angle = torch.outer(torch.arange(shape.context, dtype=torch.float32), shape.rope_theta**-exponent)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for name, weight in self.named_parameters():
            if weight.ndim == 2 and name != "embed":
                residual = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, std=0.04 / ((2 * shape.layers) ** 0.5 if residual else 1))

    def quantize(self, on: bool) -> None:
        """Switch every weight matrix to its grid, or back."""
        self.quantized = on
        for module in self.modules():
            if isinstance(module, Linear):
                module.quantized = on

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the head sees of `ids` `[batch, time]`: `[batch, time, hidden]`."""
        time = ids.shape[1]
        x, cos, sin = functional.embedding(ids, self.table()), self.cos[:time], self.sin[:time]
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        out: torch.Tensor = self.norm(x)
        return out

    def head(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[..., vocab]` of what `forward` gave."""
        return x @ self.table().T

    def table(self) -> torch.Tensor:
        """The embedding, on its grid where that is switched on."""
        return fake_q8_0(self.embed) if self.quantized else self.embed

"""What memory is computed from: a build's numbers, those that nobody knows replaced by bounds that are named here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.rules import find_bits
from localfirst.choices import CONTEXT_STEP_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import CacheType, KvGroup, Model, RecurrentGroup, Variant

CONTEXT_DEFAULT_TOKENS = 8192
"""What is asked for when nobody says: long enough for a conversation, short enough for an 8 GB machine."""
UNKNOWN_KV_SHARE = 0.3
"""Cache bytes per parameter at 8,192 tokens and 2 bytes each, where the layers are unknown: four in five of 131 public
models whose layers we know keep less."""
UNKNOWN_VOCABULARY = 262_144
"""Gemma 3's, the largest in common use."""
UNKNOWN_HIDDEN = 4096
FEED_FORWARD_RATIO = 4
"""Feed-forward width over hidden size where the former is unknown: the classic transformer's; llama shapes have 2.7 to
3.8, Gemma 6."""
CACHE_BYTES: dict[CacheType, float] = {"f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes per number in a cache: llama.cpp quantizes 32 of them together with a scale of two bytes."""


class Build(NamedTuple):
    """The numbers of one build. Sizes are in elements, unless they say bytes."""

    weights_bytes: int
    parameters: int
    """All of them; 0 where nobody knows."""
    bits: int
    """Of most weights; 0 where nobody knows."""
    for_cpu: bool
    """Made for the processor."""
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    vocabulary: int
    table: int
    """Elements of the embedding: vocabulary by hidden size; 0 where either is unknown."""
    fixed_context_tokens: int
    """The context that the build was made for and that its engine always allocates; 0 where there is none such."""
    untied: bool
    """The output layer is known to be another table than the embedding."""
    groups: tuple[KvGroup, ...]
    recurrent_groups: tuple[RecurrentGroup, ...]
    embeds: bool = False
    """It is to turn texts into vectors."""
    sequences: int = 1
    """Requests that are answered at the same time, each with the whole context."""
    draft: Build | None = None
    """What drafts for it."""

    @property
    def attention(self) -> int:
        """Width of the queries of the widest layer."""
        return self.heads * max((group.head_dim for group in self.groups), default=0) or self.hidden


def describe(model: Model, variant: Variant, weights_bytes: int) -> Build:
    """The numbers of a build whose weights have this size."""
    architecture = model.architecture
    hidden = architecture.hidden_size or UNKNOWN_HIDDEN
    return Build(
        weights_bytes=weights_bytes,
        parameters=model.parameters or 0,
        bits=find_bits(variant),
        for_cpu="cpu" in variant.devices,
        layers=architecture.layers or 0,
        hidden=hidden,
        feed_forward=architecture.feed_forward_size or FEED_FORWARD_RATIO * hidden,
        heads=architecture.heads or 0,
        vocabulary=architecture.vocab_size or UNKNOWN_VOCABULARY,
        table=(architecture.vocab_size or 0) * (architecture.hidden_size or 0),
        fixed_context_tokens=variant.context_tokens or 0,
        untied=architecture.tied is False,
        groups=architecture.kv_groups,
        recurrent_groups=architecture.recurrent_groups,
    )


def pad(tokens: int) -> int:
    """Tokens rounded up to whole steps."""
    return -(-tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS


def find_kv(
    build: Build, context_tokens: int, width_bytes: float, find_cells: Callable[[KvGroup], int] | None = None
) -> tuple[int, int]:
    """Bytes of keys and values, and of the windowed ones: `cells x kv_heads x 2 x head_dim x bytes` for each layer.

    Args:
        build: gives the layers.
        context_tokens: cells of a layer that attends to everything, before they are rounded up.
        width_bytes: bytes per number.
        find_cells: cells of a layer with a sliding window; `None` for an engine that keeps the whole context there too.
    """
    if not build.groups:
        if build.recurrent_groups:
            return 0, 0
        parameters = build.parameters or build.weights_bytes
        return int(parameters * UNKNOWN_KV_SHARE * width_bytes / 2 * pad(context_tokens) / CONTEXT_DEFAULT_TOKENS), 0
    whole = windowed = 0
    for group in build.groups:
        cell_bytes = group.layers * group.kv_heads * 2 * group.head_dim * width_bytes
        if find_cells is None or group.window_tokens is None:
            whole += int(pad(context_tokens) * cell_bytes)
        else:
            windowed += int(find_cells(group) * cell_bytes)
    return whole + windowed, windowed


def find_state(build: Build) -> int:
    """Bytes of recurrent layers, 4 per number: what the convolution remembers, and the state itself.

    `(kernel - 1) x (inner + 2 x groups x state) + inner x state` for each layer, however long the context: llama.cpp's
    `llama_hparams::n_embd_r` and `n_embd_s`, for Mamba, gated delta nets and short convolutions alike.
    """
    return sum(4 * one.layers * _count_state(one) for one in build.recurrent_groups)


def _count_state(group: RecurrentGroup) -> int:
    remembered = (group.conv_kernel - 1) * (group.inner_size + 2 * group.groups * group.state_size)
    return remembered + group.inner_size * group.state_size

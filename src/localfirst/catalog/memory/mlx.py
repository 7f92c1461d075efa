"""MLX, by mlx-lm. Measured with its CPU build on Linux; what Metal would do differently is told beside the terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory.build import CACHE_BYTES, find_kv, find_state, pad
from localfirst.choices import CONTEXT_STEP_TOKENS, MLX_PREFILL_TOKENS
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType, KvGroup

RUNTIME_BYTES = 110 * MIB
"""Python, MLX and mlx-lm: 74 MiB after the import, 55 to 134 beyond MLX's own peak at the end."""
TOKENIZER_BYTES = 1050
"""Per token of the vocabulary: the peak of the `tokenizers` package while it loads a byte-level BPE; 870 stay."""


def find_need(build: Build, context_tokens: int, cache: CacheType) -> Need:
    """Within 32 MiB or 10 % of the peak of a process, in 31 measurements of 17 shapes (mean 3.1 %).

    mlx-lm 0.32.2 with mlx 0.32.4, whose own peak is within 11 MiB: `benchmarks/fit/measure_mlx.py`. A window's cache
    holds up to one chunk more while a prompt is read. A cache in 8 or 4 bits has a scale and a bias of two bytes for 64
    numbers, as many bytes as llama.cpp's types; windows stay as they are.

    Of several requests each has a cache, which grows from any length by a whole step once it has a row in a common one:
    8 layers in 32 bits at 2,048 tokens took 52, 84 and 162 MiB for one, two and four, 57, 101 and 181 are predicted.
    """

    def find_cells(group: KvGroup) -> int:
        return min(pad(context_tokens), (group.window_tokens or 0) + MLX_PREFILL_TOKENS - 1)

    surplus_tokens = CONTEXT_STEP_TOKENS if build.sequences > 1 else 0
    full_bytes, windowed_bytes = find_kv(build, context_tokens + surplus_tokens, CACHE_BYTES["f16"], find_cells)
    whole_bytes = int((full_bytes - windowed_bytes) * CACHE_BYTES[cache] / CACHE_BYTES["f16"])
    return Need(
        weights_bytes=build.weights_bytes,
        kv_bytes=build.sequences * (whole_bytes + windowed_bytes + find_state(build)),
        compute_bytes=_find_compute(build, context_tokens),
        runtime_bytes=RUNTIME_BYTES + TOKENIZER_BYTES * build.vocabulary,
    )


def _find_compute(build: Build, context_tokens: int) -> int:
    """Bytes of activations of a chunk, of one layer's cache a second time while it grows, and of one layer's scores.

    Prompts are read one after the other, so that of several requests only the caches of a layer grow together. The
    logits of a chunk are never computed. Metal has kernels without scores for most widths of heads (not for Gemma 3's),
    so that there the last term may be missing.
    """
    activations = 2 * MLX_PREFILL_TOKENS * (5 * build.feed_forward + 10 * build.attention)
    copied = max((4 * group.kv_heads * group.head_dim * context_tokens for group in build.groups), default=0)
    return activations + build.sequences * copied + 2 * build.heads * MLX_PREFILL_TOKENS * context_tokens

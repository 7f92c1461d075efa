"""llama.cpp: GGUF files and llamafiles, as our adapter loads them (flash attention on, `swa_full` off)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory.build import CACHE_BYTES, find_kv, find_state, pad
from localfirst.choices import LLAMA_BATCH_TOKENS, LLAMA_CHECKPOINTS
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType, KvGroup

RUNTIME_BYTES = 150 * MIB
"""Python with llama.cpp and its vocabulary: 40 to 110 MiB were seen with 42 shapes, most with the largest vocabularies.
The file's pages count as weights; where the engine keeps those a second time, repacked for the processor, the system
may drop the first copy."""


def find_need(build: Build, context_tokens: int, cache: CacheType) -> Need:
    """Weights, cache and state to the byte; the compute buffer as told below.

    Several sequences have a cache each (`kv_unified` off), so that none takes the cells of another.

    To embed, a text is computed in one piece. That is more than is needed for models whose last token stands for the
    text, which is read in parts; and encoders keep no cache, which is counted here.

    Of 42 shapes at two contexts, some with quantized caches, the sum is within 0.02 MiB of what llama.cpp b11549 logs
    for all but four, and within 1.6 % for those (`python -m benchmarks.fit_accuracy --engine llama.cpp`).
    """
    batch_tokens = context_tokens if build.embeds else LLAMA_BATCH_TOKENS
    kv_bytes, windowed_bytes = find_kv(
        build, context_tokens, CACHE_BYTES[cache], lambda group: find_window_cells(group, batch_tokens, context_tokens)
    )
    state_bytes = find_state(build)
    return Need(
        weights_bytes=build.weights_bytes,
        kv_bytes=build.sequences * (kv_bytes + state_bytes),
        compute_bytes=find_compute(build, batch_tokens, context_tokens),
        runtime_bytes=RUNTIME_BYTES + build.sequences * LLAMA_CHECKPOINTS * (windowed_bytes + state_bytes),
        draft_bytes=_find_draft(build, context_tokens),
    )


def _find_draft(build: Build, context_tokens: int) -> int:
    """Bytes of what drafts: it has a cache as long, in 16 bits, for as many sequences."""
    if build.draft is None:
        return 0
    alone = find_need(build.draft._replace(sequences=build.sequences), context_tokens, "f16")
    return alone.total_bytes - RUNTIME_BYTES


def find_window_cells(group: KvGroup, batch_tokens: int, context_tokens: int) -> int:
    """Cells of a sliding-window layer: the window and one micro-batch (`llama_kv_cache_iswa`)."""
    return pad(min(context_tokens, (group.window_tokens or context_tokens) + batch_tokens))


def find_compute(build: Build, batch_tokens: int, context_tokens: int) -> int:
    """Bytes of the compute and output buffers.

    The compute buffer is as large as the widest moment of the graph, in floats per token of the micro-batch:
    `max(3 x feed-forward, 2 x attention) + 5 x hidden + masks + 16`, a mask of 2 bytes per cell for each kind of cache.
    The server computes the logits of one token, so the vocabulary hardly counts. Low by 2 to 20 MiB for mixtures of
    many narrow experts, which need `2 x experts used x (hidden + expert width)`, and for Mamba layers.
    """
    windows = [group for group in build.groups if group.window_tokens is not None]
    mask = pad(context_tokens) + max(
        (find_window_cells(one, batch_tokens, context_tokens) for one in windows), default=0
    )
    floats = max(3 * build.feed_forward, 2 * build.attention) + 5 * build.hidden + mask // 2 + 16
    return 4 * (batch_tokens * floats + build.sequences * build.vocabulary)

"""OpenVINO GenAI on the CPU: int4 folders as the `OpenVINO` organisation publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory.build import find_kv, find_state
from localfirst.choices import find_openvino_prefill_tokens
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType

THREADS = 8
"""What attention keeps scratch memory for; a machine with more threads needs more of it."""
WIDTH = 2
"""Of what is computed: 32 bits, twice the 16 that processors with AVX512-BF16 or AMX use."""
COPIED_SHARE = 0.11
RUNTIME_BYTES = 130 * MIB
"""After the import 59 MiB, plugins 45, heap 18, a tokenizer 8."""
LAYER_BYTES = int(1.45 * MIB)
NARROW = 1536
"""Narrower networks have the weights of their layers twice once a part of a prompt has fewer than 128 tokens, which the
engine computes with weights in another order: of 576 and 1,024 they have, of 1,536 and 2,048 not."""
MASK_BYTES = 12
"""For each pair of tokens of a text that is embedded: what attention adds to the scores, and what that is made of."""
TOKENIZER_BYTES = 210
"""Per token of the vocabulary."""


def find_need(build: Build, context_tokens: int, _cache: CacheType) -> Need:
    """Within 8 % of what shapes took at two contexts: `python -m benchmarks.fit.measure_openvino`.

    Nine of them with parts of 256 tokens, of which five were measured again with 64.

    openvino-genai 2026.4.1 on Linux, computing in 32 bits; with half the width it is within 8 % (mean 1.3 %) of 45
    measurements of 17 shapes computing in 16 bits. The weights are repacked at the first prompt, and the mapped file is
    not read again: it was pushed out of memory and did not come back. Embedding and output layer have a byte per
    weight; an embedding of its own stays in the file.

    To embed, a text is computed in one piece and nothing is kept. Of one shape (512 wide, 8 layers) texts of 500 to
    4,000 tokens took 28, 84, 124 and 306 MiB, where 21, 48, 119 and 330 are said.
    """
    mapped_bytes = build.table if build.untied else 0
    weights_bytes = build.weights_bytes - mapped_bytes
    in_layers_bytes = max(0, weights_bytes - build.table)
    return Need(
        weights_bytes=weights_bytes,
        kv_bytes=0 if build.embeds else _find_kv(build, context_tokens) + find_state(build),
        compute_bytes=_find_compute(build, context_tokens),
        runtime_bytes=RUNTIME_BYTES
        + LAYER_BYTES * build.layers
        + TOKENIZER_BYTES * build.vocabulary
        + int((COPIED_SHARE + (build.hidden < NARROW)) * in_layers_bytes),
    )


def _find_kv(build: Build, context_tokens: int) -> int:
    """A cache of a byte per number: keys with a scale per channel (1.25), values per token. Windows are kept whole."""
    if not build.groups:  # unknown, or there are only recurrent layers
        return find_kv(build, context_tokens, 1.25)[0]
    return int(context_tokens * sum(one.layers * one.kv_heads * (2.25 * one.head_dim + 8) for one in build.groups))


def _find_compute(build: Build, context_tokens: int) -> int:
    """Bytes of activations, and of attention's scratch: one layer's keys and values unpacked, and scores."""
    batch_tokens = context_tokens if build.embeds else find_openvino_prefill_tokens(build.weights_bytes)
    activations = WIDTH * batch_tokens * (21 * build.feed_forward // 2 + 6 * build.hidden)
    if build.embeds:
        return activations + MASK_BYTES * context_tokens**2
    scratch = max(
        (
            WIDTH * 4 * group.kv_heads * group.head_dim + 128 * THREADS * build.heads // group.kv_heads
            for group in build.groups
        ),
        default=0,
    )
    return activations + context_tokens * scratch

"""LiteRT-LM on the CPU, its weights packed once in memory (`cache_dir=":memory"`).

With `":nocache"` each signature packs weights of its own, and they are in memory about four times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory.build import find_kv, find_state
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType

BATCH_TOKENS = 1024
"""Prompt tokens computed at a time: files say which lengths they can do, the largest that a prompt fills counts. 128 is
the exporter's default; published files have several, up to 1,024."""
RUNTIME_BYTES = 80 * MIB
"""After the import 64 MiB, 14 of the library's pages, 2 of its own."""
TOKENIZER_BYTES = 880
"""Per token of the vocabulary, of a byte-level BPE with its merges; 240 without."""
LAYER_BYTES = int(0.45 * MIB)


def find_need(build: Build, context_tokens: int, _cache: CacheType) -> Need:
    """Within 10 % of the peak of a process for 33 shapes, mean 2 %, with the length of the prompt's parts known.

    Measured by hand: the exporter is 2 GB of packages.

    litert-lm-api 0.18.1 on Linux, files exported by litert-torch 0.10.0. The cache has the length that the file was
    exported with, whatever is asked for, in fp32, and sliding windows save nothing. Beside the packed weights a table
    as large as the embedding stays; a file whose output layer is not the embedding has a second one already.
    """
    cells = build.fixed_context_tokens or context_tokens
    table_bytes = 0
    if build.parameters and not build.untied:
        table_bytes = build.table * build.weights_bytes // build.parameters
    return Need(
        weights_bytes=build.weights_bytes,
        kv_bytes=find_kv(build, cells, 4)[0] + find_state(build),
        compute_bytes=find_compute(build, cells, BATCH_TOKENS),
        runtime_bytes=RUNTIME_BYTES + TOKENIZER_BYTES * build.vocabulary + table_bytes,
    )


def find_compute(build: Build, cells: int, batch_tokens: int) -> int:
    """Bytes of scores and masks or of a feed-forward layer, whichever is larger, and of what flows between."""
    masks = 8 if any(group.window_tokens is not None for group in build.groups) else 2
    widest = max(cells * (3 * build.heads / 2 + masks), 5 * build.feed_forward / 2)
    return int(4 * batch_tokens * (widest + 2 * (build.hidden + build.attention))) + LAYER_BYTES * build.layers

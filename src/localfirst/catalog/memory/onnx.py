"""ONNX Runtime GenAI: folders with `genai_config.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory.build import CACHE_BYTES, find_kv, find_state
from localfirst.choices import ONNX_PREFILL_TOKENS
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType

RUNTIME_BYTES = 102 * MIB
FULL_BYTES = 4
"""The model builder types the cache as fp32 for int4 and int8 models for the CPU, fp16 otherwise (`default_io_dtype` in
`onnxruntime_genai/models/quantization/quant_config.py`), and leaves the embedding there in fp32, too."""
COPIED_SHARE = 0.19


def find_need(build: Build, context_tokens: int, _cache: CacheType) -> Need:
    """The generator allocates the cache for its whole `max_length` at once, windows or not.

    Of 12 shapes of int4 models at two contexts, the sum is within 3 % of the peak of a process that fills its context
    for all but two, 8 % for the worst, on the high side: `python -m benchmarks.fit_accuracy --engine onnx`, with
    onnxruntime-genai 0.18 on Linux.
    """
    embedding_bytes = _find_mapped_embedding(build) if build.for_cpu else 0
    weights_bytes = build.weights_bytes - embedding_bytes
    kv_bytes, _ = find_kv(build, context_tokens, FULL_BYTES if build.for_cpu else CACHE_BYTES["f16"])
    return Need(
        weights_bytes=weights_bytes,
        kv_bytes=kv_bytes + find_state(build),
        compute_bytes=_find_compute(build),
        runtime_bytes=RUNTIME_BYTES + (_find_copies(build, weights_bytes) if build.for_cpu else 0),
    )


def _find_mapped_embedding(build: Build) -> int:
    """Bytes of an fp32 embedding: it stays in the mapped file, of which only the rows of the prompt are read.

    0 where it must be smaller, since the rest of the file could not hold the other parameters.
    """
    others = build.parameters - build.table
    known = build.table and build.parameters and build.bits
    if not known or build.weights_bytes - FULL_BYTES * build.table < others * build.bits // 8:
        return 0
    return FULL_BYTES * build.table


def _find_copies(build: Build, weights_bytes: int) -> int:
    """Bytes of weights that are in memory twice, packed for the processor beside what was loaded.

    Least squares over 10 shapes: 1.19 times the layers' bytes, 2.19 times those of the output layer, whose blocks of 32
    weights have a scale of 4 bytes, one bit more each.
    """
    return int(COPIED_SHARE * weights_bytes) + min(weights_bytes, build.table * (build.bits + 1) // 8)


def _find_compute(build: Build) -> int:
    """Bytes of a prompt chunk: the logits of every token, and the arena's activations, which it keeps.

    Fitted to what the process grew by in a prompt of 2,048 tokens, in chunks of 256 (CPU, int4, hidden size 1,024): 17
    MiB with a feed-forward width of 2,048, 26 with 4,096; 65 and 63 more with a vocabulary of 65,536.
    """
    floats = build.vocabulary + 8 * build.hidden + 9 * build.feed_forward // 2
    return 4 * ONNX_PREFILL_TOKENS * floats

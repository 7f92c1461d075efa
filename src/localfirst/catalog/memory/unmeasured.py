"""An engine that nobody has measured: llama.cpp's terms, with the cache whole and more for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.memory import llama
from localfirst.catalog.memory.build import CACHE_BYTES, find_kv, find_state
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType

BATCH_TOKENS = 512
RUNTIME_BYTES = 250 * MIB


def find_need(build: Build, context_tokens: int, _cache: CacheType) -> Need:
    """A guess, until somebody measures it."""
    return Need(
        weights_bytes=build.weights_bytes,
        kv_bytes=find_kv(build, context_tokens, CACHE_BYTES["f16"])[0] + find_state(build),
        compute_bytes=llama.find_compute(build, BATCH_TOKENS, context_tokens),
        runtime_bytes=RUNTIME_BYTES,
    )

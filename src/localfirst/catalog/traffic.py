"""How many bytes of memory one generated token reads, by which an engine's share of the bandwidth is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.fit import find_need
from localfirst.catalog.memory.build import describe

if TYPE_CHECKING:
    from localfirst.types import CacheType, Model, Need, Variant


def find_token_bytes(model: Model, variant: Variant, cached_tokens: int, cache: CacheType = "f16") -> int | None:
    """The weights that a token passes, and the keys and values of those before it.

    An embedding that is not the output layer as well is looked up, not read. Of a mixture of experts the share of the
    parameters counts that a token uses. Padding of the cache counts as read, which some engines do and some do not.

    Args:
        model: gives the architecture.
        variant: gives the weights.
        cached_tokens: how many tokens come before, on average.
        cache: how keys and values are kept.

    Returns:
        `None` where the weights or the layers are unknown.
    """
    if not (model.architecture.kv_groups or model.architecture.recurrent_groups):
        return None
    need = find_need(model, variant, max(1, cached_tokens), cache)
    if need is None:
        return None
    return find_passed_bytes(model, variant, need.weights_bytes) + need.kv_bytes


def find_read_bytes(model: Model, variant: Variant, need: Need, *, filled: float) -> int:
    """What a token reads where a share of the context is filled: the weights that it passes, and the cache.

    A cache whose length is the build's is read whole, however much of it is filled.
    """
    return find_passed_bytes(model, variant, need.weights_bytes) + int(
        need.kv_bytes * (1.0 if variant.context_tokens else filled)
    )


def find_passed_bytes(model: Model, variant: Variant, weights_bytes: int) -> int:
    """The weights alone that a token passes, of those that are in memory.

    An embedding that its engine leaves in the mapped file is none of them already.
    """
    build, weights = describe(model, variant, weights_bytes), float(weights_bytes)
    if build.untied and model.parameters and weights_bytes == variant.size_bytes:
        weights *= 1 - min(1.0, build.table / model.parameters)
    if model.active_parameters and model.parameters:
        weights *= min(1.0, model.active_parameters / model.parameters)
    return int(weights)

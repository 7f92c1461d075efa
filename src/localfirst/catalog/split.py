"""A model too large for its GPUs: how many layers they take, while the CPU computes the others from main memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.fit import find_context
from localfirst.catalog.rules import is_to_embed

if TYPE_CHECKING:
    from localfirst.types import Model, Need, Variant, Wanted


class Split(NamedTuple):
    """What a split gives."""

    device_layers: int
    context_tokens: int
    need: Need


def find_split(
    model: Model, variant: Variant, wanted: Wanted, *, device_bytes: int | None, main_bytes: int | None
) -> Split | None:
    """The split with the most layers on the devices, or `None` where there is none, or too little is known.

    A layer takes its share of the weights and of the cache; what is not in a layer (the head) counts as one, and stays
    with the last of them. The compute buffer is on both sides, as llama.cpp has it.

    Args:
        model: gives the layers.
        variant: gives the weights.
        wanted: the context asked for, how it is to be kept, and what the model is wanted for.
        device_bytes: memory that the model may take on the devices.
        main_bytes: memory that it may take beside them.
    """
    layers = model.architecture.layers
    if not layers or device_bytes is None or main_bytes is None:
        return None
    context_tokens, need = find_context(
        model,
        variant,
        wanted.context_tokens,
        device_bytes + main_bytes,
        wanted.cache,
        embeds=is_to_embed(model, wanted),
        draft=wanted.draft,
    )
    if need is None:
        return None
    layer_bytes = (need.weights_bytes + need.kv_bytes) // (layers + 1)
    on_device = min(layers - 1, max(0, device_bytes - need.compute_bytes) // max(1, layer_bytes))
    on_cpu_bytes = need.total_bytes - on_device * layer_bytes
    if on_device < 1 or on_cpu_bytes > main_bytes:
        return None
    return Split(on_device, context_tokens, need)

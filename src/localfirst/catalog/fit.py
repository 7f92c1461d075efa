"""How much memory a build of a model needs at a context, before a byte of it is fetched. Pure arithmetic.

`need = weights + cache + compute buffer + runtime`, in bytes; the cache holds keys, values and the state
of recurrent layers. Each engine has its own terms, in `catalog.memory`. Where an architecture is unknown they fall back
to bounds; only unknown weights make the whole need unknown.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.memory import litert, llama, mlx, onnx, openvino, unmeasured
from localfirst.catalog.memory.build import CACHE_BYTES, CONTEXT_DEFAULT_TOKENS, describe
from localfirst.catalog.rules import find_bits
from localfirst.choices import (
    CONTEXT_STEP_TOKENS,
    LLAMA_BATCH_TOKENS,
    MLX_PREFILL_TOKENS,
    ONNX_PREFILL_TOKENS,
    find_openvino_prefill_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.catalog.memory.build import Build
    from localfirst.types import CacheType, Draft, Format, Model, Need, Variant

CONTEXT_FLOOR_TOKENS = 4096
"""A context is never shortened below this to make a model fit."""
EMBEDDING_CONTEXT_TOKENS = 2048
"""What is asked for to embed when nobody says: pages of text. Most models read a text in one piece, whose memory they
allocate."""


class Engine(NamedTuple):
    """What is known of an engine's memory."""

    find_need: Callable[[Build, int, CacheType], Need]
    find_batch_tokens: Callable[[int], int]
    """Prompt tokens computed at a time, by the bytes of the weights."""
    caches: tuple[CacheType, ...] = ("f16",)
    """How it can keep keys and values."""


def _always(batch_tokens: int) -> Callable[[int], int]:
    return lambda _weights_bytes: batch_tokens


LLAMA = Engine(llama.find_need, _always(LLAMA_BATCH_TOKENS), tuple(CACHE_BYTES))
ENGINES: dict[Format, Engine] = {
    "gguf": LLAMA,
    "llamafile": LLAMA,
    "onnx": Engine(onnx.find_need, _always(ONNX_PREFILL_TOKENS)),
    "mlx": Engine(mlx.find_need, _always(MLX_PREFILL_TOKENS), tuple(CACHE_BYTES)),
    "litertlm": Engine(litert.find_need, _always(litert.BATCH_TOKENS)),
    "openvino": Engine(openvino.find_need, find_openvino_prefill_tokens),
}
OTHER = Engine(unmeasured.find_need, _always(unmeasured.BATCH_TOKENS))


def find_need(model: Model, variant: Variant, context_tokens: int, cache: CacheType = "f16") -> Need | None:
    """The memory that a variant needs at a context, or `None` where the size of its weights is unknown.

    Args:
        model: gives the architecture.
        variant: gives weights, format and the devices it is made for.
        context_tokens: prompt and answer together, in tokens.
        cache: how keys and values are kept.
    """
    if variant.size_bytes is None:
        return None
    build = describe(model, variant, variant.size_bytes)
    return find_engine(variant).find_need(build, context_tokens, cache)


def find_engine(variant: Variant) -> Engine:
    """How the engine that loads a variant keeps what it needs."""
    return ENGINES.get(variant.format, OTHER)


def find_weights_floor(model: Model, variant: Variant) -> int | None:
    """The least bytes that weights of unknown size can have: what the quantization's bits need for every parameter.

    Of the 368 builds in the catalog whose size is known, 364 have 0.97 times as much or more, half of them 1.28 times.
    """
    bits = find_bits(variant)
    return model.parameters * bits // 8 if model.parameters and bits else None


def assume_least(model: Model, variant: Variant) -> Variant:
    """The variant, with weights as small as they can be where their size is unknown."""
    return (
        variant if variant.size_bytes is not None else variant._replace(size_bytes=find_weights_floor(model, variant))
    )


def find_context(  # noqa: PLR0913 - one argument per fact
    model: Model,
    variant: Variant,
    wanted_tokens: int | None,
    budget_bytes: int | None,
    cache: CacheType = "f16",
    *,
    embeds: bool = False,
    requests: int = 1,
    draft: Draft | None = None,
) -> tuple[int, Need | None]:
    """The context to run with, in tokens, and the memory that the variant needs at it.

    It is the one asked for (8,192 if none, to embed 2,048), at most what the model was trained for. Where that does not
    fit the budget it is shortened in steps of 256, down to 4,096; the shortest is the answer where nothing fits, or
    where need or budget is unknown the longest.
    """
    longest = wanted_tokens or (EMBEDDING_CONTEXT_TOKENS if embeds else CONTEXT_DEFAULT_TOKENS)
    limit = variant.context_tokens or model.architecture.context_tokens
    if limit is not None:
        longest = min(longest, limit)
    if variant.size_bytes is None:
        return longest, None
    build = describe(model, variant, variant.size_bytes)._replace(embeds=embeds, sequences=requests)
    if draft is not None:
        build = build._replace(draft=describe(draft.model, draft.variant, draft.variant.size_bytes or 0))
    engine = find_engine(variant)
    need = engine.find_need(build, longest, cache)
    if budget_bytes is None or need.total_bytes <= budget_bytes:
        return longest, need
    steps = max(0, longest - CONTEXT_FLOOR_TOKENS) // CONTEXT_STEP_TOKENS
    choices = range(longest - steps * CONTEXT_STEP_TOKENS, longest + 1, CONTEXT_STEP_TOKENS)
    fitting = bisect_right(choices, budget_bytes, key=lambda tokens: engine.find_need(build, tokens, cache).total_bytes)
    tokens = choices[max(0, fitting - 1)]
    return tokens, engine.find_need(build, tokens, cache)

"""How much memory a build of a model needs at a context, before a byte of it is fetched. Pure arithmetic.

`need = weights + cache + compute buffer + runtime`, one sequence, in bytes; the cache holds keys, values and the state
of recurrent layers. Where an architecture is unknown the terms fall back to bounds that are named here; only unknown
weights make the whole need unknown.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.rules import find_bits
from localfirst.types import Need
from localfirst.units import MIB

if TYPE_CHECKING:
    from localfirst.types import Architecture, CacheType, Format, KvGroup, Model, Variant

CONTEXT_DEFAULT_TOKENS = 8192
"""What is asked for when nobody says: long enough for a conversation, short enough for an 8 GB machine."""
CONTEXT_FLOOR_TOKENS = 4096
"""A context is never shortened below this to make a model fit."""
CONTEXT_STEP_TOKENS = 256
"""llama.cpp rounds a context up to a multiple of 256 cells (`llama_context`, `GGML_PAD(n_ctx, 256)`)."""

LLAMA_BATCH_TOKENS = 128
"""Prompt tokens that our llama.cpp adapter computes at a time, `n_ubatch`; llama.cpp's own default is 512."""
ONNX_CHUNK_TOKENS = 32
"""Prompt tokens that our ONNX adapter computes at a time."""


class Engine(NamedTuple):
    """What an engine keeps besides the weights. Bytes."""

    windows: bool
    """Layers with a sliding window hold only the window, not the whole context."""
    f32_cache_on_cpu: bool
    """Builds for the processor cache keys and values in 4 bytes instead of 2."""
    batch_tokens: int
    runtime_bytes: int
    """Interpreter, engine code and its own state, as resident memory."""
    checkpoints: int = 0
    """Copies that the adapter keeps of what cannot be cut back, for the next turn to start from: the cache of
    sliding-window layers and the state of recurrent ones."""
    caches: tuple[CacheType, ...] = ("f16",)
    """How it can keep keys and values."""
    reads_embedding_from_file: bool = False
    """The embedding stays in the file, mapped; of its rows only those of the prompt's tokens are ever read."""


LLAMA = Engine(
    windows=True,
    f32_cache_on_cpu=False,
    batch_tokens=LLAMA_BATCH_TOKENS,
    runtime_bytes=150 * MIB,
    checkpoints=2,
    caches=("f16", "q8_0", "q4_0"),
)
"""Resident beyond weights, cache and compute buffer: 100 to 150 MiB for Python with llama.cpp (measured with a 360M and
a 1B model). The sliding window is exact with `swa_full` off, which is how our adapter loads."""
ONNX = Engine(
    windows=False,
    f32_cache_on_cpu=True,
    batch_tokens=ONNX_CHUNK_TOKENS,
    runtime_bytes=102 * MIB,
    reads_embedding_from_file=True,
)
"""Its model builder types the cache as fp32 for int4 and int8 models for the CPU, fp16 otherwise (`default_io_dtype` in
`onnxruntime_genai/models/quantization/quant_config.py`), and the generator allocates the cache for its whole
`max_length` at once: 112 MiB more for 7,168 tokens more of 8 layers x 4 heads x 64, exactly 4 bytes each."""
ENGINES: dict[Format, Engine] = {"gguf": LLAMA, "llamafile": LLAMA, "onnx": ONNX}
OTHER = Engine(windows=False, f32_cache_on_cpu=False, batch_tokens=512, runtime_bytes=250 * MIB)
"""An engine that nobody has measured: the cache whole, and the larger of what the others keep, with room."""

CACHE_BYTES: dict[CacheType, float] = {"f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes per number in a cache: llama.cpp quantizes 32 of them together with a scale of two bytes."""

UNKNOWN_KV_SHARE = 0.3
"""Cache bytes per parameter at 8,192 tokens and 2 bytes each, where the layers are unknown: four in five of 131 public
models whose layers we know keep less."""
UNKNOWN_VOCABULARY = 262_144
"""Gemma 3's, the largest in common use."""
UNKNOWN_HIDDEN = 4096
FEED_FORWARD_RATIO = 4
"""Feed-forward width over hidden size where the former is unknown: the classic transformer's; llama shapes have 2.7 to
3.8, Gemma 6."""


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
    return _find_need(model, variant, variant.size_bytes, context_tokens, cache)


def find_engine(variant: Variant) -> Engine:
    """How the engine that loads a variant keeps what it needs."""
    return ENGINES.get(variant.format, OTHER)


def find_weights_floor(model: Model, variant: Variant) -> int | None:
    """The least bytes that weights of unknown size can have: what the quantization's bits need for every parameter.

    Of the 368 builds in the catalog whose size is known, 364 have 0.97 times as much or more, half of them 1.28 times.
    """
    bits = find_bits(variant)
    return model.parameters * bits // 8 if model.parameters and bits else None


def find_context(
    model: Model,
    variant: Variant,
    wanted_tokens: int | None,
    budget_bytes: int | None,
    cache: CacheType = "f16",
) -> int:
    """The context to run with, in tokens: the one asked for (8,192 if none), at most what the model was trained for.

    Where that does not fit the budget it is shortened in steps of 256, down to 4,096; the shortest is the answer where
    nothing fits, or where need or budget is unknown the longest.
    """
    longest = wanted_tokens or CONTEXT_DEFAULT_TOKENS
    limit = variant.context_tokens or model.architecture.context_tokens
    if limit is not None:
        longest = min(longest, limit)
    if budget_bytes is None or variant.size_bytes is None:
        return longest
    weights_bytes = variant.size_bytes
    if _find_need(model, variant, weights_bytes, longest, cache).total_bytes <= budget_bytes:
        return longest
    steps = max(0, longest - CONTEXT_FLOOR_TOKENS) // CONTEXT_STEP_TOKENS
    choices = range(longest - steps * CONTEXT_STEP_TOKENS, longest + 1, CONTEXT_STEP_TOKENS)
    fitting = bisect_right(
        choices, budget_bytes, key=lambda tokens: _find_need(model, variant, weights_bytes, tokens, cache).total_bytes
    )
    return choices[max(0, fitting - 1)]


def _find_need(model: Model, variant: Variant, weights_bytes: int, context_tokens: int, cache: CacheType) -> Need:
    engine = find_engine(variant)
    if variant.format == "onnx":
        compute_bytes = _find_onnx_compute(model.architecture)
    else:
        compute_bytes = _find_llama_compute(model.architecture, engine.batch_tokens, context_tokens)
    kv_bytes, windowed_bytes = _find_kv(model, variant, engine, context_tokens, cache)
    state_bytes = _find_state(model.architecture)
    copies_bytes = engine.checkpoints * (windowed_bytes + state_bytes)
    if engine.reads_embedding_from_file and "cpu" in variant.devices:
        weights_bytes -= _find_embedding(model, variant, weights_bytes)
        copies_bytes += _find_onnx_copies(model, variant, weights_bytes)
    return Need(
        weights_bytes=weights_bytes,
        kv_bytes=kv_bytes + state_bytes,
        compute_bytes=compute_bytes,
        runtime_bytes=engine.runtime_bytes + copies_bytes,
    )


def _find_embedding(model: Model, variant: Variant, weights_bytes: int) -> int:
    """Bytes of an embedding in fp32, as the model builder leaves it in builds for the CPU.

    0 where it must be smaller, since the rest of the file could not hold the other parameters.
    """
    elements = (model.architecture.vocab_size or 0) * (model.architecture.hidden_size or 0)
    others, bits = max(0, (model.parameters or 0) - elements), find_bits(variant)
    if not elements or not others or not bits or weights_bytes - 4 * elements < others * bits // 8:
        return 0
    return 4 * elements


def _find_onnx_copies(model: Model, variant: Variant, weights_bytes: int) -> int:
    """Bytes of the weights that are in memory twice, packed for the processor beside what was loaded.

    Fitted to the peak of onnxruntime-genai 0.18 on Linux with 10 shapes of int4 models, within 14 MiB: 1.19 times the
    layers' bytes, 2.19 times those of the output layer.
    """
    elements = (model.architecture.vocab_size or 0) * (model.architecture.hidden_size or 0)
    bits = find_bits(variant) or 0
    return int(0.19 * weights_bytes) + min(weights_bytes, elements * (bits + 1) // 8)


def _pad(tokens: int) -> int:
    return -(-tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS


def _find_kv(model: Model, variant: Variant, engine: Engine, context_tokens: int, cache: CacheType) -> tuple[int, int]:
    """Bytes of keys and values, and of the windowed ones: `cells x kv_heads x (k_dim + v_dim) x bytes` for each layer.

    Cells are the context, rounded up to 256; with sliding windows `pad256(min(context, window + micro-batch))`. This is
    what llama.cpp allocates (`llama_kv_cache`, `llama_kv_cache_iswa`), to the byte.
    """
    width_bytes = 4 if engine.f32_cache_on_cpu and "cpu" in variant.devices else CACHE_BYTES[cache]
    groups = model.architecture.kv_groups
    if not groups:
        parameters = model.parameters or variant.size_bytes or 0
        share = UNKNOWN_KV_SHARE * width_bytes / 2
        return int(parameters * share * _pad(context_tokens) / CONTEXT_DEFAULT_TOKENS), 0
    sizes = {False: 0, True: 0}
    for group in groups:
        windowed = engine.windows and group.window_tokens is not None
        cells = _find_window_cells(group, engine.batch_tokens, context_tokens) if windowed else _pad(context_tokens)
        sizes[windowed] += int(group.layers * cells * group.kv_heads * 2 * group.head_dim * width_bytes)
    return sum(sizes.values()), sizes[True]


def _find_state(architecture: Architecture) -> int:
    """Bytes of recurrent layers, 4 per number: what the convolution remembers, and the state itself.

    `(kernel - 1) x (inner + 2 x groups x state) + inner x state` for each layer, however long the context: llama.cpp's
    `llama_hparams::n_embd_r` and `n_embd_s`, for Mamba, gated delta nets and short convolutions alike.
    """
    return sum(
        4
        * one.layers
        * ((one.conv_kernel - 1) * (one.inner_size + 2 * one.groups * one.state_size) + one.inner_size * one.state_size)
        for one in architecture.recurrent_groups
    )


def _find_window_cells(group: KvGroup, batch_tokens: int, context_tokens: int) -> int:
    return _pad(min(context_tokens, (group.window_tokens or context_tokens) + batch_tokens))


def _find_llama_compute(architecture: Architecture, batch_tokens: int, context_tokens: int) -> int:
    """Bytes of llama.cpp's compute and output buffers, flash attention on.

    The compute buffer is as large as the widest moment of the graph, in floats per token of the micro-batch:
    `max(3 x feed-forward, 2 x attention) + 5 x hidden + masks + 16`, a mask of 2 bytes per cell for each kind of cache.
    The server computes the logits of one token, so the vocabulary hardly counts. Fitted to the sizes that llama.cpp
    b11549 logs as xllamacpp 2026.10 loads it (CPU; 11 shapes of llama, qwen3, gemma3 and qwen3moe at two contexts and
    two micro-batches): dense ones and one mixture within 0.02 MiB, two mixtures of many narrow experts low by 2.5 and 8
    MiB, since those need `2 x experts used x (hidden + expert width)`; a wide attention over equally wide layers high
    by 2 MiB.
    """
    hidden = architecture.hidden_size or UNKNOWN_HIDDEN
    feed_forward = architecture.feed_forward_size or FEED_FORWARD_RATIO * hidden
    head_dim = max((group.head_dim for group in architecture.kv_groups), default=0)
    attention = (architecture.heads or 0) * head_dim or hidden
    windows = [group for group in architecture.kv_groups if group.window_tokens is not None]
    mask = _pad(context_tokens) + max(
        (_find_window_cells(one, batch_tokens, context_tokens) for one in windows), default=0
    )
    floats = max(3 * feed_forward, 2 * attention) + 5 * hidden + mask // 2 + 16
    return 4 * (batch_tokens * floats + (architecture.vocab_size or UNKNOWN_VOCABULARY))


def _find_onnx_compute(architecture: Architecture) -> int:
    """Bytes of a prompt chunk: the logits of every token, and the arena's activations, which it keeps.

    Fitted to what onnxruntime-genai 0.18 grew by in a prompt of 2,048 tokens, in chunks of 256 (CPU, int4, hidden size
    1,024): 17 MiB with a feed-forward width of 2,048, 26 with 4,096; 65 and 63 more with a vocabulary of 65,536.
    """
    hidden = architecture.hidden_size or UNKNOWN_HIDDEN
    feed_forward = architecture.feed_forward_size or FEED_FORWARD_RATIO * hidden
    floats = (architecture.vocab_size or UNKNOWN_VOCABULARY) + 8 * hidden + 9 * feed_forward // 2
    return 4 * ONNX_CHUNK_TOKENS * floats

"""A model in MLX, and the keys and values of conversations: of one, or of several that are computed together.

mlx-lm keeps a cache for each layer. For several conversations it has caches whose rows are padded on the left up to the
longest. Here a conversation has caches of its own while its prompt is read and while it waits for its next turn; only
those that are answered at the same time have rows in common ones. Layer by layer they come together and part, so that
no more than one layer is there twice.

Not every model can: caches in few bits, and those of some architectures, have no rows, and mlx-lm's Gemma 2 takes the
masks of rows for those of heads. So it is tried when a model is loaded.

All of it belongs to one thread, as MLX's streams do. Source of the caches: ml-explore/mlx-lm, `mlx_lm/models/cache.py`.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localfirst.backends.base import LoadOptions
    from localfirst.types import CacheType, Placement

FREED_BYTES = 256 * 2**20
"""Freed memory that MLX may keep for its next arrays; by default it is all that was ever used."""
CACHE_BITS: dict[CacheType, int | None] = {"f16": None, "q8_0": 8, "q4_0": 4}
CACHE_GROUP = 64
"""Numbers that share a scale and a bias of two bytes each: as many bytes in all as llama.cpp's blocks of 32."""
GPU_PLACEMENTS: tuple[Placement, ...] = ("gpu", "igpu")
ODDITY = 0.05
"""How far the logits of a row may be from those that it has alone, as a share of their spread: more is no rounding."""
TRIALS = ([0, 1, 2, 3, 4], [5])
"""Texts of different lengths, as tokens that every vocabulary has."""

Layers = list[Any]
"""mlx-lm's cache of each layer."""


@dataclass(slots=True)
class Kept:
    """A conversation: tokens, and their keys and values."""

    tokens: list[int]
    layers: Layers


class Network:
    """Loads a model and computes it."""

    def __init__(self, path: Path, options: LoadOptions) -> None:
        from mlx_lm import __version__, utils
        from mlx_lm.models import cache

        self.mx = import_core()
        self._caches: Any = cache
        self.version: str = __version__
        on_gpu = options.placement in GPU_PLACEMENTS
        self.device = f"Metal: {find_device_name(self.mx)}" if on_gpu else "CPU"
        self.mx.set_default_device(self.mx.gpu if on_gpu else self.mx.cpu)
        self.mx.set_cache_limit(FREED_BYTES)
        if options.memory_bytes is not None:
            self.mx.set_memory_limit(options.memory_bytes)
        if on_gpu:
            utils.maybe_set_recommended_wired_limit()
        self.model: Any
        self.model, _ = utils.load_model(path, trust_remote_code=False)
        self._bits = CACHE_BITS[options.cache]
        self.vocabulary_size = self._prove()
        self.parallel = options.requests if options.requests > 1 and self._is_batchable() else 1

    def begin(self) -> Kept:
        """An empty conversation. Its cache is in few bits where that is asked for; windows and states never are."""
        made: Layers = self._caches.make_prompt_cache(self.model)
        plain = self._caches.KVCache
        if self._bits is not None:
            made = [one.to_quantized(CACHE_GROUP, self._bits) if type(one) is plain else one for one in made]
        return Kept([], made)

    def count_reusable(self, kept: Kept, prompt: Sequence[int]) -> int:
        """How many tokens of a conversation a prompt can go on from: those that they begin with alike.

        Recurrent states, and windows that are full, cannot be turned back: there it is all of them or none.
        """
        common = count_common(kept.tokens, prompt)
        whole = common == len(kept.tokens)
        return common if whole or self._caches.can_trim_prompt_cache(kept.layers) else 0

    def turn_back(self, kept: Kept, tokens: int) -> Kept:
        """A conversation without what comes after some of its tokens, as many as can be reused."""
        if tokens == 0:
            return self.begin()
        self._caches.trim_prompt_cache(kept.layers, len(kept.tokens) - tokens)
        return Kept(kept.tokens[:tokens], kept.layers)

    def read(self, kept: Kept, tokens: list[int]) -> None:
        """Compute the keys and values of some tokens, not their logits."""
        self.model(self.mx.array([tokens]), cache=kept.layers)
        self.mx.eval([one.state for one in kept.layers])
        kept.tokens += tokens

    def read_each(self, kept: Kept, tokens: list[int]) -> Any:
        """Compute some tokens as `read` does, and the logits after each, as rows for numpy."""
        import numpy as np

        logits = self.model(self.mx.array([tokens]), cache=kept.layers)[0].astype(self.mx.float32)
        self.mx.eval(logits, [one.state for one in kept.layers])
        kept.tokens += tokens
        return np.array(logits)

    def compute(self, tokens: Any, layers: Layers) -> Any:
        """The logits after one more token in every row; nothing is computed yet."""
        return self.model(tokens[:, None], cache=layers)[:, -1]

    def join(self, rows: Layers, count: int, alone: Layers) -> Layers:
        """Caches of one more row, where there are `count` of them; `rows` and `alone` are used up."""
        if count == 0:
            return alone
        for number, one in enumerate(alone):
            alone[number] = None
            if count == 1:
                rows[number] = one.merge([rows[number], one])
            else:
                rows[number].extend(one.merge([one]))
            self.mx.eval(rows[number].state)
        return rows

    def part(self, rows: Layers, staying: Sequence[int], leaving: Sequence[int]) -> tuple[Layers, list[Layers]]:
        """Caches of the rows that stay, and those of each that leaves; `rows` are joined ones, and used up."""
        gone: list[Layers] = [[] for _ in leaving]
        for number, layer in enumerate(rows):
            for layers, row in zip(gone, leaving, strict=True):
                layers.append(layer.extract(row))
            if len(staying) > 1:
                layer.filter(list(staying))
            else:
                rows[number] = layer.extract(staying[0]) if staying else None
            parts = (rows[number], *(layers[-1] for layers in gone))
            self.mx.eval([one.state for one in parts if one is not None])
        return (rows if staying else []), gone

    def close(self) -> None:
        """Give the memory back."""
        del self.model
        gc.collect()
        self.mx.clear_cache()

    def _prove(self) -> int:
        """The size of the vocabulary, found by computing one token.

        Some architectures lack kernels, and heads of some widths a cache in few bits.
        """
        layers = self.begin().layers
        try:
            logits = self.compute(self.mx.array([0]), layers)
            self.mx.eval(logits)
            few_bits = any(isinstance(one, self._caches.QuantizedKVCache) for one in layers)
        except ValueError as error:
            if self._bits is None:
                raise
            raise self._refuse_bits(str(error)) from error
        if self._bits is not None and not few_bits:
            raise self._refuse_bits("all of its layers have a window or a state")
        return int(logits.shape[-1])

    def _refuse_bits(self, reason: str) -> EngineError:
        message = f"MLX cannot keep keys and values of this model in {self._bits} bits"
        return EngineError(message, detail=reason, hint="Leave out `--kv-cache`")

    def _is_batchable(self) -> bool:
        """Whether rows of different lengths have the logits that each has alone."""
        if not all(hasattr(one, "merge") for one in self.begin().layers):
            return False
        try:
            alone, together = ([self._compute_trial(tokens) for tokens in TRIALS] for _ in range(2))
            expected = [self.compute(self.mx.array([0]), layers) for layers in alone]
            rows = self.join(self.join([], 0, together[0]), 1, together[1])
            found = self.compute(self.mx.array([0, 0]), rows)
            self.part(rows, [0], [1])
        except Exception:  # noqa: BLE001 - whatever the code of an architecture does not expect
            return False
        logits = self.mx.concatenate(expected).astype(self.mx.float32)
        furthest = self.mx.abs(found.astype(self.mx.float32) - logits).max()
        return bool(furthest <= ODDITY * (logits.max() - logits.min()))

    def _compute_trial(self, tokens: list[int]) -> Layers:
        kept = self.begin()
        self.read(kept, tokens)
        return kept.layers


def count_common(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    common = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        common += 1
    return common


def import_core() -> Any:
    """MLX itself. Its stubs are there only where it is, so its types are left out everywhere alike."""
    import mlx.core

    return mlx.core


def find_device_name(mx: Any) -> str:
    """What MLX calls its GPU."""
    return str(mx.device_info().get("device_name", "GPU"))

"""What a GGUF file says about itself, and what that means for memory: values only, nothing is read here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from localfirst.gguf.tables import FILE_TYPES, POOLINGS, WINDOW_PERIODS
from localfirst.types import Architecture, KvGroup, RecurrentGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localfirst.types import Pooling


@dataclass(frozen=True, slots=True)
class Skipped:
    """A metadata value that is too long to keep: the type of its items and how many (of a string: bytes)."""

    type: str
    count: int


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | Skipped


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's place in the file. `shape` is as stored, the fastest dimension first; `offset` is from the data."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str | None:
        """`llama`, `gemma3`, ..."""
        return self._find_text("general.architecture")

    @property
    def kind(self) -> str | None:
        """`model`, `adapter`, `mmproj`, `imatrix`; many files do not say."""
        return self._find_text("general.type")

    @property
    def title(self) -> str | None:
        """What its publisher calls it."""
        return self._find_text("general.name")

    @property
    def license(self) -> str | None:
        """Its licence, mostly by its SPDX name."""
        return self._find_text("general.license")

    @property
    def shards(self) -> int | None:
        """The files that the model was split into; `None` where this is not said."""
        return self._find_int("split.count")

    @property
    def template(self) -> str | None:
        """The chat template, Jinja source."""
        return self._find_text("tokenizer.chat_template")

    @property
    def file_type(self) -> str | None:
        """The quantization that most tensors have, as llama.cpp names it: `Q4_K_M`."""
        number = self._find_int("general.file_type")
        return FILE_TYPES[number] if number is not None and 0 <= number < len(FILE_TYPES) else None

    @property
    def main_type(self) -> str | None:
        """The type that most bytes of its tensors have, for files that do not name a quantization: `Q4_K`."""
        sizes = Counter[str]()
        for tensor in self.tensors:
            sizes[tensor.type] += tensor.size_bytes
        return max(sizes, key=lambda kind: sizes[kind], default=None)

    @property
    def context_tokens(self) -> int | None:
        """The context that the model was trained for, in tokens."""
        return self._find_own("context_length")

    @property
    def pooling(self) -> Pooling | None:
        """How an embedding model makes one vector of a text; `None`: it is none, or it only ranks texts.

        Source of the numbers: llama.cpp, `include/llama.h`, `llama_pooling_type`.
        """
        return POOLINGS.get(self._find_own("pooling_type") or 0)

    @property
    def layers(self) -> int | None:
        """The number of layers."""
        return self._find_own("block_count")

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors of this file."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Elements of all tensors of this file."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    def to_architecture(self) -> Architecture:
        """The numbers that memory and speed are computed from; unknown where the file does not tell."""
        vocabulary = self.metadata.get("tokenizer.ggml.tokens")
        tokens = vocabulary.count if isinstance(vocabulary, Skipped) else None
        if isinstance(vocabulary, tuple):
            tokens = len(vocabulary)
        return Architecture(
            layers=self.layers,
            hidden_size=self._find_own("embedding_length"),
            heads=max(self._find_per_layer("attention.head_count"), default=None),
            vocab_size=self._find_own("vocab_size") or tokens,
            context_tokens=self.context_tokens,
            kv_groups=self._find_kv_groups(),
            recurrent_groups=self._find_recurrent_groups(),
            feed_forward_size=self._find_feed_forward(),
            tied=all(tensor.name != "output.weight" for tensor in self.tensors) if self.tensors else None,
        )

    def _find_kv_groups(self) -> tuple[KvGroup, ...]:
        """Layers by what they cache; layers without heads (recurrent) or with another layer's cache are left out."""
        heads, kv_heads = self._find_per_layer("attention.head_count"), self._find_per_layer("attention.head_count_kv")
        hidden = self._find_own("embedding_length")
        kv_heads = kv_heads or heads
        default_dim = hidden // max(heads) if hidden and heads and max(heads) else None
        dims = {windowed: self._find_head_dim(windowed, default_dim) for windowed in (False, True)}
        if not kv_heads or dims[False] is None:
            return ()
        window = self._find_own("attention.sliding_window")
        layers = []
        for layer, (count, windowed) in enumerate(zip(kv_heads, self._find_windowed(len(kv_heads)), strict=True)):
            if count and self._has_cache(layer, len(kv_heads)):
                is_windowed = windowed and window is not None
                layers.append((count, dims[is_windowed] or 0, window if is_windowed else None))
        layers.sort(key=lambda one: (one[2] is not None, one))
        return tuple(KvGroup(len(list(same)), *group) for group, same in groupby(layers))

    def _find_recurrent_groups(self) -> tuple[RecurrentGroup, ...]:
        """The layers without a cache of keys and values, where the file describes a state or a short convolution."""
        attending = sum(group.layers for group in self._find_kv_groups())
        feed_forwards = self._find_per_layer("feed_forward_length")
        plain = sum(1 for width in feed_forwards if width) if 0 in feed_forwards else 0
        layers = (self.layers or 0) - attending - plain
        inner, kernel = self._find_own("ssm.inner_size"), self._find_own("ssm.conv_kernel")
        span, hidden = self._find_own("shortconv.l_cache"), self._find_own("embedding_length")
        if layers > 0 and inner and kernel:
            state, groups = self._find_own("ssm.state_size") or 0, self._find_own("ssm.group_count") or 0
            return (RecurrentGroup(layers, inner, state, groups, kernel),)
        if layers > 0 and hidden and span:
            return (RecurrentGroup(layers, hidden, conv_kernel=span),)
        return ()

    def _find_head_dim(self, windowed: bool, default: int | None) -> int | None:
        """The mean of key and value width, so that twice it is what a head caches."""
        suffix = "_swa" if windowed else ""
        key = self._find_own(f"attention.key_length{suffix}") or self._find_own("attention.key_length") or default
        value = self._find_own(f"attention.value_length{suffix}") or self._find_own("attention.value_length") or default
        return (key + value + 1) // 2 if key and value else None

    def _find_windowed(self, layers: int) -> list[bool]:
        pattern = self._find_metadata("attention.sliding_window_pattern")
        if isinstance(pattern, tuple) and len(pattern) >= layers:
            return [bool(windowed) for windowed in pattern[:layers]]
        period = self._find_own("attention.sliding_window_pattern") or WINDOW_PERIODS.get(self.architecture or "")
        return [period is not None and (layer + 1) % period != 0 for layer in range(layers)]

    def _has_cache(self, layer: int, layers: int) -> bool:
        """Hybrids attend in every n-th layer; the last layers of some models read an earlier layer's cache."""
        interval = self._find_own("full_attention_interval") or 1
        return (layer + 1) % interval == 0 and layer < layers - (self._find_own("attention.shared_kv_layers") or 0)

    def _find_feed_forward(self) -> int | None:
        width = max(self._find_per_layer("feed_forward_length"), default=0)
        used, expert_width = self._find_own("expert_used_count"), self._find_own("expert_feed_forward_length")
        return max(width, (used or 0) * (expert_width or 0)) or None

    def _find_per_layer(self, name: str) -> tuple[int, ...]:
        """A number for each layer, from one for all or from a list; empty where the file does not tell."""
        value = self._find_metadata(name)
        if isinstance(value, tuple):
            return tuple(number for number in value if isinstance(number, int))
        number = self._find_own(name)
        return () if number is None else (number,) * (self.layers or 0)

    def _find_own(self, name: str) -> int | None:
        return self._find_int(f"{self.architecture}.{name}")

    def _find_metadata(self, name: str) -> Value | None:
        return self.metadata.get(f"{self.architecture}.{name}")

    def _find_int(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def _find_text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

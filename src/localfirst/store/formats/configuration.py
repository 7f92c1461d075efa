"""A model's architecture from `config.json`, as Hugging Face's libraries write it.

Source: transformers, `configuration_*.py`, the attributes of each `*Config`; what is not in a file is unknown here.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from localfirst.types import Architecture, KvGroup, RecurrentGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_LAYERS = 4096
MOST = 2**31
"""More than any count of a model; a number beyond it is not believed."""
_FULL, _WINDOWED = "full_attention", "sliding_attention"
_WINDOW_KINDS = (_WINDOWED, "chunked_attention")


class _Config(NamedTuple):
    """The part of a configuration that is about text."""

    values: Mapping[str, object]

    def number(self, *keys: str) -> int | None:
        """The first of these that is a number to believe."""
        for key in keys:
            value = self.values.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST:
                return value
        return None


def parse_architecture(config: Mapping[str, object]) -> Architecture:
    """The architecture that a configuration tells."""
    inner = config.get("text_config")
    text = _Config({**config, **inner} if isinstance(inner, dict) else config)
    tied = text.values.get("tie_word_embeddings")
    layers = text.number("num_hidden_layers", "n_layer", "n_layers")
    kinds = _find_kinds(text, layers) if layers is not None and layers <= MOST_LAYERS else ()
    return Architecture(
        layers=layers,
        hidden_size=_find_hidden(text),
        heads=_find_heads(text),
        vocab_size=text.number("vocab_size"),
        context_tokens=text.number("max_position_embeddings", "n_positions", "max_sequence_length"),
        kv_groups=_find_kv_groups(text, kinds),
        recurrent_groups=tuple(
            group
            for kind, make in _RECURRENT.items()
            if kind in kinds and (group := make(text, kinds.count(kind))) is not None
        ),
        feed_forward_size=_find_feed_forward(text),
        tied=tied if isinstance(tied, bool) else None,
    )


def _find_hidden(text: _Config) -> int | None:
    return text.number("hidden_size", "n_embd", "d_model")


def _find_heads(text: _Config) -> int | None:
    return text.number("num_attention_heads", "n_head")


def _find_kinds(text: _Config, layers: int) -> tuple[str, ...]:
    """What each layer does: from a list, or by the rules that stand for one."""
    listed = text.values.get("layer_types")
    if isinstance(listed, list) and len(listed) == layers:
        return tuple(str(kind) for kind in listed)
    for key, other in (("sliding_window_pattern", _WINDOWED), ("full_attention_interval", "linear_attention")):
        period = text.number(key)
        if period is not None:
            return tuple(_FULL if (layer + 1) % period == 0 else other for layer in range(layers))
    return (_FULL,) * layers


def _find_kv_groups(text: _Config, kinds: tuple[str, ...]) -> tuple[KvGroup, ...]:
    heads, hidden = _find_heads(text), _find_hidden(text)
    kv_heads = text.number("num_key_value_heads") or heads
    head_dim = text.number("head_dim") or (hidden // heads if hidden and heads else None)
    if not kv_heads or not head_dim:
        return ()
    window = text.number("sliding_window", "attention_chunk_size")
    windows = sorted(
        (window if kind in _WINDOW_KINDS else None for kind in kinds if kind == _FULL or kind in _WINDOW_KINDS),
        key=lambda one: one or 0,
    )
    return tuple(KvGroup(len(list(same)), kv_heads, head_dim, tokens) for tokens, same in groupby(windows))


def _find_feed_forward(text: _Config) -> int | None:
    experts = (text.number("num_experts_per_tok") or 0) * (text.number("moe_intermediate_size") or 0)
    return max(text.number("intermediate_size", "n_inner", "ffn_dim") or 0, experts) or None


def _make_delta_net(text: _Config, layers: int) -> RecurrentGroup | None:
    heads, width = text.number("linear_num_value_heads"), text.number("linear_value_head_dim")
    groups, state = text.number("linear_num_key_heads"), text.number("linear_key_head_dim")
    if not (heads and width and groups and state):
        return None
    return RecurrentGroup(layers, heads * width, state, groups, text.number("linear_conv_kernel_dim") or 4)


def _make_short_convolution(text: _Config, layers: int) -> RecurrentGroup | None:
    hidden, span = _find_hidden(text), text.number("conv_L_cache")
    return RecurrentGroup(layers, hidden, conv_kernel=span) if hidden and span else None


_RECURRENT: dict[str, Callable[[_Config, int], RecurrentGroup | None]] = {
    "linear_attention": _make_delta_net,
    "conv": _make_short_convolution,
}

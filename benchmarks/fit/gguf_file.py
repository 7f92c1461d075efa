"""Writes a network with made-up weights as a GGUF file. Tensors: ggml-org/llama.cpp, `src/models/*.cpp`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.fit.networks import Network

CONTEXT_TOKENS = 131_072
"""What every file says that it was trained for."""
SCALE_BYTES = np.array([0.002], np.float16).tobytes()
"""A block of Q4_0 or Q8_0 starts with its scale; any bits do for the rest."""
MXFP4_SCALE = 110
"""A block of MXFP4 starts with an exponent, of 2 to the power of 110 - 127."""
TILE_BLOCKS = 1 << 16
"""The made-up blocks repeat after so many."""
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")

Tensor = tuple[str, tuple[int, ...]]
"""A name and a shape, rows first; one of a single dimension is never quantized."""

BIASED = frozenset({"qwen2", "gpt-oss"})
QK_NORMED = {"qwen3": 1, "qwen3moe": 1, "gemma3": 1, "lfm2": 1, "qwen35": 1, "olmo2": 0, "olmoe": 0}
"""Queries and keys are normalized: 1 for each head on its own, 0 over their whole width."""
POST_NORMED = frozenset({"gemma2", "gemma3", "olmo2"})
FUSED = frozenset({"phi3"})
GATED = frozenset({"qwen35"})
"""Attention puts out as many gates as it has queries."""
POST_ATTENTION_ONLY = frozenset({"gpt-oss", "qwen35"})
"""The norm before the feed-forward layer has the name of one after the attention."""
NORMS_BEFORE = frozenset({"olmo2"})
"""These have none before their layers."""


def write_gguf(path: Path, network: Network, kind: Kind = Kind.Q4_0) -> None:
    """Write a file that llama.cpp loads. Its text is nonsense, its memory and its time are a real model's."""
    writer = gguf.GGUFWriter(path, network.arch)
    _add_shape(writer, network)
    _add_tokenizer(writer, network.vocabulary)
    tensors = list(_list_tensors(network))
    for name, shape in tensors:
        stored = _find_kind(name, shape, kind, network)
        writer.add_tensor_info(name, _in_bytes(shape, stored), np.dtype(np.uint8), _count_bytes(shape, stored), stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    tiles = {one: _make_tile(one) for one in (Kind.F32, Kind.Q8_0, Kind.Q4_0, Kind.MXFP4)}
    with path.open("ab") as file:
        file.write(bytes(-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))
        for name, shape in tensors:
            stored = _find_kind(name, shape, kind, network)
            left = _count_bytes(shape, stored)
            padding = -left % gguf.GGUF_DEFAULT_ALIGNMENT
            while left:
                left -= file.write(tiles[stored][:left])
            file.write(bytes(padding))
    writer.close()


def _list_tensors(network: Network) -> Iterator[Tensor]:
    hidden = network.hidden
    yield "token_embd.weight", (network.vocabulary, hidden)
    yield ("token_embd_norm.weight" if network.arch == "lfm2" else "output_norm.weight"), (hidden,)
    if not network.tied:
        yield "output.weight", (network.vocabulary, hidden)
    for layer, attends in enumerate(network.is_attending):
        mixer = _list_attention if attends else RECURRENT[network.arch]
        for name, shape in (*mixer(network), *_list_feed_forward(network)):
            yield f"blk.{layer}.{name}", shape


def _list_attention(network: Network) -> Iterator[Tensor]:
    arch, hidden = network.arch, network.hidden
    wide, narrow = network.heads * network.head_dim, network.kv_heads * network.head_dim
    if arch not in NORMS_BEFORE:
        yield "attn_norm.weight", (hidden,)
    projections = {"q": wide * (2 if arch in GATED else 1), "k": narrow, "v": narrow}
    if arch in FUSED:
        projections = {"qkv": wide + 2 * narrow}
    for name, rows in projections.items():
        yield f"attn_{name}.weight", (rows, hidden)
        if arch in BIASED:
            yield f"attn_{name}.bias", (rows,)
    yield "attn_output.weight", (hidden, wide)
    if arch == "gpt-oss":
        yield "attn_output.bias", (hidden,)
        yield "attn_sinks.weight", (network.heads,)
    if arch in QK_NORMED:
        by_head = QK_NORMED[arch]
        yield "attn_q_norm.weight", (network.head_dim if by_head else wide,)
        yield "attn_k_norm.weight", (network.head_dim if by_head else narrow,)


def _list_short_convolution(network: Network) -> Iterator[Tensor]:
    hidden = network.hidden
    yield "attn_norm.weight", (hidden,)
    yield "shortconv.in_proj.weight", (3 * hidden, hidden)
    yield "shortconv.conv.weight", (hidden, network.kernel)
    yield "shortconv.out_proj.weight", (hidden, hidden)


def _list_delta_net(network: Network) -> Iterator[Tensor]:
    hidden, heads = network.hidden, network.inner // network.state
    convolved = network.inner + 2 * network.groups * network.state
    yield "attn_norm.weight", (hidden,)
    yield "attn_qkv.weight", (convolved, hidden)
    yield "attn_gate.weight", (network.inner, hidden)
    yield "ssm_conv1d.weight", (convolved, network.kernel)
    yield "ssm_dt.bias", (heads,)
    yield "ssm_a", (heads,)
    yield "ssm_beta.weight", (heads, hidden)
    yield "ssm_alpha.weight", (heads, hidden)
    yield "ssm_norm.weight", (network.state,)
    yield "ssm_out.weight", (hidden, network.inner)


def _list_mamba2(network: Network) -> Iterator[Tensor]:
    hidden, heads = network.hidden, network.inner // 64
    convolved = network.inner + 2 * network.groups * network.state
    yield "attn_norm.weight", (hidden,)
    yield "ssm_in.weight", (network.inner + convolved + heads, hidden)
    yield "ssm_conv1d.weight", (convolved, network.kernel)
    yield "ssm_conv1d.bias", (convolved,)
    yield "ssm_dt.bias", (heads,)
    yield "ssm_a", (heads, 1)
    yield "ssm_d", (heads, 1)
    yield "ssm_norm.weight", (network.groups, network.inner // network.groups)
    yield "ssm_out.weight", (hidden, network.inner)


RECURRENT = {"lfm2": _list_short_convolution, "qwen35": _list_delta_net, "granitehybrid": _list_mamba2}


def _list_feed_forward(network: Network) -> Iterator[Tensor]:
    arch, hidden, width = network.arch, network.hidden, network.feed_forward
    if arch in POST_NORMED:
        yield "post_attention_norm.weight", (hidden,)
        yield "post_ffw_norm.weight", (hidden,)
    if arch not in NORMS_BEFORE:
        yield ("post_attention_norm.weight" if arch in POST_ATTENTION_ONLY else "ffn_norm.weight"), (hidden,)
    experts = (network.experts,) if network.experts else ()
    suffix = "_exps" if experts else ""
    if experts:
        yield "ffn_gate_inp.weight", (network.experts, hidden)
    if arch in FUSED:
        yield "ffn_up.weight", (2 * width, hidden)
    else:
        yield f"ffn_gate{suffix}.weight", (*experts, width, hidden)
        yield f"ffn_up{suffix}.weight", (*experts, width, hidden)
    yield f"ffn_down{suffix}.weight", (*experts, hidden, width)
    if arch == "gpt-oss":
        yield "ffn_gate_inp.bias", (network.experts,)
        for name, rows in (("gate", width), ("up", width), ("down", hidden)):
            yield f"ffn_{name}_exps.bias", (network.experts, rows)


def _find_kind(name: str, shape: tuple[int, ...], kind: Kind, network: Network) -> Kind:
    """How a tensor is stored: small ones in full, as converters leave them."""
    small = len(shape) == 1 or name.endswith((".bias", "_a", "_d", "conv1d.weight", "conv.weight", "inp.weight"))
    if small or name.endswith("ssm_norm.weight"):
        return Kind.F32
    if network.arch == "gpt-oss":
        return Kind.MXFP4 if "_exps" in name else Kind.Q8_0
    return kind


def _count_bytes(shape: tuple[int, ...], kind: Kind) -> int:
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return prod(shape) // per_block * block_bytes


def _in_bytes(shape: tuple[int, ...], kind: Kind) -> tuple[int, ...]:
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return (*shape[:-1], shape[-1] // per_block * block_bytes)


def _make_tile(kind: Kind) -> memoryview:
    """Blocks of random bits under a small scale; ones in full precision."""
    if kind is Kind.F32:
        return memoryview(np.ones(TILE_BLOCKS, np.float32).tobytes())
    blocks = np.random.default_rng(0).integers(0, 256, (TILE_BLOCKS, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    if kind is Kind.MXFP4:
        blocks[:, 0] = MXFP4_SCALE
    else:
        blocks[:, :2] = np.frombuffer(SCALE_BYTES, np.uint8)
    return memoryview(blocks.tobytes())


def _add_shape(writer: gguf.GGUFWriter, network: Network) -> None:
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(network.hidden)
    writer.add_block_count(network.layers)
    writer.add_feed_forward_length(network.feed_forward)
    writer.add_head_count(network.heads)
    by_layer = [network.kv_heads * attends for attends in network.is_attending]
    writer.add_head_count_kv(network.kv_heads if 0 not in by_layer or network.arch == "qwen35" else by_layer)
    writer.add_key_length(network.head_dim)
    writer.add_value_length(network.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(network.head_dim)
    if network.window:
        writer.add_sliding_window(network.window)
    if network.experts:
        writer.add_expert_count(network.experts)
        writer.add_expert_used_count(network.experts_used)
        writer.add_expert_feed_forward_length(network.feed_forward)
    if network.arch == "lfm2":
        writer.add_shortconv_l_cache(network.kernel)
    if network.inner:
        writer.add_ssm_inner_size(network.inner)
        writer.add_ssm_state_size(network.state)
        writer.add_ssm_group_count(network.groups)
        writer.add_ssm_conv_kernel(network.kernel)
        writer.add_ssm_time_step_rank(network.inner // (network.state if network.arch == "qwen35" else 64))
    if network.arch == "qwen35":
        writer.add_uint32("qwen35.full_attention_interval", network.attention_period)
        writer.add_rope_dimension_sections([network.head_dim // 8] * 4)
    if network.arch == "granite":
        writer.add_logit_scale(1.0)


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    plain = [f"<0x{byte:02X}>" for byte in range(256)]
    plain += [f"t{number}" for number in range(size - len(SPECIAL_TOKENS) - len(plain))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*SPECIAL_TOKENS, *plain])
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * (size - len(kinds))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

"""The memory a build needs, checked against what the engines themselves were seen to allocate."""

from __future__ import annotations

import pytest
from catalog_examples import ONNX_VARIANT, QWEN3_4B, VARIANT, make_model
from hypothesis import given
from hypothesis import strategies as st

from localfirst.catalog.fit import find_context, find_need
from localfirst.catalog.memory import litert, openvino
from localfirst.catalog.memory.build import describe
from localfirst.choices import ONNX_PREFILL_TOKENS, find_openvino_prefill_tokens
from localfirst.types import Architecture, KvGroup, Need, RecurrentGroup, Variant
from localfirst.units import GIB, MIB


def find_terms(architecture: Architecture, context_tokens: int) -> Need:
    need = find_need(make_model(architecture=architecture), VARIANT, context_tokens)
    assert need is not None
    return need


@pytest.mark.parametrize(
    ("groups", "context_tokens", "kv_mib"),
    [
        pytest.param((KvGroup(32, 5, 64),), 4096, 160, id="SmolLM2 360M"),
        pytest.param((KvGroup(16, 8, 64),), 4096, 128, id="Llama 3.2 1B"),
        pytest.param((KvGroup(16, 8, 64),), 32_768, 1024, id="Llama 3.2 1B, long"),
        pytest.param((KvGroup(36, 8, 128),), 8192, 1152, id="Qwen3 4B"),
        pytest.param((KvGroup(5, 1, 256, 512), KvGroup(1, 1, 256)), 4096, 4 + 3.75, id="two caches as in Gemma 3"),
        pytest.param((KvGroup(5, 1, 256, 1024), KvGroup(1, 1, 256)), 16_384, 16 + 6.25, id="a wider window"),
        pytest.param((KvGroup(16, 8, 64),), 4000, 128, id="a context is rounded up to 256 cells"),
    ],
)
def test_the_cache_is_what_llama_cpp_logs(groups: tuple[KvGroup, ...], context_tokens: int, kv_mib: float) -> None:
    assert find_terms(Architecture(kv_groups=groups), context_tokens).kv_bytes == kv_mib * MIB


@pytest.mark.parametrize(
    ("vocab", "hidden", "feed_forward", "heads", "head_dim", "window", "context_tokens", "measured_mib"),
    [
        pytest.param(49_152, 960, 2560, 15, 64, None, 4096, 7.10, id="SmolLM2 360M"),
        pytest.param(49_152, 960, 2560, 15, 64, None, 16_384, 10.10, id="SmolLM2 360M, long"),
        pytest.param(4096, 2048, 8192, 32, 64, None, 4096, 18.00, id="Llama 3.2 1B"),
        pytest.param(4096, 2560, 9728, 32, 128, None, 4096, 21.50, id="Qwen3 4B"),
        pytest.param(4096, 2560, 9728, 32, 128, None, 16_384, 24.50, id="Qwen3 4B, long"),
        pytest.param(64_000, 1536, 8960, 12, 128, None, 4096, 17.88, id="Qwen2.5 1.5B"),
        pytest.param(8192, 1024, 4096, 16, 64, None, 16_384, 12.50, id="small"),
        pytest.param(4096, 512, 1024, 64, 128, None, 4096, 10.25, id="many heads"),
        pytest.param(4096, 512, 1024, 64, 128, None, 16_384, 13.25, id="many heads, long"),
        pytest.param(50_000, 1152, 6912, 4, 256, 1024, 4096, 14.26, id="Gemma 3 with a wide window"),
        pytest.param(8192, 640, 2048, 4, 256, 512, 16_384, 8.76, id="Gemma 3 270M, long"),
        pytest.param(4096, 1024, 8 * 1536, 16, 64, None, 4096, 21.50, id="eight experts at a time"),
    ],
)
def test_the_compute_buffer_is_what_llama_cpp_logs(
    vocab: int,
    hidden: int,
    feed_forward: int,
    heads: int,
    head_dim: int,
    window: int | None,
    context_tokens: int,
    measured_mib: float,
) -> None:
    """As xllamacpp 2026.10 (llama.cpp b11549) logs it with a micro-batch of 128 and flash attention, on the CPU."""
    groups = (KvGroup(1, 1, head_dim), KvGroup(1, 1, head_dim, window))
    architecture = Architecture(
        hidden_size=hidden, heads=heads, vocab_size=vocab, kv_groups=groups, feed_forward_size=feed_forward
    )
    output_bytes = 4 * vocab
    compute_mib = (find_terms(architecture, context_tokens).compute_bytes - output_bytes) / MIB
    assert compute_mib == pytest.approx(measured_mib, abs=0.02)


def test_weights_and_runtime_are_the_other_terms() -> None:
    need = find_terms(QWEN3_4B, 8192)
    compute_bytes = 4 * (128 * (3 * 9728 + 5 * 2560 + 4096 + 16) + 151_936)
    assert need == Need(2_500_000_000, 1152 * MIB, compute_bytes, 150 * MIB)
    assert need.total_bytes == 2_500_000_000 + 1302 * MIB + compute_bytes


def test_the_copies_of_a_sliding_window_are_counted() -> None:
    shape = QWEN3_4B._replace(kv_groups=(KvGroup(22, 1, 256, 512), KvGroup(4, 1, 256)))
    assert find_terms(shape, 8192).runtime_bytes == int((150 + 2 * 16.5) * MIB)


@pytest.mark.parametrize(
    ("group", "state_mib"),
    [
        pytest.param(RecurrentGroup(18, 2048, 128, 16), 19.26562, id="gated delta net, Qwen3.5 0.8B"),
        pytest.param(RecurrentGroup(36, 8192, 128), 147.48046, id="Mamba 2, Granite 4.0 H Small"),
        pytest.param(RecurrentGroup(10, 2048, conv_kernel=3), 0.15625, id="short convolution, LFM2 1.2B"),
    ],
)
def test_a_recurrent_state_is_counted_once_and_for_each_checkpoint(group: RecurrentGroup, state_mib: float) -> None:
    hybrid = QWEN3_4B._replace(recurrent_groups=(group,))
    for context_tokens in (4096, 32_768):
        with_state, without = find_terms(hybrid, context_tokens), find_terms(QWEN3_4B, context_tokens)
        assert (with_state.kv_bytes - without.kv_bytes) / MIB == pytest.approx(state_mib, abs=0.001)
        assert with_state.total_bytes - without.total_bytes == 3 * (with_state.kv_bytes - without.kv_bytes)


def test_an_onnx_build_for_the_cpu_caches_in_four_bytes_for_the_whole_context() -> None:
    shape = Architecture(hidden_size=1024, heads=16, vocab_size=261, kv_groups=(KvGroup(8, 4, 64, 512),))
    model = make_model(architecture=shape)
    short, full = (find_need(model, ONNX_VARIANT, tokens) for tokens in (1024, 8192))
    assert short is not None
    assert full is not None
    assert full.kv_bytes - short.kv_bytes == 112 * MIB
    on_gpu = find_need(model, ONNX_VARIANT._replace(devices=("cuda",)), 8192)
    assert on_gpu is not None
    assert on_gpu.kv_bytes * 2 == full.kv_bytes


@pytest.mark.parametrize(
    ("vocab", "feed_forward", "measured_mib"),
    [(288, 2048, 17), (288, 4096, 26), (65_536, 2048, 82), (65_536, 4096, 89)],
)
def test_an_onnx_prompt_takes_what_the_engine_was_seen_to_take(
    vocab: int, feed_forward: int, measured_mib: float
) -> None:
    """Measured in chunks of 256 tokens; the need grows with the chunk."""
    shape = Architecture(
        hidden_size=1024,
        heads=16,
        vocab_size=vocab,
        kv_groups=(KvGroup(8, 4, 64),),
        feed_forward_size=feed_forward,
    )
    need = find_need(make_model(architecture=shape), ONNX_VARIANT, 8192)
    assert need is not None
    assert need.compute_bytes * 256 / ONNX_PREFILL_TOKENS / MIB == pytest.approx(measured_mib, abs=1.5)


@pytest.mark.parametrize(
    ("layers", "hidden", "feed_forward", "heads", "kv_heads", "vocab", "file_mib", "peak_mib"),
    [
        pytest.param(30, 576, 1536, 9, 3, 49_152, 191, 268, id="SmolLM2 135M"),
        pytest.param(2, 4096, 11_008, 32, 32, 32_000, 822, 624, id="Llama 2 7B, two layers"),
        pytest.param(12, 896, 4864, 14, 2, 151_936, 712, 446, id="Qwen2.5 0.5B, half"),
        pytest.param(4, 2048, 8192, 32, 8, 128_256, 1308, 655, id="Llama 3.2 1B, four layers"),
    ],
)
def test_an_onnx_embedding_stays_in_its_file(
    layers: int, hidden: int, feed_forward: int, heads: int, kv_heads: int, vocab: int, file_mib: int, peak_mib: int
) -> None:
    """The peak of a process with onnxruntime-genai 0.18 that filled a context of 1,024 tokens, int4 weights."""
    head_dim = hidden // heads
    shape = Architecture(
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        vocab_size=vocab,
        kv_groups=(KvGroup(layers, kv_heads, head_dim),),
        feed_forward_size=feed_forward,
    )
    in_layers = layers * (2 * hidden * hidden + 2 * hidden * kv_heads * head_dim + 3 * hidden * feed_forward)
    model = make_model(architecture=shape, parameters=in_layers + 2 * vocab * hidden)
    need = find_need(model, ONNX_VARIANT._replace(size_bytes=file_mib * MIB), 1024)
    assert need is not None
    assert need.total_bytes / MIB == pytest.approx(peak_mib, abs=20)
    assert need.weights_bytes == file_mib * MIB - 4 * vocab * hidden


def test_an_embedding_that_the_file_cannot_hold_in_full_is_not_taken_out() -> None:
    shape = Architecture(hidden_size=2048, vocab_size=128_256)
    model = make_model(architecture=shape, parameters=1_235_814_400)
    need = find_need(model, ONNX_VARIANT._replace(size_bytes=1_200_000_000), 1024)
    assert need is not None
    assert need.weights_bytes == 1_200_000_000


MLX_VARIANT = VARIANT._replace(name="4bit", format="mlx", quantization="4bit", devices=("metal",))
OPENVINO_VARIANT = VARIANT._replace(name="int4", format="openvino", quantization="int4", devices=("cpu",))


@pytest.mark.parametrize(
    ("group", "hidden", "feed_forward", "heads", "context_tokens", "weights_mib", "peak_mib"),
    [
        pytest.param(KvGroup(6, 3, 64), 576, 1536, 9, 4096, 27, 72, id="SmolLM2 135M"),
        pytest.param(KvGroup(3, 8, 64), 2048, 8192, 32, 1024, 239, 291, id="Llama 3.2 1B"),
        pytest.param(KvGroup(3, 32, 128), 4096, 11_008, 32, 4096, 466, 833, id="Llama 2 7B"),
        pytest.param(KvGroup(3, 8, 128), 4096, 14_336, 32, 4096, 495, 672, id="Mistral 7B"),
        pytest.param(KvGroup(6, 8, 128), 1024, 3072, 16, 4096, 134, 290, id="Qwen3 0.6B"),
        pytest.param(KvGroup(3, 8, 128), 4096, 12_288, 32, 1024, 978, 1066, id="Qwen3 8B"),
        pytest.param(KvGroup(3, 4, 128), 2048, 6144, 32, 4096, 1337, 1472, id="Qwen3 30B A3B"),
    ],
)
def test_mlx_takes_what_it_was_seen_to_allocate(
    group: KvGroup, hidden: int, feed_forward: int, heads: int, context_tokens: int, weights_mib: int, peak_mib: int
) -> None:
    """`mx.get_peak_memory()` of mlx 0.32.4, without the process around it; a few layers of each."""
    shape = Architecture(
        layers=group.layers, hidden_size=hidden, heads=heads, kv_groups=(group,), feed_forward_size=feed_forward
    )
    variant = MLX_VARIANT._replace(size_bytes=weights_mib * MIB)
    need = find_need(make_model(architecture=shape), variant, context_tokens)
    assert need is not None
    assert (need.total_bytes - need.runtime_bytes) / MIB == pytest.approx(peak_mib, abs=12)


def test_mlx_keeps_whole_contexts_in_few_bits_and_windows_as_they_are() -> None:
    """By hand: 1,024 cells of 2 heads of 64, and 512 + 255 of a window, keys and values of 2 bytes each."""
    groups = (KvGroup(1, 2, 64), KvGroup(1, 2, 64, 512))
    model = make_model(architecture=Architecture(layers=2, hidden_size=128, heads=2, kv_groups=groups))
    needs = [find_need(model, MLX_VARIANT._replace(size_bytes=MIB), 1024, cache) for cache in ("f16", "q8_0", "q4_0")]
    whole, window = 1024 * 2 * 2 * 64 * 2, 767 * 2 * 2 * 64 * 2
    shares = (1, 8.5 / 16, 4.5 / 16)
    assert [need.kv_bytes for need in needs if need] == [int(whole * share) + window for share in shares]


OPENVINO_SHAPES = ("group", "hidden", "feed_forward", "heads", "vocab", "untied", "need_mib")


@pytest.mark.parametrize(
    OPENVINO_SHAPES,
    [
        pytest.param(KvGroup(30, 3, 64), 576, 1536, 9, 49_152, False, 259, id="SmolLM2 135M"),
        pytest.param(KvGroup(28, 8, 128), 1024, 3072, 16, 151_936, False, 784, id="Qwen3 0.6B"),
        pytest.param(KvGroup(4, 8, 128), 2560, 9728, 32, 151_936, False, 702, id="Qwen3 4B, four layers"),
    ],
)
def test_openvino_takes_what_it_was_seen_to_take(
    group: KvGroup, hidden: int, feed_forward: int, heads: int, vocab: int, untied: bool, need_mib: int
) -> None:
    found_mib = find_openvino_mib(group, hidden, feed_forward, heads, vocab, untied)
    assert found_mib == pytest.approx(need_mib, rel=0.05)


@pytest.mark.parametrize(
    OPENVINO_SHAPES,
    [
        pytest.param(KvGroup(30, 3, 64), 576, 1536, 9, 49_152, False, 215, id="SmolLM2 135M"),
        pytest.param(KvGroup(4, 32, 64), 2048, 5632, 32, 32_000, True, 320, id="many heads"),
        pytest.param(KvGroup(4, 1, 256), 1152, 6912, 4, 262_144, False, 461, id="a large vocabulary"),
        pytest.param(KvGroup(2, 8, 128), 4096, 14_336, 32, 128_256, True, 905, id="Llama 3.1 8B, two layers"),
    ],
)
def test_openvino_takes_what_it_was_seen_to_take_reading_256_tokens_at_a_time(
    group: KvGroup,
    hidden: int,
    feed_forward: int,
    heads: int,
    vocab: int,
    untied: bool,
    need_mib: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino, "find_openvino_prefill_tokens", lambda _: 256)
    monkeypatch.setattr(openvino, "NARROW", 0)
    found_mib = find_openvino_mib(group, hidden, feed_forward, heads, vocab, untied)
    assert found_mib == pytest.approx(need_mib, rel=0.05)


def find_openvino_mib(group: KvGroup, hidden: int, feed_forward: int, heads: int, vocab: int, untied: bool) -> float:
    """openvino-genai 2026.4.1 limited to AVX2, a context of 1,024 tokens: beyond the import, and without a tokenizer.

    Weights of 4 bits with a 16-bit scale for each 128, tables of 8 bits.
    """
    attention = 2 * hidden * group.head_dim * (heads + group.kv_heads)
    in_layers = group.layers * (attention + 3 * hidden * feed_forward)
    tables = vocab * hidden * (2 if untied else 1)
    shape = Architecture(
        layers=group.layers,
        hidden_size=hidden,
        heads=heads,
        vocab_size=vocab,
        kv_groups=(group,),
        feed_forward_size=feed_forward,
        tied=not untied,
    )
    model = make_model(architecture=shape, parameters=in_layers + tables)
    variant = OPENVINO_VARIANT._replace(size_bytes=int(in_layers * (4 + 16 / 128) / 8) + tables)
    need = find_need(model, variant, 1024)
    assert need is not None
    imported_bytes = (59 + 8) * MIB + openvino.TOKENIZER_BYTES * vocab
    return (need.total_bytes - imported_bytes) / MIB


LITERT_VARIANT = VARIANT._replace(name="int8", format="litertlm", quantization="int8", devices=("cpu",))


@pytest.mark.parametrize(
    ("group", "hidden", "feed_forward", "heads", "vocab", "cells", "batch_tokens", "tied", "file_mib", "peak_mib"),
    [
        pytest.param(KvGroup(6, 2, 64), 512, 1536, 8, 32_000, 1024, 128, False, 50.9, 156.9, id="base"),
        pytest.param(KvGroup(6, 2, 64), 512, 1536, 8, 32_000, 1024, 128, True, 34.9, 156.4, id="tied"),
        pytest.param(KvGroup(6, 2, 64), 512, 1536, 8, 32_000, 2048, 128, False, 50.9, 169.5, id="a longer cache"),
        pytest.param(KvGroup(6, 2, 64), 512, 1536, 8, 32_000, 1024, 512, False, 50.9, 184.1, id="more at a time"),
        pytest.param(KvGroup(6, 8, 64), 512, 1536, 8, 32_000, 2048, 128, False, 53.2, 207.3, id="many kv heads"),
        pytest.param(KvGroup(4, 8, 128), 1024, 3072, 16, 64_000, 1024, 128, True, 125.8, 338.1, id="Qwen3"),
    ],
)
def test_litert_takes_what_it_was_seen_to_take(
    group: KvGroup,
    hidden: int,
    feed_forward: int,
    heads: int,
    vocab: int,
    cells: int,
    batch_tokens: int,
    tied: bool,
    file_mib: float,
    peak_mib: float,
) -> None:
    """The peak of a process with litert-lm-api 0.18.1 and a vocabulary without merges."""
    in_layers = group.layers * (2 * hidden * group.head_dim * (heads + group.kv_heads) + 3 * hidden * feed_forward)
    shape = Architecture(
        layers=group.layers,
        hidden_size=hidden,
        heads=heads,
        vocab_size=vocab,
        kv_groups=(group,),
        feed_forward_size=feed_forward,
        tied=tied,
    )
    model = make_model(architecture=shape, parameters=in_layers + vocab * hidden * (1 if tied else 2))
    variant = LITERT_VARIANT._replace(size_bytes=int(file_mib * MIB), context_tokens=cells)
    need = find_need(model, variant, 512)
    assert need is not None
    build = describe(model, variant, int(file_mib * MIB))
    most, said = (litert.find_compute(build, cells, tokens) for tokens in (litert.BATCH_TOKENS, batch_tokens))
    plain_bytes = need.total_bytes - most + said - (litert.TOKENIZER_BYTES - 240) * vocab
    assert plain_bytes / MIB == pytest.approx(peak_mib, rel=0.03)


@pytest.mark.parametrize("variant", [OPENVINO_VARIANT, LITERT_VARIANT], ids=["OpenVINO", "LiteRT-LM"])
def test_an_output_layer_of_its_own_is_believed_only_where_it_is_known(variant: Variant) -> None:
    unknown, tied, untied = (
        find_need(make_model(architecture=QWEN3_4B._replace(tied=known)), variant, 8192)
        for known in (None, True, False)
    )
    assert untied is not None
    assert unknown is not None
    assert unknown == tied
    assert untied.total_bytes < unknown.total_bytes


def test_a_purely_recurrent_model_caches_no_keys() -> None:
    mamba = Architecture(layers=64, hidden_size=4096, recurrent_groups=(RecurrentGroup(64, 8192, 16),))
    short, full = (find_terms(mamba, tokens) for tokens in (4096, 32_768))
    assert short.kv_bytes == full.kv_bytes == 64 * 4 * (3 * (8192 + 2 * 16) + 8192 * 16)


def test_unknown_weights_make_the_need_unknown() -> None:
    assert find_need(make_model(), VARIANT._replace(size_bytes=None), 8192) is None


@pytest.mark.parametrize(
    ("parameters", "kv_bytes"), [(4_000_000_000, 1_200_000_000), (None, 750_000_000)], ids=["by parameters", "by bytes"]
)
def test_an_unknown_architecture_has_bounds(parameters: int | None, kv_bytes: int) -> None:
    need = find_need(make_model(architecture=Architecture(), parameters=parameters), VARIANT, 8192)
    assert need == Need(2_500_000_000, kv_bytes, 4 * (128 * (3 * 16_384 + 5 * 4096 + 4096 + 16) + 262_144), 150 * MIB)


ENOUGH = 1000 * GIB


@pytest.mark.parametrize(
    ("wanted", "trained", "budget_bytes", "chosen"),
    [
        pytest.param(None, 40_960, ENOUGH, 8192, id="the default"),
        pytest.param(None, 2048, ENOUGH, 2048, id="what it was trained for, where that is less"),
        pytest.param(32_000, 40_960, ENOUGH, 32_000, id="what was asked for"),
        pytest.param(100_000, 40_960, ENOUGH, 40_960, id="never beyond what it was trained for"),
        pytest.param(16_384, None, ENOUGH, 16_384, id="unknown limit"),
        pytest.param(None, 40_960, None, 8192, id="unknown budget"),
        pytest.param(None, 40_960, 1, 4096, id="never shortened below 4,096"),
        pytest.param(1000, 40_960, 1, 1000, id="nor where less was asked for"),
        pytest.param(10_000, 40_960, 1, 4112, id="in steps of 256"),
    ],
)
def test_the_context_is_the_longest_allowed(
    wanted: int | None, trained: int | None, budget_bytes: int | None, chosen: int
) -> None:
    model = make_model(architecture=QWEN3_4B._replace(context_tokens=trained))
    tokens, need = find_context(model, VARIANT, wanted, budget_bytes)
    assert (tokens, need) == (chosen, find_need(model, VARIANT, chosen))


def test_a_build_with_a_context_of_its_own_keeps_it() -> None:
    tokens, _ = find_context(make_model(), VARIANT._replace(context_tokens=4224), 8192, ENOUGH)
    assert tokens == 4224


@given(st.integers(4096, 40_960), st.integers(3 * GIB, 12 * GIB))
def test_the_chosen_context_fits_and_the_next_longer_one_would_not(wanted: int, budget_bytes: int) -> None:
    model = make_model()
    chosen, need = find_context(model, VARIANT, wanted, budget_bytes)
    next_need = find_need(model, VARIANT, chosen + 256)
    assert need is not None
    assert next_need is not None
    assert need.total_bytes <= budget_bytes or chosen < 4096 + 256
    assert chosen == wanted or next_need.total_bytes > budget_bytes


groups = st.builds(
    KvGroup, st.integers(1, 80), st.integers(1, 16), st.integers(16, 256), st.none() | st.integers(1, 9000)
)
architectures = st.builds(
    Architecture,
    hidden_size=st.none() | st.integers(64, 16_384),
    heads=st.none() | st.integers(1, 128),
    vocab_size=st.none() | st.integers(100, 300_000),
    kv_groups=st.lists(groups, max_size=3).map(tuple),
    feed_forward_size=st.none() | st.integers(64, 65_536),
)


@given(architectures, st.sampled_from([VARIANT, ONNX_VARIANT]), st.integers(1, 200_000), st.integers(1, 200_000))
def test_a_longer_context_never_needs_less(architecture: Architecture, variant: object, one: int, other: int) -> None:
    model = make_model(architecture=architecture)
    shorter, longer = (find_need(model, variant, tokens) for tokens in sorted((one, other)))
    assert shorter is not None
    assert longer is not None
    assert shorter.total_bytes <= longer.total_bytes


@pytest.mark.parametrize(("tokens", "measured_mib"), [(500, 28), (1000, 84), (2000, 124), (4000, 306)])
def test_openvino_embeds_in_about_what_it_was_seen_to_take(tokens: int, measured_mib: float) -> None:
    """One network of random weights; what a text took beyond a model that had read a short one."""
    groups = (KvGroup(8, 4, 64),)
    architecture = Architecture(layers=8, hidden_size=512, feed_forward_size=1536, heads=8, kv_groups=groups)
    build = describe(make_model(architecture=architecture), OPENVINO_VARIANT, 10 * MIB)._replace(embeds=True)
    need = openvino.find_need(build, tokens, "f16")
    assert need.kv_bytes == 0
    assert abs(need.compute_bytes / MIB - measured_mib) < 40


@pytest.mark.parametrize(
    ("weights_bytes", "tokens"),
    [
        pytest.param(90_000_000, 256, id="135 M parameters, as many as the engine's own default"),
        pytest.param(300_000_000, 128, id="half a billion"),
        pytest.param(700_000_000, 64, id="a billion, a quarter of a second"),
        pytest.param(40_000_000_000, 64, id="seventy billion"),
        pytest.param(0, 256, id="none that are known"),
    ],
)
def test_openvino_reads_more_of_a_prompt_at_once_the_smaller_the_model(weights_bytes: int, tokens: int) -> None:
    assert find_openvino_prefill_tokens(weights_bytes) == tokens

"""The shapes that memory predictions are checked on: numbers of real networks, weights are made up.

Each row is a published `config.json`. Layers are fewer than the real ones where the file would be larger than a
gigabyte: every layer adds the same, and a few of them show how much (not one alone, since the last layer computes a
single token).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from localfirst.types import Architecture, KvGroup, RecurrentGroup


@dataclass(frozen=True, slots=True)
class Network:
    """A network's shape. Sizes are in elements."""

    arch: str
    """As llama.cpp calls it: `llama`, `gemma3`, ..."""
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool = False
    """The output layer is the embedding, stored once."""
    window: int | None = None
    """Sliding window, in tokens."""
    window_period: int = 1
    """With a window, every n-th layer attends to the whole context; 1: none does."""
    experts: int = 0
    experts_used: int = 0
    """With experts, `feed_forward` is the width of one."""
    attention_period: int = 1
    """Every n-th layer attends, the others are recurrent."""
    inner: int = 0
    """Of recurrent layers: width; 0 in a short convolution, which has no state besides."""
    state: int = 0
    groups: int = 1
    kernel: int = 4

    @property
    def is_attending(self) -> list[bool]:
        """For each layer: whether it attends, or is recurrent."""
        return [(layer + 1) % self.attention_period == 0 for layer in range(self.layers)]

    @property
    def is_windowed(self) -> list[bool]:
        """For each layer: whether it attends to a window only."""
        period = self.window_period
        return [bool(self.window) and (period == 1 or (layer + 1) % period != 0) for layer in range(self.layers)]

    def to_architecture(self, context_tokens: int) -> Architecture:
        """What the catalog says of such a network."""
        attending = [windowed for windowed, attends in zip(self.is_windowed, self.is_attending, strict=True) if attends]
        groups = ((attending.count(False), None), (attending.count(True), self.window))
        recurrent = self.layers - len(attending)
        return Architecture(
            layers=self.layers,
            hidden_size=self.hidden,
            heads=self.heads,
            vocab_size=self.vocabulary,
            context_tokens=context_tokens,
            kv_groups=tuple(KvGroup(count, self.kv_heads, self.head_dim, window) for count, window in groups if count),
            recurrent_groups=(
                (RecurrentGroup(recurrent, self.inner or self.hidden, self.state, self.groups, self.kernel),)
                if recurrent
                else ()
            ),
            feed_forward_size=self.feed_forward * max(1, self.experts_used),
            tied=self.tied,
        )


LLAMA_1B = Network("llama", 16, 2048, 8192, 32, 8, 64, 128_256, tied=True)
QWEN3_4B = Network("qwen3", 9, 2560, 9728, 32, 8, 128, 151_936, tied=True)
GEMMA3_1B = Network("gemma3", 26, 1152, 6912, 4, 1, 256, 262_144, tied=True, window=512, window_period=6)
QWEN3_A3B = Network("qwen3moe", 3, 2048, 768, 32, 4, 128, 151_936, experts=128, experts_used=8)

NETWORKS: dict[str, Network] = {
    "smollm2-135m": Network("llama", 30, 576, 1536, 9, 3, 64, 49_152, tied=True),
    "smollm2-360m": Network("llama", 32, 960, 2560, 15, 5, 64, 49_152, tied=True),
    "smollm2-1.7b": Network("llama", 12, 2048, 8192, 32, 32, 64, 49_152, tied=True),
    "tinyllama-1.1b": Network("llama", 22, 2048, 5632, 32, 4, 64, 32_000),
    "llama-3.2-1b": LLAMA_1B,
    "llama-3.2-1b untied": replace(LLAMA_1B, tied=False),
    "llama-3.2-3b": Network("llama", 12, 3072, 8192, 24, 8, 128, 128_256, tied=True),
    "llama-2-7b": Network("llama", 4, 4096, 11_008, 32, 32, 128, 32_000),
    "llama-3.1-8b": Network("llama", 4, 4096, 14_336, 32, 8, 128, 128_256),
    "llama-3.3-70b": Network("llama", 2, 8192, 28_672, 64, 8, 128, 128_256),
    "mistral-7b": Network("llama", 5, 4096, 14_336, 32, 8, 128, 32_768),
    "mistral-small-24b": Network("llama", 2, 5120, 32_768, 32, 8, 128, 131_072),
    "smollm3-3b": Network("smollm3", 12, 2048, 11_008, 16, 4, 128, 128_256, tied=True),
    "qwen2.5-0.5b": Network("qwen2", 24, 896, 4864, 14, 2, 64, 151_936, tied=True),
    "qwen2.5-1.5b": Network("qwen2", 28, 1536, 8960, 12, 2, 128, 151_936, tied=True),
    "qwen2.5-7b": Network("qwen2", 4, 3584, 18_944, 28, 4, 128, 152_064),
    "qwen2.5-32b": Network("qwen2", 2, 5120, 27_648, 40, 8, 128, 152_064),
    "qwen3-0.6b": Network("qwen3", 28, 1024, 3072, 16, 8, 128, 151_936, tied=True),
    "qwen3-1.7b": Network("qwen3", 28, 2048, 6144, 16, 8, 128, 151_936, tied=True),
    "qwen3-4b": QWEN3_4B,
    "qwen3-8b": Network("qwen3", 4, 4096, 12_288, 32, 8, 128, 151_936),
    "qwen3-14b": Network("qwen3", 2, 5120, 17_408, 40, 8, 128, 151_936),
    "phi-3.5-mini": Network("phi3", 16, 3072, 8192, 32, 32, 96, 32_064),
    "phi-4-mini": Network("phi3", 8, 3072, 8192, 24, 8, 128, 200_064, tied=True),
    "phi-4": Network("phi3", 2, 5120, 17_920, 40, 10, 128, 100_352),
    "gemma-2-2b": Network("gemma2", 12, 2304, 9216, 8, 4, 256, 256_000, tied=True, window=4096, window_period=2),
    "gemma-3-270m": Network("gemma3", 18, 640, 2048, 4, 1, 256, 262_144, tied=True, window=512, window_period=6),
    "gemma-3-1b": GEMMA3_1B,
    "gemma-3-4b": Network("gemma3", 12, 2560, 10_240, 8, 4, 256, 262_144, tied=True, window=1024, window_period=6),
    "gemma-3-12b": Network("gemma3", 6, 3840, 15_360, 16, 8, 256, 262_144, tied=True, window=1024, window_period=6),
    "olmo-2-1b": Network("olmo2", 16, 2048, 8192, 16, 16, 128, 100_352),
    "granite-3.3-2b": Network("granite", 16, 2048, 8192, 32, 8, 64, 49_159, tied=True),
    "qwen3-30b-a3b": QWEN3_A3B,
    "olmoe-7b": Network("olmoe", 2, 2048, 1024, 16, 16, 128, 50_304, experts=64, experts_used=8),
    "mixtral-8x7b": Network("llama", 2, 4096, 14_336, 32, 8, 128, 32_000, experts=8, experts_used=2),
    "gpt-oss-20b": Network(
        "gpt-oss", 2, 2880, 2880, 64, 8, 64, 201_088, window=128, window_period=2, experts=32, experts_used=4
    ),
    "lfm2-350m": Network("lfm2", 16, 1024, 4608, 16, 8, 64, 65_536, tied=True, attention_period=3, kernel=3),
    "lfm2-1.2b": Network("lfm2", 16, 2048, 8192, 32, 8, 64, 65_536, tied=True, attention_period=3, kernel=3),
    "qwen3.5-0.8b": Network(
        "qwen35",
        24,
        1024,
        3584,
        8,
        2,
        256,
        248_320,
        tied=True,
        attention_period=4,
        inner=2048,
        state=128,
        groups=16,
    ),
    "qwen3.5-4b": Network(
        "qwen35",
        8,
        2560,
        9216,
        16,
        4,
        256,
        248_320,
        tied=True,
        attention_period=4,
        inner=4096,
        state=128,
        groups=16,
    ),
    "granite-4.0-h-1b": Network(
        "granitehybrid",
        20,
        1536,
        4096,
        12,
        4,
        128,
        100_352,
        tied=True,
        attention_period=10,
        inner=3072,
        state=128,
    ),
    "granite-4.0-h-small": Network(
        "granitehybrid",
        10,
        4096,
        768,
        32,
        8,
        128,
        100_352,
        tied=True,
        attention_period=10,
        inner=8192,
        state=128,
        experts=8,
        experts_used=4,
    ),
}
"""By the name of the model whose shape it is."""

ONNX_NETWORKS: dict[str, Network] = {
    name: replace(NETWORKS[name], layers=layers)
    for name, layers in {
        "smollm2-135m": 30,
        "smollm2-360m": 16,
        "smollm2-1.7b": 4,
        "tinyllama-1.1b": 8,
        "llama-3.2-1b": 4,
        "llama-2-7b": 2,
        "mistral-7b": 2,
        "qwen2.5-0.5b": 12,
        "qwen2.5-1.5b": 6,
        "phi-3.5-mini": 3,
        "qwen2.5-7b": 1,
        "granite-3.3-2b": 4,
    }.items()
}
"""Those with plain attention, which is what our writer of ONNX folders knows; fewer layers, since it is slow."""

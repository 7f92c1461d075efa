"""What mlx-lm needs in memory, next to what is predicted: one process per model shape and context.

Run from the repository's root with the Python of an environment that has MLX, here the build for Linux's CPU:

    python -m venv /tmp/mlx && /tmp/mlx/bin/pip install 'mlx[cpu]==0.32.4' mlx-lm==0.32.2
    PYTHONPATH=src /tmp/mlx/bin/python -m benchmarks.fit.measure_mlx [--shape NAME] [--context N] [--exact]

Each shape is written once as a 4-bit folder of random weights (few layers, real widths). A fresh process then loads it,
prefills a prompt that leaves room for eight tokens, in chunks of 256, decodes those eight and says what MLX's allocator
and the kernel counted; the last column is what the prediction misses the allocator's peak by.

mlx's quantized product for the processor reaches 0.3 GFLOP/s in bfloat16, hours for these shapes. Unless `--exact` is
given two things are therefore cut short: a product sums over the first 64 inputs only (the same primitive with the
same output), and all but the last chunks of the prompt go into the cache as zeros, chunk by chunk as a prefill would.
Weights, activations, attention and cache have their whole size. `--exact` checks on small shapes that the peak is the
same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, load_model

from localfirst.catalog.memory import mlx as memory
from localfirst.catalog.memory.build import Build
from localfirst.choices import MLX_PREFILL_TOKENS
from localfirst.types import KvGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024**2
ANSWER_TOKENS = 8
BITS, GROUP = 4, 64
CONTEXTS = (1024, 4096)
COMPUTED_CHUNKS = 2
"""Chunks at the prompt's end that are computed unless all are. The peak is in the last, where the cache is longest."""
DRAWN_AT_ONCE = 1 << 24
"""Elements that are drawn and quantized at a time, so that making a model needs little memory."""


@dataclass(frozen=True)
class Shape:
    """A model's numbers, as its `config.json` gives them, and how many of its layers are kept."""

    name: str
    model_type: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    tied: bool = True
    window: int | None = None
    global_every: int = 6
    experts: int = 0
    experts_used: int = 0

    def config(self) -> dict[str, Any]:
        """`config.json` as mlx-lm reads it."""
        config: dict[str, Any] = {
            "model_type": self.model_type,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.feed_forward,
            "vocab_size": self.vocabulary,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": self.tied,
            "quantization": {"group_size": GROUP, "bits": BITS, "mode": "affine"},
        }
        if self.window is not None:
            config |= {"sliding_window": self.window, "sliding_window_pattern": self.global_every}
            config |= {"query_pre_attn_scalar": self.head_dim, "rope_local_base_freq": 10000.0}
        if self.experts:
            config |= {"num_experts": self.experts, "num_experts_per_tok": self.experts_used, "norm_topk_prob": True}
            config |= {"moe_intermediate_size": self.feed_forward, "decoder_sparse_step": 1, "mlp_only_layers": []}
        return config

    def global_layers(self) -> int:
        """Layers that attend to the whole context."""
        return self.layers if self.window is None else self.layers // self.global_every


SHAPES = (
    Shape("smollm2-135m", "llama", 576, 6, 9, 3, 64, 1536, 49152),
    Shape("llama-3.2-1b", "llama", 2048, 3, 32, 8, 64, 8192, 128256),
    Shape("llama-3.2-3b", "llama", 3072, 3, 24, 8, 128, 8192, 128256),
    Shape("llama-2-7b", "llama", 4096, 3, 32, 32, 128, 11008, 32000, tied=False),
    Shape("mistral-7b", "llama", 4096, 3, 32, 8, 128, 14336, 32768, tied=False),
    Shape("qwen3-0.6b", "qwen3", 1024, 6, 16, 8, 128, 3072, 151936),
    Shape("qwen3-1.7b", "qwen3", 2048, 4, 16, 8, 128, 6144, 151936),
    Shape("qwen3-4b", "qwen3", 2560, 3, 32, 8, 128, 9728, 151936),
    Shape("qwen3-8b", "qwen3", 4096, 3, 32, 8, 128, 12288, 151936, tied=False),
    Shape("gemma3-270m", "gemma3_text", 640, 12, 4, 1, 256, 2048, 262144, window=512),
    Shape("gemma3-1b", "gemma3_text", 1152, 8, 4, 1, 256, 6912, 262144, window=512),
    Shape("gemma3-4b", "gemma3_text", 2560, 8, 8, 4, 256, 10240, 262144, window=1024),
    Shape("qwen3-30b-a3b", "qwen3_moe", 2048, 3, 32, 4, 128, 768, 151936, tied=False, experts=128, experts_used=8),
    Shape("moe-small", "qwen3_moe", 1024, 4, 16, 4, 64, 512, 50304, tied=True, experts=32, experts_used=4),
    Shape("phi-3.5-mini", "llama", 3072, 6, 32, 32, 96, 8192, 32064, tied=False),
    Shape("qwen3-14b", "qwen3", 5120, 3, 40, 8, 128, 17408, 151936, tied=False),
)
"""The last two were not looked at when the formula was made. The last layer's attention is never computed in a prefill,
so Gemma has two layers more than a round of local and global ones."""


def find_need(shape: Shape, context: int) -> int:
    """Bytes of the cache and of the widest moment of a prefill, as `catalog.memory.mlx` has them."""
    whole, windowed = shape.global_layers(), shape.layers - shape.global_layers()
    groups = (
        KvGroup(whole, shape.kv_heads, shape.head_dim),
        KvGroup(windowed, shape.kv_heads, shape.head_dim, shape.window),
    )
    build = Build(
        weights_bytes=0,
        parameters=0,
        bits=BITS,
        for_cpu=False,
        layers=shape.layers,
        hidden=shape.hidden,
        feed_forward=shape.feed_forward * (shape.experts_used or 1),
        heads=shape.heads,
        vocabulary=shape.vocabulary,
        table=0,
        fixed_context_tokens=0,
        untied=False,
        groups=tuple(group for group in groups if group.layers),
        recurrent_groups=(),
    )
    need = memory.find_need(build, context, "f16")
    return need.kv_bytes + need.compute_bytes


def make_model(shape: Shape, folder: Path) -> None:
    """Write the folder: random weights, quantized by `mx.quantize` piece by piece, scales and norms in bfloat16."""
    config = shape.config()
    make, arguments = _get_classes(config)
    model = make(arguments.from_dict(config))
    model.set_dtype(mx.bfloat16)
    nn.quantize(model, GROUP, BITS)
    tensors: dict[str, mx.array] = {}
    for name, lazy in tree_flatten(model.parameters()):
        if name.startswith("lm_head.") and shape.tied:
            continue
        if not name.endswith(".weight") or lazy.dtype != mx.uint32:
            if not name.endswith((".scales", ".biases")):
                tensors[name] = mx.ones(lazy.shape, mx.bfloat16)
            continue
        parts = [*draw_quantized(lazy.shape)]
        for suffix, pieces in zip(("weight", "scales", "biases"), zip(*parts, strict=True), strict=True):
            whole = mx.concatenate(pieces)
            tensors[name.removesuffix("weight") + suffix] = whole.reshape(*lazy.shape[:-1], -1)
            mx.eval(tensors[name.removesuffix("weight") + suffix])
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))


def draw_quantized(packed: tuple[int, ...]) -> Iterator[tuple[mx.array, ...]]:
    """Packed weight, scales and biases of a random matrix, some rows at a time."""
    inputs = packed[-1] * 32 // BITS
    rows = 1
    for size in packed[:-1]:
        rows *= size
    step = max(1, DRAWN_AT_ONCE // inputs)
    for start in range(0, rows, step):
        drawn = mx.random.normal((min(step, rows - start), inputs)) * inputs**-0.5
        piece = mx.quantize(drawn.astype(mx.bfloat16), GROUP, BITS)
        mx.eval(piece)
        yield piece


def read_peak_rss() -> int:
    """`VmHWM` of this process, in bytes: the most that was ever resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def shorten_products() -> None:
    """Let quantized products sum over the first group of inputs only."""
    short: dict[int, tuple[mx.array, ...]] = {}

    def cut(tensors: tuple[mx.array, ...]) -> tuple[mx.array, ...]:
        if id(tensors[0]) not in short:
            widths = (GROUP * BITS // 32, 1, 1)
            short[id(tensors[0])] = tuple(
                mx.contiguous(one[..., :width]) for one, width in zip(tensors, widths, strict=True)
            )
            mx.eval(short[id(tensors[0])])
        return short[id(tensors[0])]

    product, gathered = mx.quantized_matmul, mx.gather_qmm

    def short_product(x: mx.array, w: mx.array, scales: mx.array, biases: mx.array, **options: Any) -> mx.array:
        return product(x[..., :GROUP], *cut((w, scales, biases)), **options)

    def short_gathered(x: mx.array, w: mx.array, scales: mx.array, biases: mx.array, **options: Any) -> mx.array:
        return gathered(x[..., :GROUP], *cut((w, scales, biases)), **options)

    mx.quantized_matmul, mx.gather_qmm = short_product, short_gathered


def fill(cache: list[Any], config: dict[str, Any], tokens: int) -> None:
    """Put zeros into the cache, as many at a time as a prefill does."""
    for start in range(0, tokens, MLX_PREFILL_TOKENS):
        shape = (1, config["num_key_value_heads"], min(MLX_PREFILL_TOKENS, tokens - start), config["head_dim"])
        for one in cache:
            one.update_and_fetch(mx.zeros(shape, mx.bfloat16), mx.zeros(shape, mx.bfloat16))
        mx.eval([one.state for one in cache])


def run_child(folder: Path, context: int, *, exact: bool, limit_bytes: int | None) -> dict[str, int]:
    """Load, prefill, decode; what was allocated and resident, in bytes."""
    imported = read_peak_rss()
    model, config = load_model(folder)
    loaded = {"weights": mx.get_active_memory(), "load_peak": mx.get_peak_memory(), "load_rss": read_peak_rss()}
    if not exact:
        shorten_products()
        warm = make_prompt_cache(model)
        mx.eval(model(mx.array([[1]]), cache=warm))
        del warm
    extra = mx.get_active_memory() - loaded["weights"]
    if limit_bytes is not None:
        mx.set_memory_limit(loaded["weights"] + extra + limit_bytes)
    cache = make_prompt_cache(model)
    tokens = context - ANSWER_TOKENS
    if not exact:
        skipped = max(0, context // MLX_PREFILL_TOKENS - COMPUTED_CHUNKS) * MLX_PREFILL_TOKENS
        fill(cache, config, skipped)
        tokens -= skipped
    mx.reset_peak_memory()
    mx.random.seed(1)
    prompt = mx.random.randint(0, config["vocab_size"], (tokens,))
    prefill: list[int] = []
    steps = generate_step(
        prompt,
        model,
        max_tokens=ANSWER_TOKENS,
        prompt_cache=cache,
        prefill_step_size=MLX_PREFILL_TOKENS,
        prompt_progress_callback=lambda *_: prefill.append(mx.get_peak_memory()),
    )
    assert sum(1 for _ in steps) == ANSWER_TOKENS
    mx.synchronize()
    return loaded | {
        "imported_rss": imported,
        "prefill_peak": prefill[-2] - extra,
        "peak": mx.get_peak_memory() - extra,
        "active": mx.get_active_memory() - extra,
        "kv": sum(one.nbytes for one in cache),
        "rss": read_peak_rss() - extra,
    }


def measure(shape: Shape, folder: Path, context: int, asked: argparse.Namespace) -> dict[str, Any]:
    """The child's numbers for one case."""
    command = [sys.executable, "-m", "benchmarks.fit.measure_mlx", "--child", str(folder), "--context", str(context)]
    command += ["--exact"] if asked.exact else []
    command += ["--memory-limit", str(asked.memory_limit)] if asked.memory_limit is not None else []
    environment = {"MLX_DISABLE_COMPILE": "1"} if not asked.compile else {}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return asdict(shape) | {"context": context} | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure every case asked for and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", action="append", help="only this one; may be repeated")
    parser.add_argument("--context", type=int, action="append")
    parser.add_argument("--layers", type=int, help="instead of the shape's")
    parser.add_argument("--folder", type=Path, help="keep the models here")
    parser.add_argument("--json", type=Path, help="append each case as a line")
    parser.add_argument("--exact", action="store_true", help="whole products")
    parser.add_argument("--compile", action="store_true", help="let mlx fuse activations with a C++ compiler")
    parser.add_argument("--memory-limit", type=int, help="MiB beyond the weights that MLX may schedule ahead into")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        limit = None if asked.memory_limit is None else asked.memory_limit * MIB
        print(json.dumps(run_child(asked.child, asked.context[0], exact=asked.exact, limit_bytes=limit)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for shape in SHAPES:
            if asked.shape and shape.name not in asked.shape:
                continue
            one = replace(shape, layers=asked.layers or shape.layers)
            folder = (asked.folder or Path(scratch)) / f"{one.name}-{one.layers}"
            if not folder.exists():
                make_model(one, folder)
            for context in asked.context or CONTEXTS:
                case = measure(one, folder, context, asked)
                if asked.json:
                    with asked.json.open("a") as lines:
                        lines.write(json.dumps(case) + "\n")
                missed = case["weights"] + find_need(one, context) - case["peak"]
                sizes = ("weights", "kv", "prefill_peak", "peak", "active", "imported_rss", "load_rss", "rss")
                told = "  ".join(f"{key} {case[key] / MIB:.0f}" for key in sizes)
                print(f"{one.name:14} {context:5}  {told}  missed {missed / MIB:+.1f} MiB", flush=True)


if __name__ == "__main__":
    main()

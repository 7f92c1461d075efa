"""Numbers that our adapters give their engines, or that an engine is known for, and that the catalog counts with.

A plan predicts what an adapter will do: both read it here.
"""

PENALTY_WINDOW = 64
"""Last tokens, of prompt and answer, that penalties look at: llama.cpp's default, and Ollama's."""
LLAMA_BATCH_TOKENS = 128
"""Prompt tokens that llama.cpp computes at once, `n_ubatch`: the unit in which reading a prompt can be cancelled. The
compute buffer grows with it, the speed hardly (134 M parameters, 2 threads: 64 and 512 within the noise of each other);
its own default is 512."""
LLAMA_CHECKPOINTS = 2
"""Copies of what llama.cpp cannot cut back, for the next turn to start from: the cache of sliding-window layers, and
the state of recurrent ones. Its own 32 take gigabytes on large models."""
LLAMA_SPARE_TOKENS = 128
"""By which llama.cpp lets the vocabularies of a model and its draft differ: those of one family are filled up to
different sizes. Source: `common_speculative_are_compatible` in `common/speculative.cpp`."""
CONTEXT_STEP_TOKENS = 256
"""llama.cpp rounds a context up to a multiple of 256 cells (`llama_context`, `GGML_PAD(n_ctx, 256)`), MLX grows its
cache by as many."""
MLX_PREFILL_TOKENS = 256
"""Prompt tokens that MLX computes at once, `prefill_step_size`."""
ONNX_PREFILL_TOKENS = 32
"""Prompt tokens that ONNX Runtime GenAI computes at once. It holds Python's lock meanwhile, so a cancel waits for a
chunk's end; larger chunks are not faster (125 M parameters in 4 bits, 2 threads: 16 are 10 % slower, 32 to 512 the
same)."""
OPENVINO_PREFILL_TOKENS = (256, 192, 128, 64)
"""Prompt tokens that OpenVINO GenAI may compute at once, `max_num_batched_tokens`: the unit in which a cancel waits.
125 M parameters in 4 bits, 2 threads: 32 tokens 1,800 tokens/s, 64 1,960, 128 2,170, 256 2,260. Left alone, it computes
a prompt in one go."""
OPENVINO_PREFILL_BYTES = 44_000_000_000
"""Tokens times bytes of weights that one such part has: the time it takes, whatever the model. A part of 64 tokens of a
model with a billion parameters in 4 bits takes a quarter of a second on 2 threads."""


def find_openvino_prefill_tokens(weights_bytes: int) -> int:
    """Prompt tokens that OpenVINO GenAI computes at once of a model with these weights: more of a smaller one."""
    fitting = (tokens for tokens in OPENVINO_PREFILL_TOKENS if tokens * weights_bytes <= OPENVINO_PREFILL_BYTES)
    return next(fitting, OPENVINO_PREFILL_TOKENS[-1])

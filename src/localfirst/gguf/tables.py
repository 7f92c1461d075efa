"""The tables of the GGUF format: tensor types, file types, and the numbers that make sense. From public sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localfirst.types import Pooling


@dataclass(frozen=True, slots=True)
class TensorType:
    """A ggml type: `block_bytes` hold `block_elements` elements of a row; `tail_bytes` follow the whole tensor."""

    name: str
    block_elements: int
    block_bytes: int
    tail_bytes: int = 0


TENSOR_TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    36: TensorType("I2_S", 4, 1, tail_bytes=32),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
}
"""By the id in the file: `enum ggml_type` in `ggml/include/ggml.h`. 36 is retired there (`IQ4_NL_4_4`) and private to
microsoft/BitNet: two bits an element, and the scale in the first of 32 bytes at the end."""

FILE_TYPES = (
    *("F32", "F16", "Q4_0", "Q4_1", None, None, None, "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"),
    *("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S"),
    *("IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", None, None, None, "TQ1_0", "TQ2_0"),
    *("MXFP4_MOE", "NVFP4", "Q1_0"),
)
"""What `general.file_type` says, by index: `enum llama_ftype` in `include/llama.h`."""

HYPERPARAMETERS = {
    ".block_count": (1, 4096),
    ".context_length": (1, 2**31),
    ".embedding_length": (1, 2**20),
    ".feed_forward_length": (0, 2**24),
    ".vocab_size": (1, 2**31),
    ".attention.head_count": (0, 2**16),
    ".attention.head_count_kv": (0, 2**16),
    ".attention.key_length": (1, 2**16),
    ".attention.value_length": (1, 2**16),
    ".attention.sliding_window": (0, 2**31),
    ".attention.layer_norm_rms_epsilon": (0.0, 1.0),
    ".expert_count": (0, 2**16),
    ".expert_used_count": (0, 2**16),
    ".rope.dimension_count": (0, 2**16),
    ".rope.freq_base": (0.0, 2.0**63),
    ".rope.scaling.factor": (0.0, 2.0**31),
    ".rope.scaling.original_context_length": (0, 2**31),
}
"""Keys of the architecture with the numbers that make sense; outside of them engines abort. A key may have a list, with
a number for each layer; a fraction is asked for where the bounds are fractions."""

TOKEN_IDS = (-1, 2**32 - 1)
"""What a key `tokenizer.ggml.*_token_id` may say. llama.cpp passes over a token that the vocabulary does not have
(`llama_vocab::impl::load`), and -1 is written for none, in 32 bits."""

POOLINGS: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}
"""What a key `pooling_type` says of an embedding model; 0 is none, and 4 ranks texts."""

WINDOW_PERIODS = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma-embedding": 6,
    "gpt-oss": 2,
    "cohere2": 4,
    "exaone4": 4,
    "olmo2": 4,
}
"""Where the file tells the sliding window but not its layers: every n-th layer attends to everything, the others to the
window. llama.cpp has these in code: `src/models/*.cpp`, `set_swa_pattern`."""

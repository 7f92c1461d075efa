"""Options in llama.cpp's words, for every adapter to it: sampling for its server, in this process or over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.choices import PENALTY_WINDOW

if TYPE_CHECKING:
    from localfirst.backends.base import GenerateRequest
    from localfirst.conversation import Sampling

CACHE_TYPES = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0", "q4_0": "GGML_TYPE_Q4_0"}
SAMPLERS = ("penalties", "top_k", "top_p", "min_p", "temperature")
SEEDS = 2**32 - 1
"""llama.cpp's seeds are 32 bits wide, and the last one means a random seed."""

OPTIONS: dict[str, Any] = {
    "cache_prompt": True,
    "return_progress": True,
    "timings_per_token": True,
    "samplers": list(SAMPLERS),
    "repeat_last_n": PENALTY_WINDOW,
}
"""What every request asks for besides."""


def describe(sampling: Sampling) -> dict[str, Any]:
    """Sampling options as llama.cpp calls them; what is not asked for is off, not its default."""
    return {
        "temperature": sampling.temperature,
        "top_k": 1 if sampling.temperature <= 0 else sampling.top_k or 0,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        "min_p": sampling.min_p or 0.0,
        "repeat_penalty": sampling.repetition_penalty or 1.0,
        "presence_penalty": sampling.presence_penalty or 0.0,
        "frequency_penalty": sampling.frequency_penalty or 0.0,
        "logit_bias": [list(pair) for pair in sampling.logit_bias],
        "seed": -1 if sampling.seed is None else sampling.seed % SEEDS,
    }


def describe_end(request: GenerateRequest) -> dict[str, Any]:
    """Whether to go on past an end: no token that ends an answer is then ever drawn."""
    return {"ignore_eos": True} if request.ignore_end else {}

"""Draws tokens where MLX computes, so that the next step is queued before the last token is known to Python.

mlx-lm's samplers share one random state among all requests, and take top-p before top-k. Here the order is llama.cpp's,
as in `sampler`: bias, penalties, top-k, top-p, min-p, temperature. Sources: `src/llama-sampler.cpp` in
ggml-org/llama.cpp; "mlx.core.random" in the documentation of MLX for keys.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any

from localfirst.backends.sampler import COLDEST
from localfirst.choices import PENALTY_WINDOW
from localfirst.conversation import PENALTIES, find_lacking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.conversation import Sampling

NOT_A_NUMBER = -1
"""Drawn where the logits are no numbers."""
SEED_BITS = 64


class DeviceSampler:
    """Draws the tokens of one answer, as arrays of MLX. The same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        import mlx.core

        self._mx: Any = mlx.core
        self._sampling = sampling
        seed = secrets.randbits(SEED_BITS) if sampling.seed is None else sampling.seed % 2**SEED_BITS
        self._key = self._mx.random.key(seed)
        self._penalizes = find_lacking(sampling, PENALTIES) is not None
        self._biased = self._mx.array([token for token, _ in sampling.logit_bias], dtype=self._mx.int32)
        self._biases = self._mx.array([bias for _, bias in sampling.logit_bias], dtype=self._mx.float32)
        self._recent = self._mx.array(prompt[-PENALTY_WINDOW:], dtype=self._mx.int32)

    def draw(self, logits: Any, allowed: Any = None) -> Any:
        """The next token, an array of one, from one logit for each token of the vocabulary; nothing is computed yet.

        `allowed` is an array of numpy with a truth value for each; without it all are.
        """
        mx = self._mx
        logits = logits.astype(mx.float32)
        if self._sampling.logit_bias:
            logits = logits.at[self._biased].add(self._biases)
        if self._penalizes:
            logits = self._penalize(logits)
        if allowed is not None:
            logits = mx.where(mx.array(allowed), logits, -math.inf)
        best = logits.max()
        greedy = self._sampling.temperature < COLDEST
        token = logits.argmax() if greedy else self._pick(logits - best)
        token = mx.where(mx.isfinite(best), token.astype(mx.int32), NOT_A_NUMBER).reshape(1)
        if self._penalizes:
            self._recent = mx.concatenate([self._recent, token])[-PENALTY_WINDOW:]
        return token

    def _penalize(self, logits: Any) -> Any:
        mx, asked = self._mx, self._sampling
        values, penalty = logits[self._recent], asked.repetition_penalty or 1.0
        logits[self._recent] = mx.where(values <= 0, values * penalty, values / penalty)
        counts = mx.zeros_like(logits).at[self._recent].add(1.0)
        return logits - counts * (asked.frequency_penalty or 0.0) - (counts > 0) * (asked.presence_penalty or 0.0)

    def _pick(self, logits: Any) -> Any:
        """A token by chance; the best logit is 0."""
        mx, asked = self._mx, self._sampling
        if asked.top_k and asked.top_k < logits.size:
            logits = self._keep_from(logits, mx.topk(logits, asked.top_k).min())
        if asked.top_p is not None and asked.top_p < 1:
            logits = self._keep_from(logits, self._find_nucleus(logits, asked.top_p))
        if asked.min_p:
            logits = self._keep_from(logits, math.log(asked.min_p))
        self._key, now = mx.random.split(self._key)
        return mx.random.categorical(logits / asked.temperature, key=now)

    def _keep_from(self, logits: Any, least: Any) -> Any:
        return self._mx.where(logits >= least, logits, -math.inf)

    def _find_nucleus(self, logits: Any, top_p: float) -> Any:
        """The least logit of the fewest best tokens that together have the share `top_p`."""
        mx = self._mx
        ordered = -mx.sort(-logits)
        chances = mx.softmax(ordered)
        before = chances.cumsum() - chances
        return mx.where(before < top_p, ordered, math.inf).min()

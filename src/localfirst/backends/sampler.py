"""Draws the next token from an engine's logits, for engines whose own sampling is missing, wrong, or fixed too early.

The order is llama.cpp's (penalty, top-k, top-p, min-p, temperature), so that the same options mean the same on every
engine. Source of order and formulas: `src/llama-sampler.cpp` in ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import Sampling

PENALTY_WINDOW = 64
"""Last tokens that a repetition penalty looks at; llama.cpp's default."""
NEGLIGIBLE = 25.0
"""Logits this far below the best one have a chance of e^-25 each: left out before anything is sorted."""

COLDEST = 1e-3
"""A lower temperature is greedy: it would only divide by next to nothing."""


class Sampler:
    """Draws the tokens of one answer. The same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        import numpy as np

        self._np = np
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed if sampling.seed is None else abs(sampling.seed))
        self._recent = deque(prompt[-PENALTY_WINDOW:], maxlen=PENALTY_WINDOW)

    def draw(self, logits: Any) -> int:
        """The next token, from an array of one logit for each token of the vocabulary.

        Raises:
            EngineError: the logits are no numbers: weights or activations went out of range.
        """
        if self._sampling.repetition_penalty not in {None, 1.0}:
            logits = self._penalize(logits, float(self._sampling.repetition_penalty or 1.0))
        best = int(logits.argmax())
        if not self._np.isfinite(logits[best]):
            raise EngineError("The model computed something that is not a number", detail=f"logit: {logits[best]}")
        token = best if self._sampling.temperature < COLDEST else self._pick(logits, logits[best])
        self._recent.append(token)
        return token

    def _penalize(self, logits: Any, penalty: float) -> Any:
        seen = list(set(self._recent))
        changed = logits.copy()
        values = changed[seen]
        changed[seen] = self._np.where(values <= 0, values * penalty, values / penalty)
        return changed

    def _pick(self, logits: Any, best: Any) -> int:
        np, temperature = self._np, self._sampling.temperature
        tokens = np.flatnonzero(logits >= best - NEGLIGIBLE * max(1.0, temperature))
        tokens, logits = self._cut(tokens, logits[tokens] - best)
        chances = np.exp(logits / temperature, dtype=np.float64).cumsum()
        return int(tokens[np.searchsorted(chances, self._random.random() * chances[-1], side="right")])

    def _cut(self, tokens: Any, logits: Any) -> tuple[Any, Any]:
        """The candidates that top-k, top-p and min-p leave. `logits` are relative to the best, which is 0."""
        np, sampling = self._np, self._sampling
        if sampling.top_k and sampling.top_k < len(tokens):
            kept = np.argpartition(logits, -sampling.top_k)[-sampling.top_k :]
            tokens, logits = tokens[kept], logits[kept]
        if sampling.top_p is not None and sampling.top_p < 1:
            order = np.argsort(-logits, kind="stable")
            mass = np.exp(logits[order], dtype=np.float64).cumsum()
            kept = order[: int(np.searchsorted(mass, sampling.top_p * mass[-1])) + 1]
            tokens, logits = tokens[kept], logits[kept]
        if sampling.min_p:
            kept = logits >= np.log(sampling.min_p)
            tokens, logits = tokens[kept], logits[kept]
        return tokens, logits

"""Draws the next token from an engine's logits, for engines whose own sampling is missing, wrong, or fixed too early.

The order is llama.cpp's (bias, penalties, top-k, top-p, min-p, temperature), so that the same options mean the same on
every engine. Source of order and formulas: `src/llama-sampler.cpp` in ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from localfirst.choices import PENALTY_WINDOW
from localfirst.conversation import PENALTIES, find_lacking
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.conversation import Sampling

HOPELESS = -25.0
"""Logits this far below the best one have a chance of e^-25 each: left out before anything is sorted."""
BLOCK = 64
SORTED = 1024
LEFT_OUT = -1e6
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
        self._biased = [token for token, _ in sampling.logit_bias]
        self._biases = np.array([bias for _, bias in sampling.logit_bias], np.float32)
        self._penalizes = find_lacking(sampling, PENALTIES) is not None

    def draw(self, logits: Any) -> int:
        """The next token, from an array of one logit for each token of the vocabulary.

        Raises:
            EngineError: the logits are no numbers: weights or activations went out of range.
        """
        logits, best = self._prepare(logits)
        token = best if self._sampling.temperature < COLDEST else self._pick(logits, logits[best])
        self.note(token)
        return token

    def spread(self, logits: Any) -> Any:
        """Logits of which the likeliest is drawn as `draw` would, also among only some of them that an engine allows.

        Chance is in them as Gumbel noise. What top-k, top-p or min-p leave out comes last, but comes: a constraint may
        allow nothing else. Raises as `draw`.
        """
        np = self._np
        logits, best = self._prepare(logits)
        if self._sampling.temperature < COLDEST:
            return logits
        logits = logits - logits[best]
        left_out = np.full(len(logits), LEFT_OUT, np.float32)
        left_out[self._find_allowed(logits)] = 0
        noise = self._random.gumbel(size=len(logits)).astype(np.float32)
        return logits / np.float32(self._sampling.temperature) + noise + left_out

    def note(self, token: int) -> None:
        """Take note of a token that was drawn."""
        self._recent.append(token)

    def _prepare(self, logits: Any) -> tuple[Any, int]:
        if self._biased or self._penalizes:
            logits = logits.copy()
            logits[self._biased] += self._biases
        if self._penalizes:
            self._penalize(logits)
        best = int(logits.argmax())
        if not self._np.isfinite(logits[best]):
            raise EngineError("The model computed something that is not a number", detail=f"logit: {logits[best]}")
        return logits, best

    def _penalize(self, logits: Any) -> None:
        np, asked = self._np, self._sampling
        seen, counts = np.unique(np.fromiter(self._recent, np.int64), return_counts=True)
        values, penalty = logits[seen], asked.repetition_penalty or 1.0
        values = np.where(values <= 0, values * penalty, values / penalty)
        logits[seen] = values - counts * (asked.frequency_penalty or 0.0) - (asked.presence_penalty or 0.0)

    def _pick(self, logits: Any, best: Any) -> int:
        np, temperature = self._np, self._sampling.temperature
        logits = logits - best
        tokens = self._find_allowed(logits)
        chances = np.exp(logits[tokens] / temperature).cumsum(dtype=np.float64)
        return int(tokens[np.searchsorted(chances, self._random.random() * chances[-1], side="right")])

    def _find_allowed(self, logits: Any) -> Any:
        """The tokens that top-k, top-p and min-p leave. The best logit is 0."""
        tokens = self._find_candidates(logits)
        if self._sampling.min_p:
            tokens = tokens[logits[tokens] >= self._np.log(self._sampling.min_p)]
        return tokens

    def _find_candidates(self, logits: Any) -> Any:
        """The tokens that top-k and top-p leave, or all that are not hopeless. The best logit is 0."""
        np, top_p = self._np, self._sampling.top_p
        count = min(self._sampling.top_k or len(logits), len(logits))
        if top_p is not None and top_p < 1:
            return self._find_nucleus(logits, count, top_p)
        if count < len(logits):
            return self._find_best(logits, count)
        return np.flatnonzero(logits >= HOPELESS * max(1.0, self._sampling.temperature))

    def _find_nucleus(self, logits: Any, count: int, top_p: float) -> Any:
        """The fewest of the `count` best tokens that together have the share `top_p` of their mass.

        They are nearly always among the first thousand, so that many are sorted before more are.
        """
        np = self._np
        total = np.exp(logits if count == len(logits) else logits[self._find_best(logits, count)]).sum()
        size = min(SORTED, count)
        while True:
            tokens = self._find_best(logits, size)
            tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
            mass = np.exp(logits[tokens]).cumsum(dtype=np.float64)
            if mass[-1] >= top_p * total or size == count:
                return tokens[: int(np.searchsorted(mass, top_p * total)) + 1]
            size = min(size * 8, count)

    def _find_best(self, logits: Any, count: int) -> Any:
        """The `count` tokens with the highest logits, in no order.

        They lie in the `count` blocks with the highest maxima, so only those are looked into: for 40 of 200,000 tokens
        0.3 ms instead of 1.3.
        """
        np = self._np
        whole = len(logits) // BLOCK * BLOCK
        tokens = np.arange(whole if count < whole // BLOCK else 0, len(logits))
        if count < whole // BLOCK:
            blocks = np.argpartition(logits[:whole].reshape(-1, BLOCK).max(axis=1), -count)[-count:]
            tokens = np.concatenate([(blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1), tokens])
        return tokens[np.argpartition(logits[tokens], -count)[-count:]]

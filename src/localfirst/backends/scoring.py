"""How likely a given text is, or each token of an answer, from the logits that an engine computes before each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import IMPOSSIBLE, Likely, Scores, Weighed
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIGITS = 6
"""After the point: as many as logits in 32 bits are good for."""


class Scoring:
    """Takes the logits as they come, and keeps of them what is asked for."""

    def __init__(self, prompt: Sequence[int], scored: int, likeliest: int) -> None:
        """For the last `scored` tokens of a prompt, of which the first is not scored itself."""
        self._prompt, self._likeliest = prompt, likeliest
        self._skipped = len(prompt) - scored
        self._read = 0
        self._log_probs: list[float] = []
        self._places: list[tuple[tuple[int, float], ...]] = []

    def take(self, logits: Any) -> None:
        """Rows of logits, one for each of the next tokens of the prompt: what may follow it.

        Raises:
            EngineError: one is not a number.
        """
        import numpy as np

        begin = self._read
        self._read += len(logits)
        first, end = max(begin, self._skipped), min(self._read, len(self._prompt) - 1)
        if first >= end:
            return
        scores = _find_scores(np.asarray(logits[first - begin : end - begin], np.float32))
        following = scores[np.arange(len(scores)), self._prompt[first + 1 : end + 1]]
        if np.isnan(following).any():
            raise EngineError("The model computed something that is not a number")
        self._log_probs += _round(following)
        if self._likeliest:
            self._places += _find_likeliest(scores, self._likeliest)

    def finish(self) -> Scores:
        """All of them, once every row was there."""
        return Scores(tuple(self._log_probs), tuple(self._places))


def weigh(logits: Any, token: int, likeliest: int, spell: Callable[[int], bytes]) -> Weighed:
    """How likely a token was that was drawn, and what was likeliest, from the logits before anything was done to them.

    `spell` gives a token's bytes.
    """
    import numpy as np

    scores = _find_scores(np.asarray(logits, np.float32).reshape(1, -1))

    def describe(one: int, score: float) -> Likely:
        return Likely(one, tuple(spell(one)), max(score, IMPOSSIBLE))

    places = _find_likeliest(scores, likeliest)[0] if likeliest else ()
    drawn = describe(token, round(float(scores[0, token]), DIGITS))
    return Weighed(drawn, tuple(describe(one, score) for one, score in places))


def _find_scores(rows: Any) -> Any:
    """The logarithms of chances, of rows of logits."""
    import numpy as np

    highest = rows.max(axis=1, keepdims=True)
    sums = np.exp(rows - highest).sum(axis=1, keepdims=True, dtype=np.float64)
    return (rows - (highest + np.log(sums))).astype(np.float32)


def _find_likeliest(scores: Any, count: int) -> list[tuple[tuple[int, float], ...]]:
    """Of each row the tokens of the highest scores, the highest first, and of equal ones the lower id."""
    import numpy as np

    count = min(count, scores.shape[1])
    tokens = np.sort(np.argpartition(scores, -count, axis=1)[:, -count:], axis=1)
    values = np.take_along_axis(scores, tokens, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    rows = zip(np.take_along_axis(tokens, order, 1).tolist(), np.take_along_axis(values, order, 1), strict=True)
    return [tuple(zip(row, _round(their), strict=True)) for row, their in rows]


def _round(values: Any) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]

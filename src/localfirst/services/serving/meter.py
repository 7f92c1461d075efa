"""What a server has done since it started, in numbers: never what was asked or answered, nor by whom."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from localfirst.conversation import Answer, Embedding, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram: from a small model whose prompt is cached to a large one that is loaded first."""


class Tally(NamedTuple):
    """Sums since the start, by the name of a model; `requests` by route and status."""

    requests: Mapping[tuple[str, str], int]
    prompt_tokens: Mapping[str, int]
    """Of finished answers and embeddings, with those that were cached."""
    cached_tokens: Mapping[str, int]
    completion_tokens: Mapping[str, int]
    prefill_s: Mapping[str, float]
    decode_s: Mapping[str, float]
    first_tokens: Mapping[str, tuple[int, ...]]
    """Requests by how long they took to their first token: one count for each of `FIRST_TOKEN_S`, one for longer."""
    first_token_s: Mapping[str, float]


class Meter:
    """Counts. Several threads may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._tokens: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
        self._seconds: tuple[dict[str, float], dict[str, float]] = ({}, {})
        self._firsts: dict[str, list[int]] = {}
        self._first_s: dict[str, float] = {}

    def count_request(self, route: str, status: str) -> None:
        """A request was answered, refused, or left."""
        with self._lock:
            self._requests[route, status] += 1

    def count_first(self, model: str, seconds: float) -> None:
        """A request got its first token so long after it came: waiting and loading are in it."""
        with self._lock:
            counts = self._firsts.setdefault(model, [0] * (len(FIRST_TOKEN_S) + 1))
            counts[bisect_left(FIRST_TOKEN_S, seconds)] += 1
            self._first_s[model] = self._first_s.get(model, 0.0) + seconds

    def count_done(self, model: str, done: Answer | Embedding) -> None:
        """An answer or a vector is finished."""
        usage = Usage(done.tokens or 0, 0) if isinstance(done, Embedding) else done.usage
        counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
        with self._lock:
            for counter, count in zip(self._tokens, counts, strict=True):
                counter[model] += count
            if isinstance(done, Answer):
                for sums, seconds in zip(self._seconds, _find_seconds(done), strict=True):
                    sums[model] = sums.get(model, 0.0) + seconds

    def read(self) -> Tally:
        """The sums as they are now."""
        with self._lock:
            prompt, cached, completion = (dict(counter) for counter in self._tokens)
            prefill_s, decode_s = (dict(sums) for sums in self._seconds)
            firsts = {model: tuple(counts) for model, counts in self._firsts.items()}
            first_s = dict(self._first_s)
            return Tally(dict(self._requests), prompt, cached, completion, prefill_s, decode_s, firsts, first_s)


def _find_seconds(answer: Answer) -> tuple[float, float]:
    """Of reading the prompt and of writing the answer, from the rates by which the worker tells them."""
    usage, timings = answer.usage, answer.timings
    fresh, after_first = usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens - 1
    return (
        fresh / timings.prefill_tps if timings.prefill_tps else 0.0,
        after_first / timings.decode_tps if timings.decode_tps else 0.0,
    )

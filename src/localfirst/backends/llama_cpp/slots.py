"""Which of its slots llama.cpp's server answers a request in.

A slot is a sequence with cache cells of its own. In one step the engine computes together only sequences that follow
each other without a gap: `llama_batch_allocr::split_equal` with `sequential`, which a cache that is divided by
sequences asks for (`src/llama-kv-cache.cpp`, ggml-org/llama.cpp). Four requests in slots 0, 4, 8, 12 are four steps,
each of which reads all weights. Left to itself, the server takes the slot that was left first.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localfirst.backends.llama_cpp.prompt import KEY_BYTES
from localfirst.choices import LLAMA_BATCH_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_SHARE = 0.2
"""How much of a prompt a slot has to know to be taken for that: what any two prompts begin with is no reason. Twice the
server's own `slot_prompt_similarity`, for that is much special tokens, whose names are long."""


class Slots:
    """Gives out slots: one that knows the prompt's beginning, else one beside those in use."""

    def __init__(self, count: int) -> None:
        """All are free, and know nothing."""
        self._changed = threading.Condition()
        self._busy: set[int] = set()
        self._known = [b""] * count
        """The key of the prompt that each of them read last."""
        self._left = [0] * count
        self._turn = 0
        """Counts leavings; each slot has that of its own last one."""

    @property
    def busy(self) -> int:
        """How many are in use."""
        return len(self._busy)

    @contextmanager
    def taken(self, key: bytes) -> Iterator[int]:
        """A slot for the prompt with this key, which is now read; where none is free, that is waited for.

        What it knows counts by whole batches: to read less than one again costs less than steps of its own.
        """
        beginning = key[: math.ceil(LEAST_SHARE * len(key))]

        def rank(number: int) -> tuple[int, int, int, int]:
            read = self._known[number]
            known = count_common(read, key) if read.startswith(beginning) else 0
            neighbours = len(self._busy & {number - 1, number + 1})
            return -(known // (KEY_BYTES * LLAMA_BATCH_TOKENS)), -neighbours, -known, self._left[number]

        with self._changed:
            self._changed.wait_for(lambda: len(self._busy) < len(self._known))
            taken = min((number for number in range(len(self._known)) if number not in self._busy), key=rank)
            self._busy.add(taken)
            self._known[taken] = key
        try:
            yield taken
        finally:
            with self._changed:
                self._busy.remove(taken)
                self._turn += 1
                self._left[taken] = self._turn
                self._changed.notify_all()

    def wait_until_free(self) -> None:
        """Wait until none is in use."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)


def count_common(one: bytes, other: bytes) -> int:
    """How many bytes both begin with alike."""
    alike, most = 0, min(len(one), len(other))
    while alike < most:
        middle = (alike + most + 1) // 2
        if one[alike:middle] == other[alike:middle]:
            alike = middle
        else:
            most = middle - 1
    return alike

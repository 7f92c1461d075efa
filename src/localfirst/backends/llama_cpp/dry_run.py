"""What llama.cpp would allocate for a model, by its own account, before it does. Pure.

With `no_alloc` it reads the header, plans every buffer, logs the sizes and allocates nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import NoFitError
from localfirst.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_CACHE = re.compile(r"(?:kv_cache|recurrent)\S*: size = +([\d.]+) MiB")
_COMPUTE = re.compile(r"(?:compute|output) buffer size = +([\d.]+) MiB")
"""`llama_kv_cache: size =  128.00 MiB (4096 cells, ...)`, `sched_reserve: CPU compute buffer size =   66.13 MiB`.
Source: `src/llama-kv-cache.cpp`, `src/llama-memory-recurrent.cpp`, `src/llama-context.cpp` in ggml-org/llama.cpp."""


class Footprint(NamedTuple):
    """Bytes that a loaded model takes, Python and the engine's code not counted."""

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


def parse_footprint(weights_bytes: int, log: Iterable[str]) -> Footprint:
    """The footprint from the weights' size and the lines of a dry run."""
    text = "\n".join(log)
    return Footprint(weights_bytes, _add(_CACHE, text), _add(_COMPUTE, text))


def _add(pattern: re.Pattern[str], text: str) -> int:
    return sum(int(float(found) * MIB) for found in pattern.findall(text))


def require_fit(footprint: Footprint, budget_bytes: int | None, context_tokens: int, name: str) -> None:
    """Refuse what is larger than the memory that it may take.

    Raises:
        NoFitError: with each part, and what to type.
    """
    if budget_bytes is None or footprint.total_bytes <= budget_bytes:
        return
    named = zip(("weights", "cache", "computing"), footprint, strict=True)
    parts = ", ".join(f"{what} {format_bytes(size)}" for what, size in named)
    raise NoFitError(
        f"{name} needs {format_bytes(footprint.total_bytes)} of memory at a context of {context_tokens:,} tokens, "
        f"{format_bytes(budget_bytes)} is free for it",
        detail=f"{parts}, as llama.cpp counts before loading",
        hint="Ask for a shorter context (`--ctx`), or for a smaller build: `lf list --fits`",
    )

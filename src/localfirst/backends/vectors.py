"""Vectors of texts, as engines give them, brought to the length 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_unit(vector: Sequence[float]) -> tuple[float, ...]:
    """The vector in the same direction whose length is 1.

    Raises:
        EngineError: it has no direction: all of it is 0, or a part is no number.
    """
    length = math.hypot(*vector)
    if not 0 < length < math.inf:
        raise EngineError("The model computed a vector without a direction", detail=f"length: {length}")
    return tuple(value / length for value in vector)

"""How fast an engine reads a model's weights on this machine, by what it reached before. Pure.

`seconds per token = step + bytes per token * seconds per byte`. Where nothing was measured, both are assumptions about
a class of devices; each measurement moves them, the more the further its model is from those measured before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_TRUST, RATE_TRUST = 0.0005, 0.001
"""What an assumption weighs beside one measurement: a measurement is within a twentieth of the truth, the assumed rate
within one and a half times its size, the assumed step within twice; these are the squares of those ratios."""


class Reached(NamedTuple):
    """What a run reached: bytes that one token reads, and tokens per second."""

    bytes_per_token: float
    decode_tps: float


class Line(NamedTuple):
    """Seconds per token as a function of bytes per token."""

    step_s: float
    s_per_byte: float

    def find_tps(self, bytes_per_token: float) -> float:
        """Tokens per second."""
        return 1 / (self.step_s + self.s_per_byte * bytes_per_token)


def fit(assumed: Line, reached: Sequence[Reached]) -> Line:
    """The line that is off least, as a share of each measurement and of what was assumed; never a negative number.

    With step and rate as shares x and y of those assumed, the sum of `(a x + b y - 1)^2` over the measurements, where a
    and b are their assumed seconds in shares of the measured ones, and of the assumption's own `t (x - 1)^2`.
    """
    aa, ab, bb = STEP_TRUST, 0.0, RATE_TRUST
    a_sum, b_sum = STEP_TRUST, RATE_TRUST
    for one in reached:
        a = assumed.step_s * one.decode_tps
        b = assumed.s_per_byte * one.bytes_per_token * one.decode_tps
        aa, ab, bb = aa + a * a, ab + a * b, bb + b * b
        a_sum, b_sum = a_sum + a, b_sum + b
    determinant = aa * bb - ab * ab
    x = (a_sum * bb - b_sum * ab) / determinant
    y = (b_sum * aa - a_sum * ab) / determinant
    if x < 0:
        x, y = 0.0, b_sum / bb
    elif y < 0:
        x, y = a_sum / aa, 0.0
    return Line(assumed.step_s * x, assumed.s_per_byte * y)

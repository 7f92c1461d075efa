"""How fast an engine reads a model's weights on this machine, by what it reached before. Pure.

`seconds per token = step * layers / 24 + bytes per token * seconds per byte`: engines compute one operation after the
other, and what each of them costs besides its weights grows with the layers. Where nothing was measured, both figures
are assumptions about a class of devices; each measurement moves them, the more the further its model is from those
measured before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_LAYERS = 24
"""A step is that of a network with so many layers."""
STEP_TRUST, RATE_TRUST = 0.0005, 0.001
"""What an assumption weighs beside one measurement: a measurement is within a twentieth of the truth, the assumed rate
within one and a half times its size, the assumed step within twice; these are the squares of those ratios."""


class Reached(NamedTuple):
    """What a run reached: bytes that one token reads, tokens per second, and the layers where they are known."""

    bytes_per_token: float
    decode_tps: float
    layers: int | None = None


class Line(NamedTuple):
    """Seconds per token as a function of bytes per token and of layers."""

    step_s: float
    s_per_byte: float

    def find_tps(self, bytes_per_token: float, layers: int | None = None) -> float:
        """Tokens per second, of a network of usual depth where the layers are unknown."""
        return 1 / (self.step_s * _count_steps(layers) + self.s_per_byte * bytes_per_token)


def _count_steps(layers: int | None) -> float:
    return layers / STEP_LAYERS if layers else 1.0


def fit(assumed: Line, reached: Sequence[Reached]) -> Line:
    """The line that is off least, as a share of each measurement and of what was assumed; never a negative number.

    With step and rate as shares x and y of those assumed, the sum of `(a x + b y - 1)^2` over the measurements, where a
    and b are their assumed seconds in shares of the measured ones, and of the assumption's own `t (x - 1)^2`.
    """
    aa, ab, bb = STEP_TRUST, 0.0, RATE_TRUST
    a_sum, b_sum = STEP_TRUST, RATE_TRUST
    for one in reached:
        a = assumed.step_s * _count_steps(one.layers) * one.decode_tps
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

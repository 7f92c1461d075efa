"""How fast an engine reads a model's weights on this machine, by what it reached before. Pure.

`seconds per token = step * layers / 24 + bytes per token * seconds per byte`: engines compute one operation after the
other, and what each of them costs besides its weights grows with the layers. Where nothing was measured, both figures
are assumptions about a class of devices; each measurement moves them, the more the further its model is from those
measured before. What the line is off at the sizes that were measured is corrected between them, too: a network that
fits into a cache is read faster than its size alone says.
"""

from __future__ import annotations

from itertools import pairwise
from math import exp, log
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
    rests: tuple[tuple[float, float], ...] = ()
    """By logarithm of bytes, ascending: the logarithm of how many times as long as by the line it really took."""

    def find_tps(self, bytes_per_token: float, layers: int | None = None) -> float:
        """Tokens per second, of a network of usual depth where the layers are unknown."""
        seconds = self.step_s * _count_steps(layers) + self.s_per_byte * bytes_per_token
        return 1 / (seconds * exp(_interpolate(self.rests, log(bytes_per_token)))) if self.rests else 1 / seconds


def _interpolate(points: Sequence[tuple[float, float]], place: float) -> float:
    """Straight between the points, level before the first and behind the last."""
    for (left, low), (right, high) in pairwise(points):
        if left <= place < right:
            return low + (high - low) * (place - left) / (right - left)
    return points[0][1] if place < points[0][0] else points[-1][1]


def _count_steps(layers: int | None) -> float:
    return layers / STEP_LAYERS if layers else 1.0


def fit(assumed: Line, reached: Sequence[Reached]) -> Line:
    """The line that is off least, as a share of each measurement and of what was assumed, and what rests.

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
    line = Line(assumed.step_s * x, assumed.s_per_byte * y)
    return line._replace(
        rests=tuple(
            sorted(
                (log(one.bytes_per_token), log(line.find_tps(one.bytes_per_token, one.layers) / one.decode_tps))
                for one in reached
            )
        )
    )

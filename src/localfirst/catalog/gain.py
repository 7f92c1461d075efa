"""What one build of an engine is faster than another on this machine, and what that makes of an estimate. Pure.

Estimates know devices and weights, not how an engine was compiled. Where several builds have decoded the same yardstick
here, the ratio of their speeds corrects what is expected of a model that only some of them have run, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.types import Rates, Runtime, Speed

YARDSTICK = "(yardstick)"
LARGE: Literal["large"] = "large"
"""Model and variant of what every build of a format decodes to be compared; no catalog can have this name."""


def find_gain(runtime: str, other: str, measured: Mapping[tuple[str, str, str], Rates]) -> float | None:
    """How many times as fast as another a runtime decodes the yardstick; `None` where one of them has not."""
    ours, theirs = (measured.get((YARDSTICK, LARGE, name)) for name in (runtime, other))
    return ours.decode_tps / theirs.decode_tps if ours and theirs else None


def find_expected(
    speed: Speed,
    build: tuple[str, str],
    runtime: Runtime,
    runtimes: Sequence[Runtime],
    measured: Mapping[tuple[str, str, str], Rates],
) -> Speed:
    """The estimate for a build that a runtime has not run here, corrected by what its siblings did.

    Args:
        speed: the estimate, which is for the first of the siblings where nothing has corrected it.
        build: model and variant.
        runtime: the one in question.
        runtimes: all of them, in the order of their table.
        measured: what runs reached here.
    """
    siblings = list(_find_siblings(runtime, runtimes, measured))
    for one, gain in siblings:
        if rates := measured.get((*build, one.name)):
            return speed._replace(low_tps=rates.decode_tps * gain, high_tps=rates.decode_tps * gain)
    if speed.corrected or not siblings or speed.low_tps is None or speed.high_tps is None:
        return speed
    gain = siblings[0][1]
    return speed._replace(low_tps=speed.low_tps * gain, high_tps=speed.high_tps * gain)


def _find_siblings(
    runtime: Runtime, runtimes: Sequence[Runtime], measured: Mapping[tuple[str, str, str], Rates]
) -> Iterator[tuple[Runtime, float]]:
    """Runtimes for the same files and the same kind of device, itself among them, and its gain over each."""
    for one in runtimes:
        if (one.formats, one.placement) == (runtime.formats, runtime.placement):
            gain = find_gain(runtime.name, one.name, measured)
            if gain is not None:
                yield one, gain

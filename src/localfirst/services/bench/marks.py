"""What makes figures doubtful, in words for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.bench.statistics import find_rate, spread
from localfirst.bench.values import THROUGH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.backends.base import LoadedInfo
    from localfirst.bench.values import Workload
    from localfirst.services.bench.repetition import Outcome

BUSY_SHARE = 0.10
"""Of all processor time. Engines keep all cores in step, so that one which others use holds up all."""
WIDE_SHARE = 0.10
"""Deviation over mean from which a mean says little."""
LENGTH_SHARE = 0.02
"""By how much a prompt may be longer or shorter than it was asked for."""
LEAST_WATCHED_S = 0.5
"""Processor seconds below which the system's counters, which have hundredths, say nothing."""


def find_marks(  # noqa: PLR0913 - one argument per thing that was seen
    workload: Workload,
    outcomes: Sequence[Outcome],
    info: LoadedInfo,
    *,
    busy_share: float | None,
    throttled: bool,
    on_battery: bool,
    through_server: bool = False,
) -> tuple[str, ...]:
    """The marks of a series."""
    others = _find(workload, outcomes, info, busy_share=busy_share, throttled=throttled, on_battery=on_battery)
    return (*((THROUGH,) if through_server else ()), *others)


def _find(  # noqa: PLR0913 - as above
    workload: Workload,
    outcomes: Sequence[Outcome],
    info: LoadedInfo,
    *,
    busy_share: float | None,
    throttled: bool,
    on_battery: bool,
) -> Iterator[str]:
    if busy_share is not None and busy_share > BUSY_SHARE:
        yield f"the machine was busy (others took {round(busy_share, 1):.0%} of its processors)"
    if throttled:
        yield "the machine held itself back, for its heat or its power"
    if on_battery:
        yield "it ran on battery"
    early = [one.ended_early for one in outcomes if one.ended_early is not None]
    if early:
        why = "" if info.ignores_end else f", and {info.engine} cannot be made to go on"
        yield f"answers ended early (after {min(early)} of {workload.generated_tokens} tokens){why}"
    if info.parallel < workload.concurrency:
        yield f"{info.engine} computes {info.parallel} of {workload.concurrency} requests at a time; the others wait"
    asked = workload.prompt_tokens
    wrong = [one.prompt_tokens for one in outcomes if asked and abs(one.prompt_tokens - asked) > LENGTH_SHARE * asked]
    if wrong and not workload.scenario:
        least, most = min(wrong), max(wrong)
        yield f"prompts had {least if least == most else f'{least} to {most}'} tokens, not {asked}"
    rates = spread(find_rate(workload, one.sample) for one in outcomes)
    if rates is not None and rates.sd is not None and rates.sd > WIDE_SHARE * rates.mean:
        yield "the repetitions differ widely"

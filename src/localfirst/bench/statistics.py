"""What samples say together. A figure that cannot be told is `None`: of no sample there is no mean."""

from __future__ import annotations

from math import fsum, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localfirst.bench.values import Sample, Series, Workload


LEAST_GAP_S = 0.04
"""A worker sends texts that follow each other within 30 ms together: gaps that are smaller than this are not seen."""


class Spread(NamedTuple):
    """Figures of the repetitions of one workload."""

    mean: float
    sd: float | None
    """Of a sample (divided by n - 1, as llama-bench does); `None` of a single one."""
    best: float
    """The largest: of rates the fastest, which the least else was going on in."""


class Summary(NamedTuple):
    """A series as people read it."""

    rate: Spread | None
    """Tokens per second, of what llama-bench would call the test; see `find_rate`."""
    prefill: Spread | None
    decode: Spread | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    gap_p95_s: float | None
    """Below `LEAST_GAP_S` it only says that it is below."""
    roofline: float | None
    """Share of the memory's bandwidth that decoding drew, 0 to 1 and, of caches and estimates, a little more."""
    joules_per_token: float | None
    """Of the tokens that were read anew and generated."""
    watts: float | None
    wall_s: float | None
    """The mean of the repetitions."""


def spread(figures: Iterable[float | None]) -> Spread | None:
    """Mean, deviation and best of those that are known; `None` where none is."""
    known = [one for one in figures if one is not None]
    if not known:
        return None
    mean = fsum(known) / len(known)
    sd = sqrt(fsum((one - mean) ** 2 for one in known) / (len(known) - 1)) if len(known) > 1 else None
    return Spread(mean, sd, max(known))


def percentile(figures: Sequence[float], share: float) -> float | None:
    """The figure below which a share (0 to 1) of them lies, between two of them in proportion; `None` of none."""
    if not figures:
        return None
    ordered = sorted(figures)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def find_rate(workload: Workload, sample: Sample) -> float | None:
    """Tokens per second of the test: of reading (`pp`), of generating (`tg`, scenarios), of both together (`pp+tg`)."""
    if not workload.generated_tokens:
        return sample.prefill_tps
    if not workload.prompt_tokens or workload.scenario:
        return sample.decode_tps
    return (sample.prompt_tokens + sample.completion_tokens) / sample.wall_s if sample.wall_s else None


def find_roofline(series: Series, decode_tps: float | None) -> float | None:
    """The share of the memory's bandwidth that a rate draws.

    Of several requests there is none: a pass over the weights then serves them all, how many is not told.
    """
    bandwidth, needed = series.bandwidth_bytes_per_s, series.bytes_per_token
    if not bandwidth or not needed or decode_tps is None or series.workload.concurrency > 1:
        return None
    return decode_tps * needed / bandwidth


def summarize(series: Series) -> Summary:
    """All repetitions in one line."""
    samples, workload = series.samples, series.workload
    decode = spread(one.decode_tps for one in samples) if workload.generated_tokens else None
    prefill = spread(one.prefill_tps for one in samples) if workload.prompt_tokens else None
    firsts = [one for sample in samples for one in sample.first_token_s] if workload.prompt_tokens else []
    gaps = [one for sample in samples for one in sample.gaps_s] if workload.generated_tokens else []
    counted = [one for one in samples if one.energy_j is not None]
    joules = fsum(one.energy_j or 0.0 for one in counted)
    tokens, seconds = sum(map(_count_tokens, counted)), fsum(one.wall_s for one in counted)
    walls = spread(one.wall_s for one in samples)
    return Summary(
        rate=spread(find_rate(workload, one) for one in samples),
        prefill=prefill,
        decode=decode,
        first_token_p50_s=percentile(firsts, 0.5),
        first_token_p95_s=percentile(firsts, 0.95),
        gap_p95_s=percentile(gaps, 0.95),
        roofline=find_roofline(series, decode.mean if decode else None),
        joules_per_token=joules / tokens if tokens else None,
        watts=joules / seconds if seconds else None,
        wall_s=walls.mean if walls else None,
    )


def _count_tokens(sample: Sample) -> int:
    return sample.prompt_tokens + sample.completion_tokens

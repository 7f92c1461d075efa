"""Series of given samples, each with what a test leaves open filled in."""

from __future__ import annotations

from typing import Any

from tests.fixtures.benches import STARTER

from localfirst.bench.values import Load, Sample, Series, Workload


def make_sample(**given: Any) -> Sample:
    """A sample."""
    return Sample(**{"wall_s": 1.0, "prefill_tps": None, "decode_tps": None, "first_token_s": ()} | given)


def make_series(
    workload: Workload, samples: list[Sample], *, bytes_per_token: int | None = None, bandwidth: int | None = None
) -> Series:
    """A series of the starter."""
    return Series(STARTER, workload, tuple(samples), Load(0.4, 0.2), 10**8, None, bytes_per_token, bandwidth)

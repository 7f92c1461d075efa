"""Values of a bench, each with what a test leaves open filled in."""

from __future__ import annotations

from typing import Any

from localfirst.bench.values import Bench, Conditions, Contender, Load, Sample, Series, Workload

CONTENDER = Contender(
    model="starter",
    variant="q4_0",
    quantization="Q4_0",
    format="gguf",
    size_bytes=1_970_000,
    digest="ab" * 32,
    runtime="llama-cpu",
    engine="llama.cpp",
    engine_version="2026.10",
    build="commit 1234567, compiler GNU 14",
    device="CPU",
    placement="cpu",
    driver=None,
    context_tokens=1024,
    threads=2,
)
QUIET = Conditions("2026-11-28T12:00:00+00:00", 0.1, busy_share=0.01, governor="performance", throttled=False)


def make_sample(**given: Any) -> Sample:
    """A sample."""
    return Sample(**{"wall_s": 1.0, "prefill_tps": None, "decode_tps": None, "first_token_s": ()} | given)


def make_series(
    workload: Workload, samples: list[Sample], *, bytes_per_token: int | None = None, bandwidth: int | None = None
) -> Series:
    """A series of the starter."""
    return Series(CONTENDER, workload, tuple(samples), Load(0.4, 0.2), 10**8, None, bytes_per_token, bandwidth)


def make_bench(*series: Series, **given: Any) -> Bench:
    """A bench on a quiet machine."""
    fields: dict[str, Any] = {
        "id": "20261128-120000-abcd",
        "machine": "0123456789abcdef",
        "machine_name": "a processor, 2 cores, 16.0 GB",
        "system": "Linux 6.1",
        "lf_version": "0.1",
        "arguments": ("bench", "starter"),
        "before": QUIET,
        "after": QUIET,
        "energy_counter": None,
        "series": series,
    }
    return Bench(**fields | given)

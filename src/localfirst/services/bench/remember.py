"""Keeps what a bench found as an ordinary run's speed is kept, for the choice of builds and the speeds in lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.store import measurements

if TYPE_CHECKING:
    from localfirst.bench.values import Bench, Contender, Series


def remember(bench: Bench) -> None:
    """Record single requests of builds that a catalog knows, as a run would have computed them.

    What is marked is not; nor what was asked for with other options than a run's own.
    """
    usual = [one for one in bench.series if _is_usual(one)]
    for contender in dict.fromkeys(one.contender for one in usual):
        own = [one for one in usual if one.contender == contender]
        reading = next((one for one in own if one.workload.prompt_tokens and not one.workload.generated_tokens), None)
        for writing in (one for one in own if one.workload.generated_tokens):
            _record(bench, contender, writing, reading)


def _is_usual(series: Series) -> bool:
    contender, workload = series.contender, series.workload
    plain = workload.concurrency == 1 and not workload.depth_tokens
    return plain and not series.marks and contender.cache == "f16" and contender.batch_tokens is None


def _record(bench: Bench, contender: Contender, writing: Series, reading: Series | None) -> None:
    for place, sample in enumerate(writing.samples):
        read = sample if writing.workload.prompt_tokens else None
        if read is None and reading is not None and place < len(reading.samples):
            read = reading.samples[place]
        if sample.decode_tps is None or contender.variant is None:
            continue
        measurements.record(
            measurements.Measurement(
                machine=bench.machine,
                model=contender.model,
                variant=contender.variant,
                runtime=contender.runtime,
                engine_version=contender.engine_version,
                device=contender.device,
                context_tokens=contender.context_tokens or 0,
                prompt_tokens=read.prompt_tokens if read else 0,
                completion_tokens=sample.completion_tokens,
                load_s=writing.load.warm_s,
                prefill_tps=read.prefill_tps if read else None,
                decode_tps=sample.decode_tps,
                bytes_per_token=writing.bytes_per_token,
            )
        )

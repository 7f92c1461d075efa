"""The speed of answers, kept where an estimate would be for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.traffic import find_read_bytes
from localfirst.store import measurements

if TYPE_CHECKING:
    from localfirst.backends.base import LoadedInfo
    from localfirst.conversation import Answer
    from localfirst.types import Machine, Plan


def record(plan: Plan, loaded: LoadedInfo, machine: Machine, answer: Answer) -> None:
    """Keep the speed of an answer, where the build and how it ran are what an estimate would be for."""
    need, timings = plan.need, answer.timings
    if plan.runtime is None or plan.variant.host in {"import", "remote"} or timings.decode_tps is None:
        return
    if plan.cache != "f16" or plan.requests > 1 or plan.draft:  # quantized, shared with others, helped
        return
    measurements.record(
        measurements.Measurement(
            machine=measurements.find_key(machine),
            model=plan.model.name,
            variant=plan.variant.name,
            runtime=plan.runtime.name,
            engine_version=loaded.engine_version,
            device=loaded.device,
            context_tokens=loaded.context_tokens,
            prompt_tokens=answer.usage.prompt_tokens - answer.usage.cached_tokens,
            completion_tokens=answer.usage.completion_tokens,
            load_s=timings.load_s,
            prefill_tps=timings.prefill_tps,
            decode_tps=timings.decode_tps,
            bytes_per_token=need and find_read_bytes(plan.model, plan.variant, need, filled=0.0),
            layers=plan.model.architecture.layers,
        )
    )

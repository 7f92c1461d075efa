"""Write `choices.txt`: the choice for 25 models on every recorded machine."""

from __future__ import annotations

from pathlib import Path

from localfirst.services.library import find_entry
from localfirst.services.machines import read_profiles
from localfirst.services.planning import Here
from localfirst.types import Plan
from localfirst.units import format_bytes

MODELS = (
    *("gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b", "gemma-4-e2b", "gemma-4-e4b", "gemma-4-26b-a4b"),
    *("phi-4", "phi-4-mini", "phi-3.5-mini", "bitnet-b1.58-2b", "gpt-oss-20b", "gpt-oss-120b", "llama-3.2-3b"),
    *("qwen3-0.6b", "qwen3-4b", "qwen3-8b", "qwen3-32b", "qwen3-30b-a3b", "qwen3.5-9b", "ministral-3-8b"),
    *("smollm3-3b", "granite-4.0-h-tiny", "lfm2.5-1.2b", "tinyllama-1.1b"),
)


def make_table() -> str:
    """A line for each machine and model: build, runtime, verdict, need and budget."""
    lines = []
    for name, machine in read_profiles().items():
        lines += [name]
        here = Here(machine)
        for model in MODELS:
            plan = next(here.find_plans(find_entry(model)))
            lines.append(f"  {model:19} {describe(plan)}".rstrip())
        lines.append("")
    return "\n".join(lines)


def describe(plan: Plan) -> str:
    """`qat-q4_0          llama-cuda    gpu    3.96 of 23.7 GB`, or why not."""
    if plan.verdict == "no":
        return f"-  {plan.reason}"
    need = format_bytes(plan.need.total_bytes if plan.need else None)
    runtime = plan.runtime.name if plan.runtime else "-"
    return f"{plan.variant.name:16} {runtime:13} {plan.verdict:6} {need} of {format_bytes(plan.free_bytes)}"


if __name__ == "__main__":
    Path(__file__).with_name("choices.txt").write_text(make_table(), encoding="utf-8")

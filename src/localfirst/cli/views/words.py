"""Facts as people say them, one phrase each. Foreign text in them is made inert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.names import format_name
from localfirst.catalog.rules import TIER_TITLES
from localfirst.cli.screen import line
from localfirst.store.keepers import is_tool, say_keeper
from localfirst.store.names import say_revision
from localfirst.units import format_bytes, format_seconds, format_tokens, format_tps

if TYPE_CHECKING:
    from localfirst.conversation import Answer, Embedding
    from localfirst.types import Plan, Speed, Variant

TIERS = TIER_TITLES
PLACES = {"cpu": "the CPU", "gpu": "the GPU", "igpu": "the integrated GPU", "npu": "the NPU"}


def name_plan(plan: Plan) -> str:
    """The full name of a plan's build, as it may be typed."""
    return line(format_name(plan.model, plan.variant, plan.runtime.backend if plan.runtime else None))


def say_speed(speed: Speed) -> str:
    """`21.4` where it was measured, `~18-25` where it is an estimate, `?` where nothing is known."""
    return _say_rate(speed.measured_tps, speed.low_tps, speed.high_tps)


def say_prefill(speed: Speed) -> str:
    """The same for reading a prompt."""
    return _say_rate(speed.prefill_measured_tps, speed.prefill_low_tps, speed.prefill_high_tps)


def _say_rate(measured: float | None, low: float | None, high: float | None) -> str:
    if measured is not None:
        return format_tps(measured)
    if low is None or high is None:
        return "?"
    least, most = _round_rate(low), _round_rate(high)
    return f"~{least}" if least == most else f"~{least}-{most}"


def _round_rate(rate: float) -> str:
    """Two digits: an estimate has no more."""
    if rate < 9.95:
        return f"{rate:.1f}"
    return f"{float(f'{rate:.2g}'):.0f}"


def say_memory(plan: Plan) -> str:
    """`3.10 of 14.2 GB`, or what is known of it; nothing where the need is unknown."""
    if plan.need is None:
        return ""
    need = format_bytes(plan.need.total_bytes)
    return need if plan.free_bytes is None else say_share(need, format_bytes(plan.free_bytes))


def say_share(part: str, whole: str) -> str:
    """`3.10 of 14.2 GB`: the unit once, where it is the same."""
    number, _, unit = part.partition(" ")
    return f"{number} of {whole}" if whole.endswith(f" {unit}") else f"{part} of {whole}"


def say_place(plan: Plan) -> str:
    """`by onnx-cpu on the CPU`, with the device's name where it has one."""
    engine = f"by {plan.runtime.name} " if plan.runtime else ""
    device = f" ({line(plan.device_name)})" if plan.device_name else ""
    return f"{engine}on {PLACES[plan.placement]}{device}"


def shorten(quantization: str) -> str:
    """`int4 RTN b32, int8 head` -> `int4`: what tells builds apart at a glance."""
    return line(quantization).partition(" ")[0].rstrip(",")


def say_shortfall(plan: Plan) -> str | None:
    """`3.20 GB short`, where memory is what is missing."""
    if plan.need is None or plan.free_bytes is None or plan.need.total_bytes <= plan.free_bytes:
        return None
    return f"{format_bytes(plan.need.total_bytes - plan.free_bytes)} short"


def say_state(
    variant: Variant, *, installed: bool, keeper: str | None = None, gone: bool = False, terms: bool = False
) -> str:
    """Where the files are, or what stands between them and a download, in a word or two; nothing where nothing does."""
    if variant.host == "builtin":
        return "built in"
    if gone:
        return "files gone"
    if installed:
        return f"in {say_keeper(keeper).removeprefix('the ')}" if is_tool(keeper) else "on disk"
    if variant.confidence == "memory":
        return "unconfirmed"
    if variant.gated:
        return "gated"
    return "licence terms" if terms else ""


def say_revisions(plan: Plan) -> str:
    """The revision that is on this disk, and the one that the catalog names where that is another; or nothing."""
    here, named = say_revision(plan.revision), say_revision(plan.variant.revision)
    return f"{here}; the catalog names {named} now (lf model update)" if is_of_another_revision(plan) else here


def is_of_another_revision(plan: Plan) -> bool:
    """Whether the catalog names another revision of the build than the one that is on this disk."""
    return plan.revision is not None and plan.variant.revision not in {plan.revision, None}


def say_context(plan: Plan) -> str:
    """`4K context`, `4K context in q8_0`, `4 x 4K context`, or nothing where it is unknown."""
    kept = "" if plan.cache == "f16" else f" in {plan.cache}"
    times = f"{plan.requests} x " if plan.requests > 1 else ""
    return f"{times}{format_tokens(plan.context_tokens)} context{kept}" if plan.context_tokens else ""


def say_draft(plan: Plan) -> str:
    """`qwen3-0.6b@q8_0, 639 MB of memory`, or nothing."""
    if plan.draft is None:
        return ""
    memory = f", {format_bytes(plan.need.draft_bytes)} of memory" if plan.need else ""
    return f"{line(format_name(plan.draft.model, plan.draft.variant))}{memory}"


def say_stats(answer: Answer) -> str:
    """`12 tokens (8 drafted), 21.4 tok/s, first token 80 ms, prompt 35 tokens (12 cached), stop`."""
    usage, timings = answer.usage, answer.timings
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    drafted = f" ({usage.drafted_tokens} drafted)" if usage.drafted_tokens else ""
    parts = (
        _count(usage.completion_tokens) + drafted,
        f"{format_tps(timings.decode_tps)} tok/s" if timings.decode_tps is not None else "",
        f"first token {format_seconds(timings.first_token_s)}" if timings.first_token_s is not None else "",
        f"prompt {_count(usage.prompt_tokens)}{cached}",
        answer.finish_reason,
    )
    return ", ".join(part for part in parts if part)


SHOWN_NUMBERS = 3


def say_embedding(index: int, text: str, embedding: Embedding) -> str:
    """`0  [0.0612, -0.0889, 0.0659, ...]  384 numbers  6 tokens  the text`."""
    numbers = ", ".join(f"{number:.4f}" for number in embedding.vector[:SHOWN_NUMBERS])
    size = f"{len(embedding.vector)} numbers"
    counted = () if embedding.tokens is None else (_count(embedding.tokens),)
    return "  ".join((str(index), f"[{numbers}, ...]", size, *counted, line(text)))


def _count(tokens: int) -> str:
    return f"{tokens} token" if tokens == 1 else f"{tokens} tokens"

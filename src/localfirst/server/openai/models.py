"""Items of `/v1/models`: OpenAI's four keys and, which theirs have not, how a model runs on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localfirst.services.serving.outlook import Outlook
    from localfirst.types import Plan


def describe(one: Outlook) -> dict[str, Any]:
    """A model as it is listed. What is not OpenAI's has the names that `lf list --json` has."""
    offer, shown = one.offer, one.shown
    only = offer.quantizations[0] if len(offer.quantizations) == 1 else None
    return {
        "id": offer.name,
        "object": "model",
        "created": offer.created_s,
        "owned_by": offer.vendor,
        "vendor": offer.vendor,
        "license": offer.license,
        "task": "embedding" if offer.task == "embedding" else "chat",
        "quantization": only,
        **(_foresee(one.plan) if one.plan else {}),
        "context_length": (shown.context_tokens if shown else None) or offer.context_tokens,
        "device": shown.device if shown else None,
        "state": shown.state if shown else "not_loaded",
        "loaded": shown is not None and shown.state != "loading",
    }


def _foresee(plan: Plan) -> dict[str, Any]:
    """How it runs, or would: `verdict` says whether it fits, `decode_tps` how fast it writes, in tokens per second."""
    return {
        "title": plan.model.title,
        "variant": plan.variant.name,
        "format": plan.variant.format,
        "quantization": plan.variant.quantization,
        "size_bytes": plan.variant.size_bytes,
        "runtime": plan.runtime.name if plan.runtime else None,
        "placement": plan.placement,
        "verdict": plan.verdict,
        "need_bytes": plan.need.total_bytes if plan.need else None,
        "decode_tps": {
            "low": plan.speed.low_tps,
            "high": plan.speed.high_tps,
            "measured": plan.speed.measured_tps,
        },
    }

"""`/metrics`: what the server does, as Prometheus reads it. No word of what was asked, and no name that a client chose.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from localfirst.services.serving.meter import FIRST_TOKEN_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from localfirst.services.serving.held import Shown
    from localfirst.services.serving.meter import Tally
    from localfirst.services.serving.pool import Pool

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUMS = {
    "prompt_tokens": ("lf_prompt_tokens_total", "Tokens of prompts and embedded texts that were read or cached."),
    "cached_tokens": ("lf_cached_tokens_total", "Tokens of prompts that were still in the cache."),
    "completion_tokens": ("lf_completion_tokens_total", "Tokens of finished answers."),
    "prefill_s": ("lf_prefill_seconds_total", "Seconds of reading prompts."),
    "decode_s": ("lf_decode_seconds_total", "Seconds of writing answers after their first token."),
}
"""Fields of `Tally` that are sums by model: their names and what they are."""
Labels = tuple[tuple[str, str], ...]


async def show_metrics(pool: Pool, _asked: Mapping[str, Any]) -> Response:
    """The response."""
    text = "".join(f"{line}\n" for line in render_metrics(pool.meter.read(), pool.show()))
    return Response(text, media_type=TYPE)


def render_metrics(tally: Tally, shown: Sequence[Shown]) -> Iterator[str]:
    """The lines. Pure."""
    requests = (
        ((("route", route), ("status", status)), count) for (route, status), count in sorted(tally.requests.items())
    )
    yield from _render("lf_requests_total", "counter", "Requests by route and status.", requests)
    for field, (name, about) in _SUMS.items():
        sums = sorted(getattr(tally, field).items())
        yield from _render(name, "counter", about, (((("model", model),), value) for model, value in sums))
    yield from _render(
        "lf_requests_waiting", "gauge", "Requests that wait for a model.", [((), sum(one.waiting for one in shown))]
    )
    yield from _render(
        "lf_requests_active", "gauge", "Requests that are being answered.", [((), sum(one.active for one in shown))]
    )
    loaded = [one for one in shown if one.state != "loading"]
    yield from _render("lf_models_loaded", "gauge", "Models that are loaded.", [((), len(loaded))])
    yield from _render(
        "lf_model_memory_bytes",
        "gauge",
        "Memory that a loaded model needs, as planned.",
        ((_name(one), one.memory_bytes) for one in loaded if one.memory_bytes is not None),
    )
    yield from _render_histogram(tally)


def _render_histogram(tally: Tally) -> Iterator[str]:
    name = "lf_time_to_first_token_seconds"
    yield f"# HELP {name} From a request to the first that comes of it, waiting and loading included."
    yield f"# TYPE {name} histogram"
    bounds = (*map(str, FIRST_TOKEN_S), "+Inf")
    for model, counts in sorted(tally.first_tokens.items()):
        labels = (("model", model),)
        sums = list(accumulate(counts))
        for bound, count in zip(bounds, sums, strict=True):
            yield f"{name}_bucket{_format((*labels, ('le', bound)))} {count}"
        yield f"{name}_sum{_format(labels)} {tally.first_token_s[model]:.6f}"
        yield f"{name}_count{_format(labels)} {sums[-1]}"


def _render(name: str, kind: str, about: str, values: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{_format(labels)} {value if isinstance(value, int) else f'{value:.6f}'}"


def _name(one: Shown) -> Labels:
    return (("model", one.name), ("build", one.build), ("runtime", one.runtime), ("device", one.device))


def _format(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if labels else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

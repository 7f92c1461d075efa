"""Models as Ollama lists, shows and runs them, and texts that become vectors. Pure."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.chat.parse import find_format
from localfirst.server.asked import Vectorizing
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.ollama.asked import LATEST, find_name, take_keep_alive, take_options
from localfirst.server.ollama.chat import NANOSECONDS, write_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.conversation import Embedding
    from localfirst.services.serving.held import Resident
    from localfirst.services.serving.shelf import Stock
    from localfirst.types import Model, Variant

MOST_TEXTS = 2048
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""When a model goes that stays until another needs the memory."""


class Embed(NamedTuple):
    """Texts that are to become vectors."""

    name: str
    """The model's, as it was asked for."""
    texts: tuple[str, ...]
    keep_alive_s: float | None
    context_tokens: int | None

    @property
    def model(self) -> str:
        """The model's name as we know it."""
        return find_name(self.name)

    def make_work(self) -> Vectorizing:
        """What a loaded model is asked to do."""
        return Vectorizing(self.texts)


def parse_embed(body: Mapping[str, Any], param: str) -> Embed:
    """A request for vectors; `param` is what holds the texts.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    name = fields.text("model")
    texts = fields.texts(param, MOST_TEXTS)
    if param == "prompt" and len(texts) != 1:
        raise refuse_type(param, "a text")
    options = take_options(fields)
    context = options.integer("num_ctx", 0, 2**31 - 1) or None
    options.end((), {})
    keep_alive_s = take_keep_alive(fields)
    fields.end((), {"truncate": (True, False)})  # a text that is too long is an error, which says so
    return Embed(name, texts, keep_alive_s, context)


def make_embeddings(asked: Embed, found: Sequence[Embedding], total_s: float, load_s: float) -> dict[str, Any]:
    """The answer of `/api/embed`."""
    return {
        "model": asked.name,
        "embeddings": [one.vector for one in found],
        "total_duration": round(total_s * NANOSECONDS),
        "load_duration": round(load_s * NANOSECONDS),
        "prompt_eval_count": sum(one.tokens or 0 for one in found),
    }


def parse_show(body: Mapping[str, Any]) -> str:
    """The name of the model that is to be shown.

    Raises:
        ParameterError: it is missing, or something is asked for besides.
    """
    name, fields = take_name(body)
    fields.end(("name", "verbose"), {"system": ("",), "template": ("",), "options": ({},)})
    return name


def take_name(body: Mapping[str, Any]) -> tuple[str, Fields]:
    """The name that a request is about, as `model` or, as it was called, `name`; and what else it says.

    Raises:
        ParameterError: there is none.
    """
    fields = Fields(body)
    return find_name(
        fields.text("model" if body.get("model") is not None or body.get("name") is None else "name")
    ), fields


def list_stock(stock: Sequence[Stock]) -> dict[str, Any]:
    """The answer of `/api/tags`."""
    return {"models": [_describe_stock(one) for one in stock]}


def show(one: Stock, template: str | None) -> dict[str, Any]:
    """The answer of `/api/show`; `template` is the model's own, where it is known."""
    model, architecture = one.model, one.model.architecture
    family = model.family
    counts = {
        "general.architecture": family,
        "general.basename": model.title,
        "general.parameter_count": model.parameters,
        f"{family}.context_length": one.variant.context_tokens or architecture.context_tokens,
        f"{family}.embedding_length": architecture.hidden_size,
        f"{family}.block_count": architecture.layers,
    }
    return {
        "modelfile": f"# {model.name}, served by lf\nFROM {model.name}",
        "parameters": "" if model.temperature is None else f"temperature {model.temperature}",
        "template": template or "",
        "license": model.license,
        "details": _describe(model, one.variant),
        "model_info": {name: value for name, value in counts.items() if value is not None},
        "capabilities": find_capabilities(model.task, template),
        "modified_at": write_time(datetime.fromtimestamp(one.offer.created_s, UTC)),
    }


def find_capabilities(task: str, template: str | None) -> list[str]:
    """What a model can do, in Ollama's words: by its task, and by what its template has a place for."""
    if task == "embedding":
        return ["embedding"]
    tools = ["tools"] if template is not None and "tools" in template else []
    return ["completion", *tools, *(["thinking"] if find_format(template) else [])]


def list_residents(residents: Sequence[Resident], stock: Sequence[Stock], now: datetime) -> dict[str, Any]:
    """The answer of `/api/ps`."""
    digests = {(one.model.name, one.variant.name): _find_digest(one) for one in stock}
    return {"models": [_describe_resident(one, digests, now) for one in residents]}


def _describe_stock(one: Stock) -> dict[str, Any]:
    name = _write_name(one.offer.name)
    size_bytes = one.installed.size_bytes if one.installed else one.variant.size_bytes
    return {
        "name": name,
        "model": name,
        "modified_at": write_time(datetime.fromtimestamp(one.offer.created_s, UTC)),
        "size": size_bytes or 0,
        "digest": _find_digest(one),
        "details": _describe(one.model, one.variant),
    }


def _describe_resident(one: Resident, digests: Mapping[tuple[str, str], str], now: datetime) -> dict[str, Any]:
    plan = one.plan
    name = _write_name(plan.model.name)
    size_bytes = plan.need.total_bytes if plan.need else plan.variant.size_bytes or 0
    forever = math.isinf(one.expires_in_s)
    return {
        "name": name,
        "model": name,
        "size": size_bytes,
        "digest": digests.get((plan.model.name, plan.variant.name), ""),
        "details": _describe(plan.model, plan.variant),
        "expires_at": write_time(NEVER if forever else now + timedelta(seconds=one.expires_in_s)),
        "size_vram": 0 if plan.placement == "cpu" else _find_share(size_bytes, plan.device_layers, plan.model),
        "context_length": one.context_tokens,
    }


def _find_share(size_bytes: int, device_layers: int | None, model: Model) -> int:
    """About what a device holds of a model, of which it may have some layers only."""
    layers = model.architecture.layers
    return size_bytes if device_layers is None or not layers else size_bytes * min(device_layers, layers) // layers


def _write_name(name: str) -> str:
    """As Ollama's clients expect it, with a tag."""
    return name if ":" in name or "@" in name else f"{name}{LATEST}"


def _find_digest(one: Stock) -> str:
    """What tells a build from every other: of one file its own digest, of several that of theirs."""
    files = one.installed.files if one.installed else one.variant.files
    digests = [file.sha256 or file.path for file in files]
    if len(digests) == 1 and files[0].sha256:
        return digests[0]
    return hashlib.sha256("\n".join([one.variant.name, *digests]).encode()).hexdigest()


def _describe(model: Model, variant: Variant) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": variant.format,
        "family": model.family,
        "families": [model.family],
        "parameter_size": _write_count(model.parameters),
        "quantization_level": variant.quantization.upper(),
    }


def _write_count(parameters: int | None) -> str:
    if parameters is None:
        return ""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.2f}M"

"""`/v1/models` as Anthropic's clients read it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from localfirst.server.failures import ParameterError
from localfirst.server.fields import take_limit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.services.serving.shelf import Offer

MOST = 1000


def describe(offer: Offer) -> dict[str, Any]:
    """A model as Anthropic lists it; when it came to this disk, the epoch where it came with the program."""
    created = datetime.fromtimestamp(offer.created_s, UTC).isoformat().replace("+00:00", "Z")
    return {
        "type": "model",
        "id": offer.name,
        "display_name": offer.name,
        "created_at": created,
        "lifecycle": "active",
        "capabilities": None,
        "max_input_tokens": offer.context_tokens,
        "max_tokens": None,
    }


def list_page(offers: Sequence[Offer], asked: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the models; `asked` is the query: `limit`, and `after_id` or `before_id`.

    Raises:
        ParameterError: one of them is wrong.
    """
    limit = take_limit(asked, MOST)
    names = [offer.name for offer in offers]
    begin, end = _find(names, "after_id", asked, -1) + 1, _find(names, "before_id", asked, len(names))
    within = offers[begin:end]
    backwards = "before_id" in asked
    page = within[-limit:] if backwards else within[:limit]
    return {
        "data": [describe(offer) for offer in page],
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
        "has_more": len(page) < len(within),
    }


def _find(names: Sequence[str], param: str, asked: Mapping[str, Any], otherwise: int) -> int:
    name = asked.get(param)
    if name is None:
        return otherwise
    if name not in names:
        raise ParameterError(f"No model `{str(name)[:80]}` for `{param}`", param)
    return names.index(name)

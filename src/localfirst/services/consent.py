"""Licences that limit what may be done with a model: the user accepts each once, before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.errors import ConsentError
from localfirst.store import consent

if TYPE_CHECKING:
    from localfirst.types import Model, Plan


def require(plan: Plan, *, accepted: bool) -> None:
    """Make sure that the licence of what is about to be fetched is accepted; `accepted` says that it is, from now on.

    Raises:
        ConsentError: it is not.
        StoreError: the answer cannot be kept.
    """
    if not plan.installed:
        require_for(plan.model, accepted=accepted)


def require_for(model: Model, *, accepted: bool) -> None:
    """The same for a model of which something is about to be fetched.

    Raises:
        ConsentError: it is not.
        StoreError: the answer cannot be kept.
    """
    license_ = model.license_url or model.license
    if not model.terms or consent.is_accepted(license_):
        return
    if not accepted:
        raise ConsentError(
            f"{model.title} comes under a licence with terms of its own: {model.license}",
            license_,
            hint="Read them; if you accept, add `--accept-license`. You are asked once for each licence.",
        )
    consent.accept(license_)

"""How the models that can be asked for run here, or would."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.services.library import find_entries
from localfirst.services.planning import Here, keep_builds
from localfirst.services.serving.job import in_thread
from localfirst.services.serving.shelf import list_stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.services.library import Entry
    from localfirst.services.serving.held import Shown
    from localfirst.services.serving.pool import Pool
    from localfirst.services.serving.shelf import Offer
    from localfirst.types import Plan


class Outlook(NamedTuple):
    """A model that can be asked for, and by what it would be answered."""

    offer: Offer
    plan: Plan | None
    """With what was measured until now; `None`: no engine here loads it."""
    shown: Shown | None
    """As it is loaded, or being loaded; `None`: it is not."""


async def find_outlooks(pool: Pool, is_asked: Callable[[Offer], bool] = lambda _: True) -> tuple[Outlook, ...]:
    """The models on this disk that are asked for, by name.

    Raises:
        StoreError: the store cannot be read.
    """
    shown = pool.show()

    def judge() -> Iterator[Outlook]:
        here = Here(see=pool.see, installs=False)
        for entry in find_entries():
            for offer in (one.offer for one in list_stock(entry) if is_asked(one.offer)):
                yield Outlook(offer, _plan(here, entry, offer, pool), _find_shown(offer, shown))

    return await in_thread(lambda: tuple(sorted(judge(), key=lambda one: one.offer.name)))


def _find_shown(offer: Offer, shown: tuple[Shown, ...]) -> Shown | None:
    name, _, build = offer.name.partition("@")
    return next((one for one in shown if one.name == name and build in {"", one.build}), None)


def _plan(here: Here, entry: Entry, offer: Offer, pool: Pool) -> Plan | None:
    """The best plan for the builds that the offer's name means."""
    present = entry.installed_variants
    asked = {one.variant for one in entry.installed if one.full_name == offer.name}
    kept = keep_builds(entry, lambda build: build.name in (asked or present) or build.host == "builtin")
    wanted = pool.wanted._replace(task="embedding" if offer.task == "embedding" else "chat")
    return next(here.find_plans(kept, wanted), None) if kept else None

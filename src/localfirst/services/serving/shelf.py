"""What a server may be asked for: models on this disk, by their names. No path, no address, nothing to fetch."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog import names
from localfirst.errors import NetworkError, UnknownNameError, UsageError
from localfirst.services.library import find_entries, find_entry, find_published

if TYPE_CHECKING:
    from localfirst.services.library import Entry

MAX_NAME = 512
"""Characters of a name that is looked up; the longest in the catalog has 60."""


class Offer(NamedTuple):
    """A model that can be asked for."""

    name: str
    vendor: str
    task: str
    """As the catalog has it: `chat`, `embedding`, ..."""
    created_s: int
    """When it came to this disk, in seconds since 1970; 0: with `lf`."""


def find_offers() -> tuple[Offer, ...]:
    """The models on this disk, by name; of one with several builds here, each of them by its own name too.

    Raises:
        StoreError: the store cannot be read.
    """
    return tuple(sorted(offer for entry in find_entries() for offer in _list_offers(entry)))


def _list_offers(entry: Entry) -> list[Offer]:
    present = entry.installed_variants
    here = [one for one in entry.installed if one.variant in present]
    built_in = any(variant.host == "builtin" for variant in entry.model.variants)
    if not here and not built_in:
        return []
    model = entry.model
    created = max((_read_time(one.created) for one in here), default=0)
    offers = [Offer(model.name, model.vendor, model.task, created)]
    if len(here) > 1:
        offers += [Offer(one.full_name, model.vendor, model.task, _read_time(one.created)) for one in here]
    return offers


def find_served(name: str) -> Entry:
    """The model on this disk that a name means, as `lf` understands names; it may be spelled as other tools do.

    Raises:
        UnknownNameError: there is none, or the name is none that a server takes.
        StoreError: the store cannot be read.
    """
    try:
        asked = names.parse_name(name[: MAX_NAME + 1])
        if len(name) > MAX_NAME:
            raise _refuse(name)
        entry = find_entry(name, offline=True) if asked.path is None else find_published(name, _refuse(name))
    except (UsageError, NetworkError):  # no name, or a repository of which nothing is here
        raise _refuse(name) from None
    if not _list_offers(entry):
        raise UnknownNameError(
            f"The model `{entry.model.name}` is not on this machine's disk", hint=f"Fetch it: `lf pull {name}`"
        )
    return entry


def _refuse(name: str) -> UnknownNameError:
    return UnknownNameError(
        f"No model named `{name[:80]}`", hint="GET /v1/models lists what this server has; `lf pull MODEL` fetches more"
    )


def _read_time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0

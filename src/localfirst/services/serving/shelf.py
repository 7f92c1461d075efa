"""What a server may be asked for: models on this disk, by their names. No path, no address, nothing to fetch."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst.backends import model_folder
from localfirst.catalog import names
from localfirst.errors import ModelFileError, NetworkError, UnknownNameError, UsageError
from localfirst.gguf.read import read_header
from localfirst.services.library import find_entries, find_named, find_published
from localfirst.store import layout

if TYPE_CHECKING:
    from localfirst.services.library import Entry
    from localfirst.types import InstalledModel, Model, Variant

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
    license: str
    context_tokens: int | None
    """The longest context that it was made for."""
    quantizations: tuple[str, ...]
    """Of the builds that are here."""


class Stock(NamedTuple):
    """A model that can be asked for, with all that is known of what lies there."""

    offer: Offer
    model: Model
    variant: Variant
    """Its build; of a model with several here, one of them."""
    installed: InstalledModel | None
    """Its files; `None`: they came with `lf`."""


def find_offers() -> tuple[Offer, ...]:
    """The models on this disk, by name; of one with several builds here, each of them by its own name too.

    Raises:
        StoreError: the store cannot be read.
    """
    return tuple(one.offer for one in find_stock())


def find_stock() -> tuple[Stock, ...]:
    """As `find_offers`, with what each is.

    Raises:
        StoreError: the store cannot be read.
    """
    found = (one for entry in find_entries() for one in list_stock(entry))
    return tuple(sorted(found, key=lambda one: one.offer.name))


def find_one(name: str) -> Stock:
    """The model on this disk that a name means, as it is listed.

    Raises:
        UnknownNameError: there is none.
        StoreError: the store cannot be read.
    """
    stock = {one.offer.name: one for one in find_stock()}
    return stock[name] if name in stock else stock[find_served(name).model.name]


def read_template(one: Stock) -> str | None:
    """The chat template among a model's files, Jinja source; `None`: there is none, or none that can be read."""
    if one.installed is None:
        return None
    with suppress(ModelFileError, OSError, ValueError):
        main = layout.find_main(one.installed)
        if main.is_dir():
            return model_folder.find_template(main, model_folder.read_optional_json(main / "tokenizer_config.json"))
        if one.installed.format == "gguf":
            with main.open("rb") as file:
                return read_header(file, main.stat().st_size).template
    return None


def list_stock(entry: Entry) -> list[Stock]:
    """As `find_stock`, of one model; none where nothing of it is on this disk."""
    present = entry.installed_variants
    here = [one for one in entry.installed if one.variant in present]
    model = entry.model
    builds = [variant for variant in model.variants if variant.name in present or variant.host == "builtin"]
    if not builds:
        return []
    created = max((_read_time(one.created) for one in here), default=0)
    by_name = {variant.name: variant for variant in builds}
    kinds = tuple(sorted({variant.quantization for variant in builds}))
    context = model.architecture.context_tokens
    whole = Offer(model.name, model.vendor, model.task, created, model.license, context, kinds)
    first = here[0] if here else None
    stock = [Stock(whole, model, builds[0] if first is None else by_name[first.variant], first)]
    for one in here if len(here) > 1 else []:
        variant = by_name[one.variant]
        created = _read_time(one.created)
        offer = whole._replace(name=one.full_name, created_s=created, quantizations=(variant.quantization,))
        stock.append(Stock(offer, model, variant, one))
    return stock


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
        entry = find_named(asked, offline=True) if asked.path is None else find_published(name, _refuse(name))
    except (UsageError, NetworkError):  # no name, or a repository of which nothing is here
        raise _refuse(name) from None
    if not list_stock(entry):
        raise UnknownNameError(
            f"The model `{entry.model.name}` is not on this machine's disk", hint=f"Fetch it: `lf pull {name}`"
        )
    return entry


class Named(NamedTuple):
    """What a name means: a model, and which of its builds."""

    model: str
    variants: frozenset[str]


def find_variants(name: str) -> Named | None:
    """The model that a name means, with the builds that it leaves; `None` where there is none on this disk."""
    try:
        model = find_served(name).model
        wanted = names.parse_name(name).quantization
    except (UnknownNameError, UsageError):
        return None
    return Named(model.name, frozenset(one.name for one in model.variants if wanted in {None, one.name}))


def _refuse(name: str) -> UnknownNameError:
    return UnknownNameError(
        f"No model named `{name[:80]}`", hint="GET /v1/models lists what this server has; `lf pull MODEL` fetches more"
    )


def _read_time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0

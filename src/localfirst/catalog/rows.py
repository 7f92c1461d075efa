"""Models to JSON and back, for the cache: values by position, the names of the fields once in front.

Reading is fast because it checks only those names; `catalog.parse` has checked the rest before it was written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.errors import CatalogError
from localfirst.types import Architecture, KvGroup, Model, ModelFile, RecurrentGroup, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIELDS = {
    cls.__name__: list(cls._fields) for cls in (Model, Architecture, KvGroup, RecurrentGroup, Variant, ModelFile)
}
_ALIASES, _ARCHITECTURE, _VARIANTS, _ORGANISATIONS = map(
    _FIELDS["Model"].index, ("aliases", "architecture", "variants", "organisations")
)
_FILES, _DEVICES = map(_FIELDS["Variant"].index, ("files", "devices"))
_KV_GROUPS, _RECURRENT_GROUPS = map(_FIELDS["Architecture"].index, ("kv_groups", "recurrent_groups"))


def to_json(models: Sequence[Model]) -> str:
    """Models as compact JSON for `from_json`."""
    return json.dumps({"fields": _FIELDS, "models": models}, separators=(",", ":"))


def from_json(text: str) -> tuple[Model, ...]:
    """The models that `to_json` wrote.

    Raises:
        CatalogError: damaged, or written by another version.
    """
    try:
        document = json.loads(text)
        if document["fields"] != _FIELDS:
            raise CatalogError("The cached catalog is of another version")
        return tuple(_read_model(row) for row in document["models"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise CatalogError("The cached catalog is damaged", detail=str(error)) from error


def _read_model(row: list[Any]) -> Model:
    row[_ALIASES] = tuple(row[_ALIASES])
    row[_ORGANISATIONS] = tuple(row[_ORGANISATIONS])
    architecture = row[_ARCHITECTURE]
    architecture[_KV_GROUPS] = tuple(KvGroup(*group) for group in architecture[_KV_GROUPS])
    architecture[_RECURRENT_GROUPS] = tuple(RecurrentGroup(*group) for group in architecture[_RECURRENT_GROUPS])
    row[_ARCHITECTURE] = Architecture(*architecture)
    row[_VARIANTS] = tuple(_read_variant(variant) for variant in row[_VARIANTS])
    return Model(*row)


def _read_variant(row: list[Any]) -> Variant:
    row[_FILES] = tuple(ModelFile(*file) for file in row[_FILES])
    row[_DEVICES] = tuple(row[_DEVICES])
    return Variant(*row)

"""A part of a catalog as a catalog of its own: some of its models, and what their entries refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.catalog.document import load_document

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def cut_catalog(text: str, name: str, models: Collection[str]) -> str:
    """The entries of these models, with the sources, licences and vendors that they name; the same text each time.

    The text is a catalog without a mistake; `name` is the file's in messages.

    Raises:
        CatalogError: not YAML.
    """
    import yaml

    _, document = load_document(text, name)
    kept = [entry for entry in document["models"] if entry["name"] in models]
    licenses = {entry["license"] for entry in kept}
    record = {
        "sources": _keep(document, "sources", set(_find_sources(kept))),
        "licenses": _keep(document, "licenses", licenses),
        "terms": [one for one in document.get("terms", ()) if one in licenses],
        "vendors": _keep(document, "vendors", {entry["vendor"] for entry in kept}),
        "models": kept,
    }
    return yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)


def _keep(document: dict[str, Any], table: str, keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in document[table].items() if key in keys}


def _find_sources(value: Any) -> Iterator[str]:
    """Every `source` in entries, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from _find_sources(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "source":
                yield from [item] if isinstance(item, str) else item
            else:
                yield from _find_sources(item)

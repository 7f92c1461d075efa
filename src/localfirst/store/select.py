"""Which files of a listing make up a variant: its exact paths and globs, looked up in what the hub really has."""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from localfirst.errors import CatalogError, IntegrityError, ModelFileError
from localfirst.store.builds import find_shards
from localfirst.store.listing import HubFile
from localfirst.store.names import is_inert, is_projector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from localfirst.store.listing import Listing
    from localfirst.types import ModelFile, Variant


# Patterns for what accompanies weights and may be part of another file: a template, the tokenizer's pieces.
_OPTIONAL = re.compile(r"(\.jinja|\.json|\.txt|\.model|/?tokenizer\*)$", re.IGNORECASE)


def select_files(variant: Variant, listing: Listing, notice: Callable[[str], None]) -> tuple[HubFile, ...]:
    """The files to fetch, each once, with every digest that is known for it.

    Raises:
        CatalogError: a file is not in the repository, or a pattern names several models.
        IntegrityError: the hub has another size or digest than the catalog.
        ModelFileError: a file is of a kind that is never fetched.
    """
    chosen: dict[str, HubFile] = {}
    for wanted in variant.files:
        if is_glob(wanted.path):
            found = _match(wanted.path, variant, listing)
        else:
            found = [_agree(wanted, _find(wanted.path, listing, notice), listing)]
        chosen.update({file.path: file for file in found})
    refused = [path for path in chosen if not is_inert(path, variant.format)]
    if refused:
        raise ModelFileError(
            f"`{listing.repo}` needs files that may hold code; such files are never fetched", detail="\n".join(refused)
        )
    _check_one_model(variant, tuple(chosen), listing)
    return tuple(chosen[path] for path in sorted(chosen))


def is_glob(path: str) -> bool:
    """Whether a variant's file is a pattern."""
    return any(character in path for character in "*?[")


def is_optional(pattern: str) -> bool:
    """Whether a pattern is for what accompanies weights, and may match nothing."""
    return _OPTIONAL.search(pattern) is not None


def match_glob(pattern: str, paths: Iterable[str]) -> list[str]:
    """The paths that match part by part: `folder/*` is what lies directly in the folder. Case does not count."""
    parts = pattern.lower().split("/")
    found = []
    for path in paths:
        names = path.lower().split("/")
        if len(names) == len(parts) and all(map(fnmatchcase, names, parts)):
            found.append(path)
    return found


def _match(pattern: str, variant: Variant, listing: Listing) -> list[HubFile]:
    files = {
        file.path: file
        for file in listing.files
        if is_inert(file.path, variant.format) and ("mmproj" in pattern.lower() or not is_projector(file.path))
    }
    found = [files[path] for path in match_glob(pattern, files)]
    if not found and not is_optional(pattern):
        raise _missing(pattern, listing)
    return found


def _find(path: str, listing: Listing, notice: Callable[[str], None]) -> HubFile:
    for file in listing.files:
        if file.path == path:
            return file
    for file in listing.files:
        if file.path.lower() == path.lower():
            notice(f"`{listing.repo}` spells {path} as {file.path}; using that")
            return file
    raise _missing(path, listing)


def _missing(path: str, listing: Listing) -> CatalogError:
    names = [file.path for file in listing.files]
    close = difflib.get_close_matches(path, names, n=3, cutoff=0.5)
    return CatalogError(
        f"`{listing.repo}` has no file {path} at commit {listing.commit[:12]}",
        detail="Nearest: " + ", ".join(close) if close else f"It has {len(names)} files, none with such a name.",
        hint=f"Choose a build that is there: `lf model info hf:{listing.repo}`.",
    )


def _agree(wanted: ModelFile, file: HubFile, listing: Listing) -> HubFile:
    pairs: Sequence[tuple[str, object, object]] = (
        ("SHA-256", wanted.sha256, file.sha256),
        ("size", wanted.size_bytes, file.size_bytes),
    )
    for what, known, offered in pairs:
        if known is not None and offered is not None and known != offered:
            raise IntegrityError(
                f"{file.path} of `{listing.repo}` is not the file that the catalog knows: another {what}",
                detail=f"catalog: {known}\nhub:     {offered}",
                hint=f"Nothing was fetched. To use the hub's file as it is now: `lf pull hf:{listing.repo}`.",
            )
    return HubFile(file.path, file.size_bytes, file.sha256 or wanted.sha256, file.git_sha1)


def _check_one_model(variant: Variant, paths: tuple[str, ...], listing: Listing) -> None:
    if variant.format != "gguf":
        return
    models = [path for path in paths if path.lower().endswith(".gguf") and not is_projector(path)]
    shards = find_shards(models, models[0]) if models else None
    if shards is None:
        raise CatalogError(f"`{listing.repo}` has only a part of this model", detail="\n".join(paths))
    if len(shards) != len(models):
        raise CatalogError(
            f"The files of `{variant.name}` are more than one model", detail="\n".join(models), hint="Name one of them."
        )

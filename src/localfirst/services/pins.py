"""Whether the hub still has what a catalog says: revisions, names, sizes, digests, gates; and entries put right."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localfirst.catalog.refuse import refuse_build
from localfirst.catalog.wishes import is_quantization
from localfirst.errors import CatalogError, LfError, LicenseError, NetworkError, UnknownNameError, UsageError
from localfirst.services import catalogue
from localfirst.services.library import find_entry
from localfirst.store.select import is_glob, is_optional, match_glob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.store.listing import Listing
    from localfirst.types import Model, ModelFile, Variant

PinState = Literal["same", "moved", "changed", "gone", "gated", "unknown"]
"""As pinned; the branch has moved on and the files are the same; a file, its size or its digest is another; a file or
the repository is not there; not to be seen without an accepted licence; the hub did not tell."""


@dataclass(frozen=True, slots=True)
class PinCheck:
    """One build against its repository as it is now.

    `entry` are the keys of a corrected entry; none where nothing is to be corrected, or could be seen.
    """

    model: Model
    variant: Variant
    state: PinState
    findings: tuple[str, ...] = ()
    entry: tuple[tuple[str, str | None], ...] = ()


def check_pins(text: str | None = None, *, offline: bool = False) -> Iterator[PinCheck]:
    """Compare the builds of one model, or of all, with the hub, asking once for each repository.

    Raises:
        UsageError, UnknownNameError: `text` is no model's name.
        NetworkError: the hub cannot be reached, or `offline` is set.
    """
    if offline:
        raise NetworkError("Only the hub knows what it has now, and --offline forbids to ask it")
    models, asked_variant = catalogue.load_models(), None
    if text is not None:
        entry = find_entry(text, offline=True)
        if entry.asked.name is None:
            raise UsageError(f"`{text}` is not a catalog name", hint="List the names: `lf list`")
        models, asked_variant = (entry.model,), entry.asked.quantization
        if unknown := refuse_build(entry.model, asked_variant):
            raise unknown
    asked: dict[str, Listing | LfError] = {}
    for model in models:
        for variant in model.variants:
            if variant.host == "huggingface" and is_quantization(variant, asked_variant):
                yield _check(model, variant, asked)


def read_target(path: Path) -> str:
    """A catalog file that entries are to be corrected in, before anything is asked of the hub.

    Raises:
        UsageError: the file cannot be read.
        CatalogError: it is no catalog.
    """
    from localfirst.catalog.parse import read_catalog

    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", detail=str(error)) from error
    read_catalog(text, path.name)
    return text


def write_entries(path: Path, checks: list[PinCheck]) -> int:
    """Put corrected entries into a catalog file, leaving all other keys as they are; how many were put there.

    Raises:
        UsageError: the file cannot be read or written.
        CatalogError: it is no catalog, or would have a mistake more than before; it is left as it is.
    """
    from localfirst.catalog.document import replace_keys
    from localfirst.catalog.parse import read_catalog

    before = read_target(path)
    line_end = "\r\n" if "\r\n" in before else "\n"
    text, written = before.replace("\r\n", "\n"), 0
    for check in checks:
        if check.entry:
            changed = replace_keys(text, path.name, check.model.name, check.variant.name, dict(check.entry))
            written, text = written + (changed != text), changed
    mistakes = read_catalog(text, path.name)[1]
    if len(mistakes) > len(read_catalog(before, path.name)[1]):
        raise CatalogError(f"{path} is not corrected: it would have a mistake", detail="\n".join(mistakes))
    if written:
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_bytes(text.replace("\n", line_end).encode())
            partial.replace(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written", detail=str(error)) from error
    return written


def _check(model: Model, variant: Variant, asked: dict[str, Listing | LfError]) -> PinCheck:
    from localfirst.store.net.hub import read_listing

    if variant.repo not in asked:
        try:
            asked[variant.repo] = read_listing(variant.repo, None)
        except NetworkError as error:
            if not asked:
                raise
            asked[variant.repo] = error
        except LfError as error:
            asked[variant.repo] = error
    answer = asked[variant.repo]
    if isinstance(answer, LicenseError):
        findings = () if variant.gated else ("the hub wants an accepted licence; the catalog does not say so",)
        return PinCheck(model, variant, "gated", findings)
    if isinstance(answer, LfError):
        state: PinState = "gone" if isinstance(answer, UnknownNameError) else "unknown"
        return PinCheck(model, variant, state, (answer.message,))
    return compare(model, variant, answer)


def compare(model: Model, variant: Variant, listing: Listing) -> PinCheck:
    """A build against a listing of its repository's main branch."""
    files = [_compare_file(wanted, listing) for wanted in variant.files]
    changed = [finding for found in files for finding in found.findings]
    if listing.gated != variant.gated:
        changed.append("is gated now" if listing.gated else "is not gated any more")
    moved = variant.revision is not None and variant.revision != listing.commit
    findings = [f"the main branch is at {listing.commit}, the pin is {variant.revision}"] if moved else []
    if any(found.line is None for found in files):
        return PinCheck(model, variant, "gone", (*findings, *changed))
    if not (changed or moved):
        return PinCheck(model, variant, "same")
    lines = "".join(f"\n          - {found.line}" for found in files)
    entry: list[tuple[str, str | None]] = [("revision", f" {listing.commit}"), ("files", lines)]
    if not any(is_glob(wanted.path) for wanted in variant.files):
        entry.append(("size", None))  # now that every file has its own
    if listing.gated != variant.gated:
        entry.append(("gated", " true" if listing.gated else None))
    return PinCheck(model, variant, "changed" if changed else "moved", (*findings, *changed), tuple(entry))


@dataclass(frozen=True, slots=True)
class _Found:
    """The line of the catalog for one file as the hub has it, `None` where it has none, and what is to be said."""

    line: str | None
    findings: tuple[str, ...] = ()


def _compare_file(wanted: ModelFile, listing: Listing) -> _Found:
    if is_glob(wanted.path):
        there = is_optional(wanted.path) or match_glob(wanted.path, (file.path for file in listing.files))
        return _Found(f"{{path: {json.dumps(wanted.path)}}}") if there else _missing(wanted, listing)
    file = next((file for file in listing.files if file.path.lower() == wanted.path.lower()), None)
    if file is None:
        return _missing(wanted, listing)
    findings = []
    if file.path != wanted.path:
        findings.append(f"{wanted.path} is spelt {file.path} now")
    if wanted.size_bytes not in (None, file.size_bytes):
        findings.append(f"{file.path} has {file.size_bytes} bytes, the catalog says {wanted.size_bytes}")
    if wanted.sha256 is not None and file.sha256 not in (None, wanted.sha256):
        findings.append(f"{file.path} has the sha256 {file.sha256}, the catalog says {wanted.sha256}")
    digest = f", sha256: {file.sha256}" if file.sha256 else ""
    path = file.path if re.fullmatch(r"[A-Za-z][\w./-]*[.][a-z]+", file.path) else json.dumps(file.path)
    return _Found(f"{{path: {path}, bytes: {file.size_bytes}{digest}}}", tuple(findings))


def _missing(wanted: ModelFile, listing: Listing) -> _Found:
    near = difflib.get_close_matches(wanted.path, [file.path for file in listing.files], n=1)
    return _Found(None, (f"{wanted.path} is not there" + (f"; nearest: {near[0]}" if near else ""),))

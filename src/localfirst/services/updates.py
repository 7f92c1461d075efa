"""Newer revisions of what is on this disk: whether there are any, fetching them, going back, holding one.

What a catalog pins moves with the catalog; what nobody pins moves with its branch on the hub, which has to be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst.catalog.names import parse_name
from localfirst.errors import CatalogError, LfError, NetworkError, UnknownNameError, UsageError
from localfirst.services import consent
from localfirst.services.catalogue import load_models
from localfirst.services.library import add_terms, find_histories, find_on_disk
from localfirst.store import builds, manifest, pull, revisions
from localfirst.store.compare import find_changes
from localfirst.store.names import is_commit
from localfirst.store.select import is_glob
from localfirst.store.verify import check_quick
from localfirst.types import format_build

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localfirst.store.listing import Listing
    from localfirst.store.progress import Report
    from localfirst.store.revisions import History
    from localfirst.types import InstalledModel, Model, Variant

State = Literal["newest", "newer", "other files", "fixed", "kept", "gone", "not found", "unknown"]
"""It is the newest; there is a newer one; a newer commit changes none of its files; its name says which commit; its
files are kept by others; no catalog or repository has this build any more; the hub shows no such repository, or not to
this user; the hub did not tell."""


class Outlook(NamedTuple):
    """A build on this disk, and what is newer."""

    history: History
    state: State
    newest: str | None = None
    """The newest commit, where it is known."""
    changed_bytes: int | None = None
    """The size of the files that a newer revision changes."""
    error: LfError | None = None
    """Why the build is gone, or the newest revision unknown."""
    model: Model | None = None
    variant: Variant | None = None
    """What to fetch, in the terms of a catalog."""
    listing: Listing | None = None
    """The repository at the newest commit, where the hub was asked."""

    @property
    def is_due(self) -> bool:
        """An update would fetch it."""
        return self.state == "newer" and not self.history.pinned


class Updated(NamedTuple):
    """A build after an update: `installed` is its new current revision, `error` is why there is none."""

    outlook: Outlook
    installed: InstalledModel | None = None
    error: LfError | None = None


def find_outlooks(
    names: Sequence[str] = (), *, offline: bool = False, thorough: bool = False, report: Report
) -> tuple[Outlook, ...]:
    """What is newer than the current revision of the builds that are named, or of all.

    Args:
        names: as typed.
        offline: ask no hub; what only a hub knows is unknown.
        thorough: ask the hub for the files of a commit that a catalog pins, too.
        report: told of waiting.

    Raises:
        UsageError, UnknownNameError: a name means nothing on this disk.
        StoreError: the store cannot be read.
    """
    hub = None if offline else _Hub(report)
    models = {model.name: model for model in load_models()}
    return tuple(_look(history, models.get(history.current.name), hub, thorough) for history in _select(names))


def _select(names: Sequence[str]) -> tuple[History, ...]:
    """The builds that are named, each once; all where none is named."""
    if not names:
        return find_histories()
    found = (history for name in names for history in find_on_disk(name, "lf model update")[1])
    return tuple(dict.fromkeys(found))


class _Hub:
    """Listings, each asked for once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._known: dict[tuple[str, str | None], Listing | LfError] = {}

    def read(self, repo: str, revision: str | None) -> Listing:
        """A repository's files at a revision.

        Raises:
            LfError: as the hub answers.
        """
        from localfirst.store.net.hub import read_listing

        key = (repo, revision)
        if key not in self._known:
            try:
                self._known[key] = read_listing(repo, revision, report=self._report)
            except LfError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, LfError):
            raise found
        return found


def _look(history: History, model: Model | None, hub: _Hub | None, thorough: bool) -> Outlook:
    current = history.current
    if current.keeper is not None or current.repo is None:
        return Outlook(history, "kept")
    try:
        if current.name.startswith("hf:"):
            return _look_at_repository(history, hub)
        variant = next((one for one in model.variants if one.name == current.variant), None) if model else None
        if model is None or variant is None or variant.host != "huggingface":
            return Outlook(history, "gone", error=UnknownNameError("no catalog has this build any more"))
        return _look_at_catalog(history, model, variant, hub, thorough)
    except (UnknownNameError, CatalogError) as error:
        return Outlook(history, "not found" if isinstance(error, UnknownNameError) else "gone", error=error)
    except LfError as error:
        return Outlook(history, "unknown", error=error)


def _require(hub: _Hub | None) -> _Hub:
    if hub is None:
        raise NetworkError("only the hub knows what is newest, and --offline forbids to ask it")
    return hub


def _look_at_catalog(history: History, model: Model, variant: Variant, hub: _Hub | None, thorough: bool) -> Outlook:
    current, pin = history.current, variant.revision
    if not is_commit(pin):
        return _compare(history, model, variant, _require(hub).read(variant.repo, pin))
    if _is_at(current, variant.repo, pin):
        return Outlook(history, "newest", pin)
    if thorough:
        return _compare(history, model, variant, _require(hub).read(variant.repo, pin))
    pinned = {file.path: file.sha256 for file in variant.files}
    exact = not any(is_glob(path) or digest is None for path, digest in pinned.items())
    here = {file.path: file.sha256 for file in current.files}
    if exact and pinned == here:
        return Outlook(history, "other files", pin)
    changed = [file.size_bytes for file in variant.files if here.get(file.path) != file.sha256]
    known = [size for size in changed if size is not None] if exact else []
    size = sum(known) if exact and len(known) == len(changed) else None
    return Outlook(history, "newer", pin, size, None, model, variant)


def _look_at_repository(history: History, hub: _Hub | None) -> Outlook:
    asked = parse_name(history.current.name)
    if is_commit(asked.revision):
        return Outlook(history, "fixed", history.current.revision)
    listing = _require(hub).read(asked.repo or "", asked.revision)
    model = builds.describe_listing(listing, asked.revision, None, "")
    here = {file.path for file in history.current.files}
    variant = next((one for one in model.variants if one.name == history.current.variant), None) or next(
        # A build's short name becomes a long one where another build comes to want it.
        (one for one in model.variants if {file.path for file in one.files} == here),
        None,
    )
    if variant is None:
        lost = UnknownNameError(f"the repository has no such build any more at {listing.commit[:12]}")
        return Outlook(history, "gone", error=lost)
    model = add_terms(model._replace(name=history.current.name))
    return _compare(history, model, variant._replace(name=history.current.variant), listing)


def _is_at(installed: InstalledModel, repo: str, commit: str | None) -> bool:
    """Whether it is this commit of this repository; a hub answers to a name in any case, and a catalog may have one."""
    return installed.revision == commit and (installed.repo or "").lower() == repo.lower()


def _compare(history: History, model: Model, variant: Variant, listing: Listing) -> Outlook:
    """The build against the files that the hub has."""
    current = history.current
    if _is_at(current, listing.repo, listing.commit):
        return Outlook(history, "newest", listing.commit)
    changes = find_changes(variant, listing, current)
    if changes is None:
        return Outlook(history, "other files", listing.commit)
    variant = variant._replace(revision=listing.commit)
    return Outlook(
        history, "newer", listing.commit, sum(file.size_bytes for file in changes), None, model, variant, listing
    )


def update(  # noqa: PLR0913 - one keyword per option
    names: Sequence[str],
    *,
    every: bool,
    check: bool = False,
    offline: bool = False,
    accept_license: bool = False,
    report: Report,
) -> tuple[Updated, ...]:
    """Fetch what is newer beside what is there, verify it, and make it the current revision.

    What cannot be updated stays as it is. Of several builds, each has its own error. With `check` nothing is fetched.

    Raises:
        UsageError: neither a name nor all were asked for, or both.
        NetworkError: offline.
        ConsentError: the licence of a newer revision is not accepted; nothing was fetched.
        LfError: as the look-up or, of a single build, the transfer says.
    """
    if bool(names) == every:
        raise UsageError("Name models or say `--all`", hint="What is newer: `lf model outdated`")
    if offline:
        raise NetworkError(
            "An update asks the hub, and --offline forbids it",
            hint="What the catalog names now: `lf model outdated --offline`. An earlier revision: `lf model rollback`.",
        )
    outlooks = find_outlooks(names, thorough=True, report=report)
    for outlook in outlooks:
        if outlook.is_due and outlook.model and not check:
            consent.require_for(outlook.model, accepted=accept_license)
    alone = len(outlooks) == 1
    return tuple(_update(outlook, check=check, alone=alone, report=report) for outlook in outlooks)


def _update(outlook: Outlook, *, check: bool, alone: bool, report: Report) -> Updated:
    if outlook.state == "unknown" and outlook.error:
        if alone:
            raise outlook.error
        return Updated(outlook, error=outlook.error)
    if check or not outlook.is_due or outlook.model is None or outlook.variant is None:
        return Updated(outlook)
    try:
        installed = pull.fetch(outlook.model, outlook.variant, listing=outlook.listing, report=report)
    except LfError as error:
        if alone:
            raise
        return Updated(outlook, error=error)
    return Updated(outlook, installed)


class Moved(NamedTuple):
    """A build whose current revision is another one now."""

    before: History
    after: History


def roll_back(name: str, revision: str | None = None) -> Moved:
    """Make the revision that was current before, or one that is named, the current one.

    Raises:
        UnknownNameError: the model or such a revision is not on this disk, or the name means several builds.
        UsageError: the current revision is pinned.
        IntegrityError: files of that revision are missing; the current one stays.
        StoreError: the choice cannot be kept.
    """
    _, found = find_on_disk(name, "lf model rollback")
    if len(found) > 1:
        raise UnknownNameError(
            f"`{name}` has {len(found)} builds on this disk",
            detail="\n".join(builds_found := [format_build(*one.current[:2]) for one in found]),
            hint=f"Name one of them: `lf model rollback {builds_found[0]}`",
        )
    (history,) = found
    check_quick(revisions.find_target(history, revision))
    return Moved(*revisions.roll_back(history.current, manifest.find_all(), revision))


def set_pins(names: Iterable[str], *, pinned: bool) -> tuple[History, ...]:
    """Hold the current revision of every build that is named, or let it move again.

    Raises:
        UnknownNameError, UsageError: a name means nothing on this disk.
        StoreError: the choice cannot be kept.
    """
    return tuple(_set_pins(tuple(names), pinned))


def _set_pins(names: tuple[str, ...], pinned: bool) -> Iterator[History]:
    found = _select(names)
    everything = manifest.find_all()
    for history in found:
        yield revisions.set_pin(history.current, everything, pinned=pinned)

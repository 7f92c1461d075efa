"""Lock files: writing down exactly which bytes models consist of, and having the same bytes elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.wishes import is_quantization
from localfirst.errors import IntegrityError, NetworkError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.services import consent
from localfirst.services.catalogue import find_recipe, load_models
from localfirst.services.library import find_entry, find_histories
from localfirst.services.planning import NOTHING_WANTED, find_runtimes_for, plan_fetch
from localfirst.store import builds, builtin, lockfile, manifest, pull, revisions, verify
from localfirst.store.compare import hash_git
from localfirst.store.listing import HubFile
from localfirst.store.lockfile import LockedFile, LockedModel
from localfirst.store.select import select_files
from localfirst.types import InstalledFile, InstalledModel, ModelFile, Progress, format_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from localfirst.services.library import Entry
    from localfirst.store.listing import Listing
    from localfirst.store.progress import Report
    from localfirst.types import Model, Variant


class Fulfilled(NamedTuple):
    """A locked build that is on this disk now."""

    installed: InstalledModel
    fetched: bool
    before: InstalledModel | None = None
    """The revision that was used until now, where that is another one."""


def lock_models(names: Iterable[str], *, offline: bool = False, report: Report) -> tuple[LockedModel, ...]:
    """What is to be written down for the builds that are named, or that would run here.

    Of what is on this disk, it is that; of others, what their hub has.

    Raises:
        UsageError: a file that comes from no repository.
        LfError: as the name, the plan, or the hub says.
    """
    locked = (_lock(name, offline, report) for name in names)
    return tuple(dict.fromkeys(locked))


def _lock(name: str, offline: bool, report: Report) -> LockedModel:
    entry = find_entry(name, offline=offline)
    variant = _choose(entry, name, offline, report)
    installed = next((one for one in entry.installed if one.variant == variant.name), None)
    if variant.host == "builtin":
        installed = builtin.find_builtin(entry.model, variant)
    elif installed is not None and (installed.repo is None or installed.revision is None):
        raise UsageError(
            f"`{name}` cannot be locked: it comes from no repository that others could fetch it from",
            detail=installed.root,
            hint="Copy the file itself; `lf model import` takes it into use there.",
        )
    if installed is None:
        return _lock_published(entry, variant, offline, report)
    verify.check_quick(installed)
    return LockedModel(
        installed.name,
        installed.variant,
        installed.format,
        installed.quantization,
        _find_license(entry.model, installed.repo),
        installed.repo,
        installed.revision,
        tuple(LockedFile(file.path, file.size_bytes, file.sha256) for file in installed.files),
    )


def _choose(entry: Entry, name: str, offline: bool, report: Report) -> Variant:
    """The build that is named, whether or not it runs here; else the one that would run here."""
    asked = entry.asked
    named = [one for one in entry.model.variants if is_quantization(one, asked.quantization)]
    if len(named) == 1 and (asked.quantization or asked.file or asked.path):
        return named[0]
    return plan_fetch(name, NOTHING_WANTED, offline=offline, report=report).resolution.chosen.variant


def _find_license(model: Model, repo: str | None) -> str:
    """The catalog's name of a licence, also where only a repository was named."""
    if model.license != "unknown":
        return model.license
    owner = next((one for one in load_models() for variant in one.variants if variant.repo == repo), model)
    return owner.license


def _lock_published(entry: Entry, variant: Variant, offline: bool, report: Report) -> LockedModel:
    from localfirst.store.net.hub import read_listing

    if offline:
        name = format_build(entry.model.name, variant.name)
        raise NetworkError(
            f"`{name}` is not installed, and --offline forbids asking which files it has",
            hint=f"Run `lf model lock {name}` with a connection.",
        )
    listing = read_listing(variant.repo, variant.revision, report=report)
    files = select_files(variant, listing, lambda _: None)
    return LockedModel(
        entry.model.name,
        variant.name,
        variant.format,
        variant.quantization,
        entry.model.license,
        listing.repo,
        listing.commit,
        tuple(
            LockedFile(file.path, file.size_bytes, file.sha256, None if file.sha256 else file.git_sha1)
            for file in files
        ),
    )


def pull_locked(
    path: Path, *, offline: bool = False, accept_license: bool = False, report: Report
) -> tuple[Fulfilled, ...]:
    """Have exactly the bytes that a lock file lists, and use them; nothing is fetched before all of it is checked.

    Raises:
        UsageError: the file is no lock file, or a model of it is pinned to another revision or is the user's own.
        IntegrityError: a hub, this disk or this program has other bytes; both digests are in the detail.
        NetworkError: offline, and not all is on this disk.
        ConsentError: a licence is not accepted.
        LfError: as the hub or the transfer says.
    """
    models = lockfile.read_lock(path)
    _check_store(models)
    used = {(one.name, one.variant): one for one in revisions.keep_current(manifest.find_all())}
    present = {model: found for model in models if (found := _find_present(model)) is not None}
    missing = [model for model in models if model not in present]
    if missing and offline:
        raise NetworkError(
            f"{len(missing)} of {len(models)} locked builds are not on this disk, and --offline forbids fetching them",
            detail="\n".join(format_build(model.name, model.variant) for model in missing),
            hint=f"Run `lf pull --locked {path}` with a connection.",
        )
    _tell(missing, report)
    listings = {model: _check_hub(model, report) for model in missing}
    for model, listing in listings.items():
        if owner := _find_terms(model, listing):
            consent.require_for(owner, accepted=accept_license)
    for model, listing in listings.items():
        present[model] = pull.fetch(*_describe(model), listing=listing, report=report)
        _check_same(model, present[model])
    everything = manifest.find_all()
    for model in models:
        if model.repo is not None:
            revisions.make_current(present[model], everything)
    return tuple(
        Fulfilled(present[model], model in listings, _find_other(used.get((model.name, model.variant)), model))
        for model in models
    )


def _find_other(used: InstalledModel | None, model: LockedModel) -> InstalledModel | None:
    return None if used is None or used.revision == model.revision else used


def _check_store(models: Sequence[LockedModel]) -> None:
    """Refuse what would move a model that its user holds, or hide one of the user's own."""
    for history in find_histories():
        current = history.current
        for model in models:
            if model.name != current.name:
                continue
            if current.host == "import":
                raise UsageError(
                    f"`{model.name}` is the name of a model of your own here",
                    hint=f"Give that another one: `lf model rm {model.name}`, then import it with `--name`.",
                )
            if history.pinned and model.variant == current.variant and model.revision != current.revision:
                raise UsageError(
                    f"`{format_build(*current[:2])}` is pinned to another revision than the lock file's",
                    detail=f"pinned: {current.revision}\nlocked: {model.revision}",
                    hint=f"Let it move first: `lf model unpin {model.name}`",
                )


def _find_present(model: LockedModel) -> InstalledModel | None:
    """The build as it is on this disk or in this program; `None` where it is to be fetched.

    Raises:
        IntegrityError: it has other bytes.
    """
    if model.repo is None:
        return _find_built_in(model)
    installed = manifest.find(model.name, model.variant, model.revision)
    if installed is None or installed.repo != model.repo:
        return None
    try:
        verify.check_quick(installed)
    except IntegrityError:
        return None  # a pull mends it
    _check_same(model, installed)
    return installed


def _find_built_in(model: LockedModel) -> InstalledModel:
    for known in load_models():
        for variant in known.variants:
            if (known.name, variant.name, variant.host) == (model.name, model.variant, "builtin"):
                installed = builtin.find_builtin(known, variant)
                _check_same(model, installed)
                if problems := verify.verify(installed):
                    raise IntegrityError(
                        f"`{model.name}` is damaged", detail=problems[0].detail, hint="Install localfirst again."
                    )
                return installed
    raise UsageError(f"`{format_build(model.name, model.variant)}` is not part of this version of lf")


def _check_same(model: LockedModel, installed: InstalledModel) -> None:
    """Refuse an installed model that is not what is locked, file by file."""
    here = {file.path: file for file in installed.files}
    root = Path(installed.root)
    pairs: list[tuple[str, object, object]] = []
    for file in model.files:
        one = here.pop(file.path, None)
        pairs.append((file.path, file.size_bytes, one.size_bytes if one else "no such file"))
        if one is not None and file.sha256 is not None:
            pairs.append((file.path, file.sha256, one.sha256))
        if one is not None and file.git_sha1 is not None:
            pairs.append((file.path, file.git_sha1, hash_git(root / file.path, file.size_bytes)))
    pairs += [(path, "no such file", file.sha256) for path, file in here.items()]
    remedy = f"If the lock file is right: `lf model rm {model.name}`, then this again."
    if model.repo is None:
        remedy = "The version of lf that wrote the lock file has it; `lf_version` there says which."
    _refuse_other(model, "this disk", pairs, remedy)


def _refuse_other(
    model: LockedModel, where: str, pairs: Iterable[tuple[str, object, object]], hint: str | None = None
) -> None:
    for path, locked, found in pairs:
        if locked != found:
            raise IntegrityError(
                f"`{format_build(model.name, model.variant)}` is not what the lock file says: {path}",
                detail=f"{'locked:':{len(where) + 1}} {locked}\n{where}: {found}",
                hint=hint,
            )


def _check_hub(model: LockedModel, report: Report) -> Listing:
    """The repository at the locked commit with the locked files alone, if the hub has these very files.

    Raises:
        IntegrityError: it has others.
    """
    from localfirst.store.net.hub import read_listing

    listing = read_listing(model.repo or "", model.revision, report=report)
    offered = {file.path: file for file in listing.files}
    pairs: list[tuple[str, object, object]] = [("the commit", model.revision, listing.commit)]
    pairs.append(("the repository", model.repo, listing.repo))
    files = []
    for file in model.files:
        one = offered.get(file.path)
        pairs.append((file.path, file.size_bytes, one.size_bytes if one else "no such file"))
        for locked, found in ((file.sha256, one and one.sha256), (file.git_sha1, one and one.git_sha1)):
            if locked is not None and found is not None:
                pairs.append((file.path, locked, found))
        if one is not None:
            files.append(HubFile(file.path, file.size_bytes, file.sha256 or one.sha256, file.git_sha1 or one.git_sha1))
    _refuse_other(model, "the hub", pairs, "Nothing was fetched.")
    return replace(listing, files=tuple(files))


def _find_terms(model: LockedModel, listing: Listing) -> Model | None:
    """The catalog's model whose licence this build comes under, by its name, its repository, or the licence's name."""
    known, licenses = load_models(), {model.license, listing.license}
    rules: tuple[Callable[[Model], bool], ...] = (
        lambda one: one.name == model.name,
        lambda one: any(variant.repo == model.repo for variant in one.variants),
        lambda one: one.license in licenses and one.terms,
    )
    return next((one for rule in rules for one in known if rule(one)), None)


def _tell(models: Iterable[LockedModel], report: Report) -> None:
    """Say what a user should know of builds that are fetched without being chosen."""
    loaded = {kind for one in find_runtimes_for(probe()) if one.state != "unavailable" for kind in one.formats}
    repos = {(one.name, variant.name): variant.repo for one in load_models() for variant in one.variants}
    for model in models:
        notices = []
        if model.format not in loaded:
            notices.append(f"no engine on this machine loads {model.format}")
        named = repos.get((model.name, model.variant), model.repo)
        if named != model.repo:
            notices.append(f"is locked to {model.repo}; the catalog here names {named}")
        for notice in notices:
            report(Progress(model.name, 0, None, None, {"notice": notice}))


def _describe(model: LockedModel) -> tuple[Model, Variant]:
    """A locked build in the terms of a catalog."""
    known = next((one for one in load_models() if one.name == model.name), None)
    installed = InstalledModel(
        name=model.name,
        variant=model.variant,
        format=model.format,
        quantization=model.quantization,
        host="huggingface",
        repo=model.repo,
        revision=model.revision,
        root="",
        files=tuple(InstalledFile(file.path, file.size_bytes, file.sha256 or "") for file in model.files),
        created="",
        title=known.title if known else model.repo,
        license=None if model.license == "unknown" else model.license,
    )
    described = builds.describe_installed((installed,), None)
    files = tuple(ModelFile(file.path, file.size_bytes, file.sha256) for file in model.files)
    recipe = find_recipe(files, model.quantization)
    return described, described.variants[0]._replace(files=files, recipe=recipe)

"""Every model that a name can mean: the catalog's, those on this disk, a file or folder, a repository on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog import names
from localfirst.catalog.wishes import is_quantization
from localfirst.errors import NetworkError, StoreError, UnknownNameError, UsageError
from localfirst.services import catalogue
from localfirst.store import consent, manifest, revisions
from localfirst.store.keepers import HF_CACHE, say_keeper
from localfirst.store.revisions import History
from localfirst.store.upkeep.survey import find_unfinished, measure
from localfirst.store.verify import is_gone
from localfirst.types import ModelName, format_build
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from localfirst.errors import LfError
    from localfirst.types import InstalledModel, Model, Plan


class Part(NamedTuple):
    """A build whose download has not ended."""

    variant: str
    full_name: str
    size_bytes: int
    """What it takes on the disk so far."""


class Entry(NamedTuple):
    """A model, what of it is on this disk, and the name as it was asked for."""

    asked: ModelName
    model: Model
    histories: tuple[History, ...]

    @property
    def installed(self) -> tuple[InstalledModel, ...]:
        """The current revision of each build that is on this disk."""
        return tuple(history.current for history in self.histories)

    @property
    def installed_variants(self) -> frozenset[str]:
        """Names of the variants that are on this disk."""
        return frozenset(model.variant for model in self.installed if not is_gone(model))

    def is_pinned(self, installed: InstalledModel) -> bool:
        """Whether its user holds this current revision."""
        return any(history.pinned and history.current == installed for history in self.histories)

    def tell_installed(self, plan: Plan) -> Plan:
        """The plan with what its build is on this disk: revision, who keeps the files, whether they are gone."""
        one = next((one for one in self.installed if one.variant == plan.variant.name), None)
        if one is None:
            return plan
        if is_gone(one):
            return plan._replace(keeper=one.keeper, gone=True)
        if not plan.installed:
            return plan
        return plan._replace(revision=one.revision, keeper=one.keeper)


def find_entry(text: str, *, offline: bool = False) -> Entry:
    """The model that a name as typed means.

    Raises:
        UsageError: the text is no model name.
        UnknownNameError: nothing has this name, or several things do.
        ModelFileError: a path that is no model.
        NetworkError: a repository's listing is needed and cannot be had.
    """
    asked = names.parse_name(text)
    if asked.path is not None:
        try:
            return _find_path(asked, Path(asked.path))
        except UsageError as missing:
            _refuse_marks(asked.path)
            return find_published(asked.path, missing)
    try:
        return find_named(asked, offline=offline)
    except UnknownNameError:
        if asked.repo is None and (paths.is_file(text) or paths.is_folder(text)):
            raise UsageError(f"No model is named `{text}`", hint=f"For the file of this name: `./{text}`") from None
        raise


def find_named(asked: ModelName, *, offline: bool = False) -> Entry:
    """As `find_entry`, of a name that is no path: no file is looked at but those of the store.

    Raises:
        UnknownNameError: nothing has this name, or several things do.
        NetworkError: a repository's listing is needed and cannot be had.
    """
    everything = find_histories()
    if asked.repo is not None:
        return _find_repository(asked, everything, offline=offline)
    named = [one for one in everything if one.current.name == asked.name and asked.size is None]
    if own := [one for one in named if one.current.host == "import"]:
        return _make_entry(asked, own[0])
    try:
        others = {one.current.name: one.current.title or "on this disk" for one in everything}
        model = names.find_model(catalogue.load_models(), asked, others)
    except UnknownNameError:
        if not named:
            raise
        return _make_entry(asked, named[0])  # of a catalog that was removed
    return _make_catalog_entry(asked, model, everything)


def find_histories() -> tuple[History, ...]:
    """Every build that is on this disk, with its revisions.

    Raises:
        StoreError: the store cannot be read.
    """
    return revisions.find_histories(manifest.find_all())


def find_on_disk(text: str, command: str) -> tuple[Entry, tuple[History, ...]]:
    """The builds on this disk that a name means, all of them where it names none; at least one.

    Args:
        text: a name as typed.
        command: what is to be done with them, for the hint: `lf rm`.

    Raises:
        UnknownNameError: there is none.
        UsageError: the name asks for an engine or a device, which says nothing of what is on the disk.
    """
    try:
        entry = find_entry(text, offline=True)
    except NetworkError:  # a repository's name, of which nothing is here
        asked = names.parse_name(text)
        at = f"@{asked.revision}" if asked.revision else ""
        raise _refuse_absent(text, f"hf:{asked.repo}{at}") from None
    asked = entry.asked
    if asked.backend or asked.device:
        builds = ", ".join(f"`{command} {one.full_name}`" for one in entry.installed)
        raise UsageError(
            f"`{text}` says which engine or device, not which build",
            hint=builds or "See what is on this disk: `lf list --installed`",
        )
    selected = {one.name for one in entry.model.variants if is_quantization(one, asked.quantization)}
    found = tuple(
        one
        for one in entry.histories
        if asked.quantization in (None, one.current.variant) or one.current.variant in selected
    )
    if asked.file is not None:  # `hf:org/repo:file`, for which only that build is an entry's variant
        found = tuple(one for one in found if one.current.variant in {variant.name for variant in entry.model.variants})
    if not found:
        raise _refuse_absent(text, entry.model.name)
    return entry, found


def _refuse_absent(text: str, name: str) -> UnknownNameError:
    """The error for a model that is not on this disk; a download of it that has not ended may be."""
    if name == "starter":
        return UnknownNameError(f"`{text}` is not on this disk", hint="`starter` is part of lf itself")
    found = find_parts(name)
    if not found:
        return UnknownNameError(f"`{text}` is not on this disk", hint="See what is: `lf list --installed`")
    return UnknownNameError(
        f"`{text}` is not on this disk, only a part of it, whose download has not ended",
        detail="\n".join(f"{part.full_name}: {format_bytes(part.size_bytes)} so far" for part in found),
        hint=f"`lf pull {found[0].full_name}` goes on with it, `lf store gc` removes it",
    )


def find_parts(name: str) -> tuple[Part, ...]:
    """The builds of a model whose download has not ended."""
    found = find_unfinished(paths.models_dir(), name)
    return tuple(Part(leaf.build[1], leaf.full_name, measure(leaf.folder, set()).size_bytes) for leaf in found)


def find_names(text: str = "", *, on_disk: bool = False) -> tuple[str, ...]:
    """Names that begin so, for a shell to complete: of models, and behind `@` of the builds of one.

    The catalog's and those on this disk, or only these. A store that cannot be read has none.
    """
    try:
        installed = manifest.find_all()
    except StoreError:
        installed = ()
    own = [name for one in installed for name in (one.name, one.full_name)]
    known = () if on_disk else catalogue.load_models()
    builds = [format_build(model.name, variant.name) for model in known for variant in model.variants]
    names = dict.fromkeys((*(model.name for model in known), *builds, *own))
    return tuple(name for name in names if name.startswith(text) and ("@" in text or "@" not in name))


def find_entries() -> tuple[Entry, ...]:
    """Every model of the catalog and every import, in that order."""
    everything = find_histories()
    known = catalogue.load_models()
    catalog_names = {model.name for model in known}
    entries = [_make_catalog_entry(ModelName(name=model.name), model, everything) for model in known]
    others = [found for found in everything if found.current.name not in catalog_names]
    return (*entries, *(_make_entry(names.parse_name(found.current.name), found) for found in others))


def _select(everything: tuple[History, ...], name: str) -> tuple[History, ...]:
    return tuple(found for found in everything if found.current.name == name)


def _make_catalog_entry(asked: ModelName, model: Model, everything: tuple[History, ...]) -> Entry:
    histories = _select(everything, model.name)
    accepted = model.terms and consent.is_accepted(model.license_url or model.license)
    refined = _refine(model._replace(terms=model.terms and not accepted), histories)
    return Entry(names.read_demands(asked, model), refined, histories)


def _refine(model: Model, histories: tuple[History, ...]) -> Model:
    """The model with what its files on this disk tell, which every command computes with.

    Sizes, and of a GGUF file the architecture, which is exact, where the catalog may know less.
    """
    from localfirst.services.imported import tell

    model = _measure(model, histories)
    for one in (history.current for history in histories):
        if one.format == "gguf":
            told = {name: value for name, value in tell(one).architecture._asdict().items() if value not in (None, ())}
            return model._replace(architecture=model.architecture._replace(**told))
    return model


def _measure(model: Model, histories: tuple[History, ...]) -> Model:
    """The model with the sizes of the builds that are on this disk."""
    there = {one.variant: one.size_bytes for one in (history.current for history in histories) if not is_gone(one)}
    if not there:
        return model
    variants = tuple(one._replace(size_bytes=there.get(one.name, one.size_bytes)) for one in model.variants)
    return model._replace(variants=variants)


def find_published(text: str, missing: LfError) -> Entry:
    """The model that has this name on a hub, `google/gemma-3-4b-it`; no path is looked at.

    Raises:
        UnknownNameError: the catalog has several of this name.
        LfError: it has none: `missing`, of its class.
    """
    asked = names.parse_published(text)
    if asked is None:
        raise missing
    models = names.find_published(catalogue.load_models(), asked)
    if not models:
        raise type(missing)(missing.message, hint=f"For a repository on the hub: hf:{text}") from None
    try:
        model = names.find_model(models, asked)
    except UnknownNameError as error:
        others = f"a repository on the hub is hf:{text}, a file ./{text}"
        error.hint = f"{error.hint}; {others}" if error.hint else others
        raise
    return _make_catalog_entry(asked, model, find_histories())


def _make_entry(asked: ModelName, history: History) -> Entry:
    """A model that only its own files describe."""
    from localfirst.services.imported import describe

    return Entry(asked, describe(history.current), (history,))


def _find_path(asked: ModelName, path: Path) -> Entry:
    from localfirst.store.imports import inspect_path

    model = inspect_path(path)
    return _make_entry(asked, History((model,), model))


def _refuse_marks(text: str) -> None:
    """Refuse a mark of names behind the path of something that is there.

    Raises:
        UsageError: it has one.
    """
    for mark, remedy in (("#", "Say `--backend {}` instead"), ("@", "Leave it out: a file or folder is one build")):
        path, _, word = text.rpartition(mark)
        place = paths.expand(path)
        if path and (paths.is_file(place) or paths.is_folder(place)):
            raise UsageError(f"{path} is a path, behind which `{mark}{word}` means nothing", hint=remedy.format(word))


def _find_repository(asked: ModelName, everything: tuple[History, ...], *, offline: bool) -> Entry:
    """A repository's builds: what is on this disk needs no hub to be found again."""
    from localfirst.services import imported
    from localfirst.store.net.hub import describe

    full = f"hf:{asked.repo}@{asked.revision}" if asked.revision else f"hf:{asked.repo}"
    histories = tuple(found for found in everything if found.current.name.lower() == full.lower())
    if not histories and (adopted := _find_adopted(asked, everything, offline=offline)):
        return _make_entry(asked, adopted)
    if histories:
        try:
            model = describe(asked, offline=True)
        except UnknownNameError:
            if offline:
                raise
        else:
            own = imported.describe(histories[0].current)
            told = {name: getattr(own, name) for name in ("architecture", "parameters", "license")}
            if own.task == "embedding":  # the file says so, whatever the hub does
                told["task"] = own.task
            return Entry(asked, add_terms(_measure(model._replace(**told), histories)), histories)
    return Entry(asked, add_terms(_measure(describe(asked, offline=offline), histories)), histories)


def _find_adopted(asked: ModelName, everything: tuple[History, ...], *, offline: bool) -> History | None:
    """What was adopted of the hub's own cache and is the only one of this repository; of which commit, nobody knows.

    Raises:
        UnknownNameError: there are several, and no network to ask the hub what else the repository has.
    """
    repo, file = f"{asked.repo}/".lower(), (asked.file or "").lower()
    found = [
        one
        for one in everything
        if asked.revision is None
        and (one.current.host, one.current.keeper) == ("import", HF_CACHE)
        and (title := f"{one.current.title}/".lower()).startswith(repo)
        and (not file or file == one.current.variant or title.startswith(f"{repo}{file}/"))
    ]
    if len(found) > 1 and offline:
        own = [one.current.name for one in found]
        raise UnknownNameError(
            f"`hf:{asked.repo}` is {len(own)} models on this disk, kept by {say_keeper(HF_CACHE)}",
            detail="\n".join(own),
            hint=f"Name one of them: `{own[0]}`",
        )
    return found[0] if len(found) == 1 else None


def add_terms(model: Model) -> Model:
    """A repository's model with what the catalog knows of its licence: where it is, and whether it asks for consent."""
    known = next((one for one in catalogue.load_models() if one.license == model.license), None)
    if known is None:
        return model
    accepted = known.terms and consent.is_accepted(known.license_url or known.license)
    return model._replace(license_url=known.license_url, terms=known.terms and not accepted)

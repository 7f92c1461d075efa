"""Models of other tools made known here: which of the catalog's they are, by what name the others go, and what is left.

Adopting copies nothing and writes nothing of the other tool's; running it again changes nothing.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst.catalog.names import find_keys, find_spellings, make_key
from localfirst.errors import IntegrityError, StoreError, UsageError
from localfirst.services.catalogue import load_models
from localfirst.store import adopt, manifest, removal
from localfirst.store.foreign import TOOLS, Build, Scan, scan
from localfirst.store.keepers import say_keeper
from localfirst.store.verify import find_remedy, is_gone, is_whole
from localfirst.types import InstalledFile, Progress, format_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from localfirst.store.foreign import Finding, ForeignFile, Tool
    from localfirst.types import InstalledModel, Model, ModelFile, Variant

EVERY = "all"
State = Literal["adopted", "known", "same", "incomplete", "unusable", "damaged", "gone"]
"""`adopted` now (or to be, in a dry run); `known` from before; the `same` files are a model already; the others are no
models: not whole yet, nothing that is loaded here, not what their names announce, deleted by the tool since."""
# Also of patterns: what may stand for any file may stand for weights.
_WEIGHTS = (".gguf", ".safetensors", ".onnx", ".data", ".onnx_data", ".bin", ".litertlm", ".llamafile", "*")
_FOLDER_FORMATS = ("onnx", "openvino", "mlx", "safetensors")
_MOST_NAME = 64


class Item(NamedTuple):
    """One model of another tool, or one that was."""

    keeper: str
    label: str
    """What the tool calls it."""
    state: State
    name: str | None = None
    """The name to type, where it is a model here."""
    size_bytes: int | None = None
    reason: str | None = None


class Report(NamedTuple):
    """What was found and what became of it."""

    scans: tuple[Scan, ...]
    items: tuple[Item, ...]
    dry_run: bool


def adopt_models(
    tool: str = EVERY,
    *,
    dry_run: bool = False,
    environment: Mapping[str, str] = os.environ,
    report: Callable[[Progress], None],
) -> Report:
    """Make every model that another tool has on this disk known here, where it lies.

    Args:
        tool: the key of one of `TOOLS`, or `all`.
        dry_run: only say what would be adopted; nothing is written or hashed.
        environment: tells where tools keep their models.
        report: hears how far it is.

    Raises:
        UsageError: there is no such tool.
        StoreError: one was named that is not on this machine, or the store cannot be written.
    """
    chosen = _find_tools(tool)
    scans = tuple(scan(one, environment) for one in chosen)
    adopting = _Adopting(dry_run, report)
    try:
        items = [adopting.settle(found) for one in scans for found in one.findings]
    except KeyboardInterrupt:
        kept = "interrupted; what was adopted stays so: run the same command again to continue"
        report(Progress("lf model adopt", 0, None, None, {"notice": kept}))
        raise
    items += adopting.find_gone({one.keeper for one in chosen})
    if tool != EVERY and not scans[0].folders and not items:
        raise _refuse_absent(scans[0])
    return Report(scans, tuple(items), dry_run)


def _find_tools(key: str) -> tuple[Tool, ...]:
    typed = re.sub(r"[-_ ]", "", key.lower())
    found = tuple(tool for tool in TOOLS if typed in {EVERY, tool.key})
    if not found:
        known = [*(tool.key for tool in TOOLS), EVERY]
        near = difflib.get_close_matches(typed, known, n=1, cutoff=0.5)
        hint = f"Did you mean `lf model adopt {near[0]}`?" if near else None
        raise UsageError(f"No tool `{key}` is known here", detail=f"known: {', '.join(known)}", hint=hint)
    return found


_VARIABLES = {"hf": "HF_HUB_CACHE", "ollama": "OLLAMA_MODELS"}


def _refuse_absent(found: Scan) -> StoreError:
    variable = _VARIABLES.get(found.tool.key)
    return StoreError(
        f"There are no models of {say_keeper(found.tool.keeper)} on this machine",
        detail="\n".join(("looked in:", *map(str, found.looked))),
        hint=f"If they are elsewhere, set {variable}." if variable else "For a file anywhere: `lf model import PATH`",
    )


class _Adopting:
    """One run: the catalog and the store as they are meanwhile."""

    def __init__(self, dry_run: bool, report: Callable[[Progress], None]) -> None:
        self._dry_run = dry_run
        self._report = report
        self._catalog = load_models()
        self._keys = {key for model in self._catalog for key in (*find_keys(model), make_key(model.family))}
        self._installed = list(manifest.find_all())
        self._new: list[InstalledModel] = []

    def settle(self, found: Finding) -> Item:
        """What becomes of a finding."""
        return self._adopt(found) if isinstance(found, Build) else Item(*found[:3], reason=found.reason)

    def _adopt(self, found: Build) -> Item:
        before = _find_recorded(found, (one for one in self._list_own() if one not in self._new))
        if reason := self._find_obstacle(found, before):
            return Item(found.keeper, found.label, "unusable", reason=reason)
        known = adopt.find_known_files(found, before) if before else None
        if known is None and (same := self._find_same(found, before)):
            return _say_same(found, same)
        try:
            read = None if known or self._dry_run else adopt.read_files(found, self._report)
        except IntegrityError as error:
            return Item(found.keeper, found.label, "damaged", reason=f"{error.message}\n{error.detail}")
        except StoreError as error:
            return Item(found.keeper, found.label, "unusable", reason=error.message)
        files = read.files if read else known
        found = _announce(found, files) if files else found
        target = self._find_target(found, before)
        if before and known and (before.name, before.variant) == (target.name, target.variant):
            return _say(found, "known", target)
        return self._record(found, files, target, before, read.stamps if read else {})

    def _find_obstacle(self, found: Build, before: InstalledModel | None) -> str | None:
        """Why a build is not to be read at all. What may be the catalog's, by names and sizes, is read."""
        if not _is_text(found.root):
            return "its path has bytes that are no text"
        if self._find_target(found, before).host == "huggingface":
            return None
        if found.superseded:
            return "a newer state of it is in the same place"
        if found.format == "safetensors":
            return "it is in a format of servers and of training, which lf does not run"
        return None

    def _record(
        self,
        found: Build,
        files: Sequence[InstalledFile] | None,
        target: adopt.Target,
        before: InstalledModel | None,
        stamps: Mapping[str, adopt.Stamp],
    ) -> Item:
        twin = next((one for one in self._installed if (one.name, one.variant) == (target.name, target.variant)), None)
        same = self._find_same(found, before) or (twin if twin and twin != before and is_whole(twin) else None)
        if same is not None:
            return _say_same(found, same)
        model = adopt.describe(found, files or _announce_files(found), target)
        olds = [one for one in self._list_own() if one in (before, twin) and one.keeper is not None]
        if not self._dry_run:
            adopt.record(model, olds, stamps, self._report)
        self._installed = [*(one for one in self._installed if one not in olds), model]
        self._new.append(model)
        return _say(found, "adopted", target)

    def find_gone(self, keepers: set[str]) -> Iterator[Item]:
        """Models that were adopted and whose files the tool has deleted; what took their place needs no word."""
        for one in [one for one in self._list_own() if one.keeper in keepers and is_gone(one)]:
            again = [two for two in self._installed if (two.name, two.variant) == (one.name, one.variant)]
            if any(map(is_whole, again)):
                if not self._dry_run:
                    removal.remove(one)
                continue
            reason = f"{say_keeper(one.keeper)} has deleted it. {find_remedy(one)}"
            label = one.title if one.host == "import" and one.title else one.full_name
            yield Item(one.keeper or "", label, "gone", one.full_name, one.size_bytes, reason)

    def _list_own(self) -> list[InstalledModel]:
        """What may be changed: not what is in shared stores, which are only read."""
        return [one for one in self._installed if one.shared is None]

    def _find_same(self, found: Build, before: InstalledModel | None) -> InstalledModel | None:
        """Another model on this disk with all weights of this one, as far as announced."""
        weights = {file.sha256_announced for file in _find_weights(found)}
        if not weights or None in weights:
            return None
        others = (one for one in self._installed if one != before)
        return next((one for one in others if weights <= {file.sha256 for file in one.files} and is_whole(one)), None)

    def _find_target(self, found: Build, before: InstalledModel | None) -> adopt.Target:
        announced = ((file.size_bytes, file.sha256_announced) for file in found.files)
        if match := find_catalog_build(self._catalog, announced):
            model, variant = match
            return adopt.Target(
                name=model.name,
                variant=variant.name,
                format=variant.format,
                quantization=variant.quantization,
                host="huggingface",
                repo=variant.repo,
                revision=variant.revision or _find_revision(found, variant),
                title=model.title,
            )
        return adopt.Target(
            name=before.name if before and before.host == "import" else self._make_name(found),
            variant=(found.quantization or "import").lower(),
            format=found.format,
            quantization=found.quantization,
            title=found.label,
        )

    def _make_name(self, found: Build) -> str:
        """A name that nothing has: what the tool calls it, with the tool, with a number."""
        name = re.sub(r"[^a-z0-9._-]+", "-", found.name.lower()).strip("-._")[:_MOST_NAME].strip("-._") or "model"
        name = name.removesuffix(".gguf")
        key = next(tool.key for tool in TOOLS if tool.keeper == found.keeper)
        named = f"{name}-{key}"
        taken = {one.name for one in self._installed}
        options = (name, named, *(f"{named}-{number}" for number in range(2, len(taken) + 3)))
        return next(one for one in options if one not in taken and not self._keys & set(find_spellings(one)))


def _is_text(path: Path) -> bool:
    """Whether a path can stand in a manifest."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _announce(found: Build, files: Sequence[InstalledFile]) -> Build:
    """The build with the digests that were read."""
    pairs = zip(found.files, files, strict=True)
    return found._replace(files=tuple(one._replace(sha256_announced=read.sha256) for one, read in pairs))


def _announce_files(found: Build) -> tuple[InstalledFile, ...]:
    """The files of a build by what is known of them without reading; of a digest that may be nothing."""
    pairs = zip(found.paths, found.files, strict=True)
    return tuple(InstalledFile(path, file.size_bytes, file.sha256_announced or "") for path, file in pairs)


def _find_recorded(found: Build, installed: Iterable[InstalledModel]) -> InstalledModel | None:
    """What was made of a build before: of the same files, or of what the tool called so then."""
    own = [one for one in installed if one.keeper == found.keeper]
    same = (one for one in own if one.root == str(found.root) and {file.path for file in one.files} == set(found.paths))
    named = (one for one in own if one.host == "import" and one.title == found.label)
    return next((one for candidates in (same, named) for one in candidates), None)


def _find_revision(found: Build, variant: Variant) -> str | None:
    """The commit that the tool has the build at, where it is of the same repository."""
    return found.revision if found.label.lower().startswith(f"{variant.repo.lower()}/") else None


def _find_weights(found: Build) -> Iterator[ForeignFile]:
    """The files that say which model it is: of a folder all weights, else the first one."""
    if found.format not in _FOLDER_FORMATS:
        return iter(found.files[:1])
    return (file for file in found.files if file.path.name.lower().endswith(_WEIGHTS))


def find_catalog_build(
    models: Iterable[Model], files: Iterable[tuple[int, str | None]]
) -> tuple[Model, Variant] | None:
    """The catalog's build all of whose weights are among `files`: by digest, or by size where none is known yet."""
    files = tuple(files)
    digests = {digest for _, digest in files if digest}
    sizes = {size for size, digest in files if not digest}

    def is_found(file: ModelFile) -> bool:
        return file.sha256 in digests or file.size_bytes in sizes

    for model in models:
        for variant in model.variants:
            pinned = [file for file in variant.files if file.sha256]
            others = (file.path.lower() for file in variant.files if not file.sha256)
            if variant.host != "huggingface" or not pinned or any(path.endswith(_WEIGHTS) for path in others):
                continue
            if all(map(is_found, pinned)):
                return model, variant
    return None


def _say(found: Build, state: State, target: adopt.Target) -> Item:
    name = target.name if target.host == "import" else format_build(target.name, target.variant)
    return Item(found.keeper, found.label, state, name, found.size_bytes)


def _say_same(found: Build, other: InstalledModel) -> Item:
    return Item(found.keeper, found.label, "same", other.full_name, found.size_bytes)

"""Bundles: everything that a machine without a network needs for some models, made here and looked at."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import __version__
from localfirst.catalog.cut import cut_catalog
from localfirst.errors import NetworkError, StoreError, UsageError
from localfirst.runtimes import wheels
from localfirst.runtimes.programs import get_program
from localfirst.runtimes.table import RUNTIMES, find_row
from localfirst.services import catalogue, consent
from localfirst.services.bundle_install import check_models
from localfirst.services.machines import find_recorded
from localfirst.services.planning import NOTHING_WANTED, plan_fetch
from localfirst.store.builtin import find_builtin
from localfirst.store.bundles.contents import (
    CATALOGS,
    WHEELS,
    Member,
    PackedModel,
    PackedRuntime,
    Target,
    make_contents,
)
from localfirst.store.bundles.place import open_workplace
from localfirst.store.bundles.read import open_bundle
from localfirst.store.bundles.write import require_space, write_bundle
from localfirst.store.disk import explained, hash_file
from localfirst.store.names import make_folder_name
from localfirst.store.pull import pull
from localfirst.store.verify import check_quick
from localfirst.types import InstalledModel, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.runtimes.table import RuntimeRow
    from localfirst.services.planning import Planned
    from localfirst.store.bundles.contents import Contents
    from localfirst.store.progress import Report

OLDEST_PYTHON = 11
SUFFIX = ".bundle.tar"
COMPILED = {row.name: "it is compiled for one machine, and has no wheels" for row in RUNTIMES if row.compiled}


class Order(NamedTuple):
    """A bundle that is to be made: what was decided before anything is fetched."""

    target: Target
    plans: tuple[Planned, ...]
    rows: tuple[RuntimeRow, ...]
    """The runtimes that go into it."""
    path: Path


class Shown(NamedTuple):
    """A bundle: its file, its contents, and whether every byte was read and found right."""

    path: Path
    size_bytes: int
    contents: Contents
    verified: bool


def plan(  # noqa: PLR0913 - one keyword per option
    names: Sequence[str],
    *,
    profile: str | None = None,
    python: str | None = None,
    output: Path | None = None,
    models_only: bool = False,
    offline: bool = False,
    report: Report,
) -> Order:
    """Decide what goes into a bundle for this machine, or a recorded one, and where it is written.

    Raises:
        LfError: as the plan of each model says.
        UsageError: a path instead of a name, no such Python, or the file exists.
        NetworkError: engines are needed, and the network is off.
        DiskFullError: there is no space for the bundle.
    """
    version = _check_python(python) if python else wheels.this_python()
    machine = find_recorded(profile)
    plans: dict[tuple[str, str], Planned] = {}
    for name in names:
        one = plan_fetch(name, NOTHING_WANTED, offline=offline, report=report, machine=machine, missing=COMPILED)
        chosen = one.resolution.chosen
        if one.entry.asked.path is not None:
            raise UsageError(
                f"`{name}` is a path, and a model needs a name on the other machine",
                hint=f"Give it one first: `lf model import {name}`",
            )
        plans[chosen.model.name, chosen.variant.name] = one
    resolutions = [one.resolution.chosen for one in plans.values()]
    runtimes = (
        []
        if models_only
        else [one.runtime.name for one in resolutions if one.runtime is not None and not get_program(one.runtime.name)]
    )
    rows = tuple(find_row(name) for name in dict.fromkeys(runtimes))
    system = next((one.machine.platform, one.machine.cpu.arch) for one in plans.values())
    path = _find_output(output, [one.model.name for one in resolutions], system)
    if not rows and all(one.variant.host == "builtin" for one in resolutions):
        raise UsageError("There is nothing to put into the bundle", detail="the starter model is part of lf itself")
    if offline and rows:
        raise NetworkError(
            f"The wheels of {', '.join(row.name for row in rows)} have to be fetched, and the network is off",
            hint="For a machine that has the engine already: `--models-only`",
        )
    sizes = [row.sizes[system].download_bytes or 0 for row in rows] + [_find_size(one) for one in plans.values()]
    require_space(path, sum(sizes))
    return Order(Target(*system, version), tuple(plans.values()), rows, path)


def _find_installed(one: Planned) -> InstalledModel | None:
    chosen = one.resolution.chosen
    return next((model for model in one.entry.installed if model.variant == chosen.variant.name), None)


def _find_size(one: Planned) -> int:
    """Bytes that a model takes in a bundle; 0 where nobody knows."""
    variant = one.resolution.chosen.variant
    if variant.host == "builtin":
        return 0
    installed = _find_installed(one)
    return installed.size_bytes if installed else variant.size_bytes or 0


def _check_python(text: str) -> str:
    match = re.fullmatch(r"3\.(\d{1,2})(\.\d+)?", text)
    if match is None or int(match[1]) < OLDEST_PYTHON:
        raise UsageError(
            f"No Python `{text}` that lf runs on", hint=f"Say which one lf runs on there, such as 3.{OLDEST_PYTHON}"
        )
    return f"3.{match[1]}"


def _find_output(output: Path | None, names: Sequence[str], system: tuple[str, str]) -> Path:
    """Where the bundle is written: by default in the working folder, named after its model and its machine."""
    more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
    default = "-".join((make_folder_name(names[0]) + more, *system)) + SUFFIX
    path = Path(default) if output is None else output / default if output.is_dir() else output
    if path.exists():
        raise UsageError(f"{path} exists already", hint="Remove it, or name another file: `-o FILE`")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}", hint="Make it first, or name another place: `-o FILE`")
    if not os.access(path.parent, os.W_OK):
        raise StoreError(f"{path.absolute().parent} cannot be written", hint="Name another place: `-o FILE`")
    return path


def fetch(one: Planned, *, offline: bool, accept_license: bool, report: Report) -> InstalledModel:
    """A planned model on this disk, fetched first where it is missing.

    Raises:
        LfError: as `lf pull`.
    """
    chosen = one.resolution.chosen
    if chosen.variant.host == "builtin":
        return find_builtin(chosen.model, chosen.variant)
    installed = _find_installed(one)
    if installed is None:
        if not offline:
            consent.require(chosen, accepted=accept_license)
        installed = pull(chosen.model, chosen.variant, offline=offline, report=report)
    check_quick(installed)
    return installed


def create(order: Order, installed: Sequence[InstalledModel], *, report: Report) -> Shown:
    """Fetch the engines' wheels and write the bundle of an order, whose models are installed, in its order.

    Raises:
        RuntimeMissingError: the wheels cannot be had.
        IntegrityError: a file or a wheel is not what is known of it.
        DiskFullError, StoreError: the bundle cannot be written.
    """
    sources: dict[str, Path] = {}
    members: list[Member] = []
    models = tuple(_pack(one, model) for one, model in zip(order.plans, installed, strict=True))
    for packed, model in zip(models, installed, strict=True):
        if packed.host == "builtin":
            continue
        for file in model.files:
            path = f"{packed.folder}/{file.path}"
            sources[path] = Path(model.root) / file.path
            members.append(Member(path, file.size_bytes, file.sha256))
    with open_workplace(report) as work, explained(work):
        for path, source in (*_fetch_wheels(order, work, report), *_cut_catalogs(models, work)):
            sources[path] = source
            members.append(Member(path, source.stat().st_size, hash_file(source, lambda _: None)))
        runtimes = tuple(PackedRuntime(row.name, row.engine, row.version) for row in order.rows)
        contents = make_contents(__version__, order.target, models, runtimes, tuple(members))
        check_models(contents, catalogue.load_models(), "Fetch it anew, `lf rm` and `lf pull`, then make the bundle")
        for row in order.rows:
            wheels.check_wheels(row, order.target.python, contents.find_wheels(row.name))
        size_bytes = write_bundle(order.path, contents, sources, report)
    return Shown(order.path, size_bytes, contents, verified=True)


def _pack(one: Planned, model: InstalledModel) -> PackedModel:
    published = model.host == "huggingface" and model.repo is not None and model.revision is not None
    known = one.resolution.chosen.model
    return PackedModel(
        name=model.name,
        variant=model.variant,
        format=model.format,
        quantization=model.quantization,
        host=model.host if model.host == "builtin" or published else "import",
        repo=model.repo if published else None,
        revision=model.revision if published else None,
        title=model.title,
        license=known.license if known.license != "unknown" else None,
    )


def _fetch_wheels(order: Order, work: Path, report: Report) -> Iterator[tuple[str, Path]]:
    target = order.target
    for row in order.rows:
        report(
            Progress(row.name, 0, detail={"notice": f"fetching {row.engine} {row.version} for {say_target(target)}"})
        )
        found = wheels.download(
            row,
            (target.platform, target.arch),
            target.python,
            work / row.name,
            partial(_say_line, report, row.name),
        )
        for path in found:
            yield f"{WHEELS}/{row.name}/{path.name}", path


def _say_line(report: Report, name: str, line: str) -> None:
    report(Progress(name, 0, detail={"line": line}))


def say_target(target: Target) -> str:
    """`linux x86_64, Python 3.12`."""
    return f"{target.platform} {target.arch}, Python {target.python}"


def _cut_catalogs(models: Sequence[PackedModel], work: Path) -> Iterator[tuple[str, Path]]:
    """The entries of models, a file for each catalog that has some."""
    wanted = {model.name for model in models if model.host != "builtin"}
    for catalog in catalogue.find_catalogs():
        here = wanted & {model.name for model in catalog.models}
        if here:
            path = work / f"{catalog.name}.yaml"
            path.write_bytes(cut_catalog(catalog.path.read_text(encoding="utf-8"), catalog.path.name, here).encode())
            yield f"{CATALOGS}/{path.name}", path


def show(path: Path, *, verify: bool, report: Report) -> Shown:
    """What is in a bundle; `verify` reads every byte.

    Raises:
        UsageError, IntegrityError, StoreError: it cannot be read, is no bundle, or is damaged.
    """
    with open_bundle(path) as bundle:
        if verify:
            bundle.unpack(lambda _: None, report)
        return Shown(path, bundle.size_bytes, bundle.contents, verify)

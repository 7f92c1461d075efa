"""Files that are made here of a model's own, where no engine loads those as they were published.

A derived file lies in `derived/` beside the model's `files/`, and in the manifest, which says what it was made of, by
which recipe and version. It never leaves this machine: who packs or copies a model takes what was published. It can
always be made again, and is where it is not there, was cut short, or was made by another version.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import IntegrityError, StoreError
from localfirst.store import layout, manifest, repack
from localfirst.store.claim import claim
from localfirst.store.disk import check_space, explained, hash_file
from localfirst.store.progress import Meter, ignore
from localfirst.store.verify import settle_file
from localfirst.types import Derived, InstalledFile, InstalledModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localfirst.types import Progress, Recipe, Variant


class Maker(NamedTuple):
    """How a recipe works."""

    version: int
    ending: str
    """Of the derived file's name, after that of its original."""
    measure: Callable[[int], int]
    """The most bytes that it makes of so many."""
    make: Callable[[Path, Path, str, Callable[[int], None]], tuple[int, str]]
    """From original, target, the original's digest and a count of bytes, to size and digest."""


MAKERS: Mapping[Recipe, Maker] = {
    "i2_s-to-tq2_0": Maker(repack.RECIPE_VERSION, "-tq2_0.gguf", repack.measure, repack.repack)
}


def measure(variant: Variant) -> int:
    """The most bytes that will be made of a build once it is here."""
    return MAKERS[variant.recipe].measure(variant.size_bytes or 0) if variant.recipe else 0


def ensure(
    installed: InstalledModel, variant: Variant, *, report: Callable[[Progress], None] = ignore
) -> InstalledModel:
    """What is installed, with the file that an engine loads where the build needs one made.

    Raises:
        IntegrityError: its original is another file than the one that the recipe is for, or what was made is wrong.
        ModelFileError: the original is not what its digest promised.
        DiskFullError: there is no room for it.
        StoreError: the store cannot be written, or is another's.
    """
    if variant.recipe is None or is_ready(installed, variant):
        return installed
    (wanted,) = variant.files
    original = _find_original(installed)
    if original.sha256 != wanted.sha256:
        raise IntegrityError(
            f"`{installed.full_name}` is not the file that lf can make loadable",
            detail=f"known: {wanted.sha256}\nfound: {original.sha256}",
            hint=f"Run `lf rm {installed.full_name}`, then `lf pull {installed.full_name}`.",
        )
    return remake(installed, variant.recipe, report=report, again=False)


def remake(
    installed: InstalledModel,
    recipe: Recipe,
    *,
    report: Callable[[Progress], None] = ignore,
    again: bool = True,
) -> InstalledModel:
    """Make the derived file of an installed model, of an original that is read and compared with its digest first.

    With `again` also where there is one that looks right.

    Raises:
        IntegrityError, ModelFileError, DiskFullError, StoreError: as `ensure`.
    """
    if installed.shared is not None:
        raise StoreError(
            f"`{installed.name}` is in a shared store, without the file that an engine loads",
            detail=installed.shared,
            hint=f"Whoever keeps that store can make it there: `lf pull {installed.full_name}`.",
        )
    with claim(lambda: manifest.find_home(installed), installed.name, report) as (folder, _):
        there = manifest.find_in(folder) or installed
        if not again and is_current(there, recipe):  # another process has made it meanwhile
            return there
        derived = make(there, recipe, folder, report=report)
        made = there._replace(derived=derived)
        manifest.write(made)
    settle_file(made, layout.find_derived(made, derived))
    return made


def make(
    model: InstalledModel,
    recipe: Recipe,
    folder: Path,
    *,
    report: Callable[[Progress], None] = ignore,
    verified: bool = False,
) -> Derived:
    """Make a model's derived file in its folder, whose lock is held.

    `verified`: the original was read and found right just now.

    Raises:
        IntegrityError, ModelFileError, DiskFullError, StoreError: as `ensure`.
    """
    maker, original = MAKERS[recipe], _find_original(model)
    source = Path(model.root) / original.path
    name = PurePosixPath(original.path).stem + maker.ending
    target = folder / layout.DERIVED / name
    passes = 2 if verified else 3
    meter = Meter(model.name, passes * original.size_bytes, report, files={name: passes * original.size_bytes})
    meter.notice(f"making {name}, which llama.cpp loads, of {original.path}, and comparing them")
    count = partial(meter.add, file=name)
    with explained(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(".*.tmp"):  # by a process that was killed
            left.unlink()
        check_space(folder, maker.measure(original.size_bytes))
        if not verified and (found := hash_file(source, count)) != original.sha256:
            raise IntegrityError(
                f"`{model.name}` is damaged",
                detail=f"{source}\nmanifest: {original.sha256}\nfile:     {found}",
                hint=f"Run `lf model verify {model.name} --repair`.",
            )
        size_bytes, sha256 = maker.make(source, target, original.sha256, count)
    return Derived(name, size_bytes, sha256, original.sha256, recipe, maker.version)


def is_ready(installed: InstalledModel, variant: Variant) -> bool:
    """Whether there is nothing to be made for a build."""
    return variant.recipe is None or is_current(installed, variant.recipe)


def is_current(installed: InstalledModel, recipe: Recipe) -> bool:
    """Whether the derived file is there, by its size, and was made by this version of the recipe."""
    derived = installed.derived
    if derived is None or (derived.recipe, derived.recipe_version) != (recipe, MAKERS[recipe].version):
        return False
    path = layout.find_derived(installed, derived)
    return path.is_file() and path.stat().st_size == derived.size_bytes


def _find_original(model: InstalledModel) -> InstalledFile:
    main = layout.find_main(model)
    return next(file for file in model.files if Path(model.root) / file.path == main)

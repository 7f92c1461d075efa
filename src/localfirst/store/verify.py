"""Whether an installed model's files still are what its manifest says: by a glance, or by every byte."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst.errors import IntegrityError
from localfirst.store import damage, layout
from localfirst.store.disk import explained, hash_file
from localfirst.store.keepers import YOU, is_tool, say_keeper
from localfirst.store.progress import Meter, ignore
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.types import InstalledModel, Progress


_CLOCK_S = 2.0
"""How much later than the record a file may be dated: the record has whole seconds, FAT file systems every other."""


class FileProblem(NamedTuple):
    """A file that is not what the manifest says, with the evidence."""

    path: str
    problem: Literal["missing", "size", "digest", "unreadable"]
    detail: str
    found_sha256: str | None = None
    """Of bytes that were read and are others; what they should be the manifest says."""


def list_files(model: InstalledModel) -> tuple[InstalledFile, ...]:
    """A model's files, and what was made of them by its whole path, which no other can be."""
    derived = model.derived
    if derived is None:
        return model.files
    path = str(layout.find_derived(model, derived))
    return (*model.files, InstalledFile(path, derived.size_bytes, derived.sha256))


def is_derived(model: InstalledModel, problem: FileProblem) -> bool:
    """Whether a problem is one of the file that was made of a model's own, and can be made again."""
    return model.derived is not None and problem.path == str(layout.find_derived(model, model.derived))


def _glance(model: InstalledModel, file: InstalledFile) -> FileProblem | None:
    path = Path(model.root) / file.path
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return FileProblem(file.path, "missing", str(path))
    except OSError as error:
        return FileProblem(file.path, "unreadable", f"{path}: {error.strerror}")
    except UnicodeEncodeError as error:
        told = f"{path}: not a name in {error.encoding}, this system's encoding; `PYTHONUTF8=1` makes it one"
        return FileProblem(file.path, "unreadable", told)
    if size != file.size_bytes:
        return FileProblem(file.path, "size", f"{path} has {size} bytes, the manifest says {file.size_bytes}")
    return None


_DAMAGED = "{name} is damaged"
_DELETED = {None: _DAMAGED, YOU: "The files of {name} are not where they were: moved, or deleted"}
"""What is said of a model whose files are missing, by who keeps them; other tools have deleted it."""


def find_remedy(model: InstalledModel) -> str:
    """What to type to mend a damaged model."""
    if is_tool(model.keeper) and model.host == "huggingface":
        return f"`lf pull {model.full_name}` fetches it; `lf model rm {model.name}` forgets it."
    if is_tool(model.keeper):
        return f"`lf model rm {model.name}` forgets it; `lf model adopt` looks for it again."
    if model.host == "import":
        return f"lf cannot fetch it: put the file back, or `lf model rm {model.name}` and import it again."
    if model.host == "builtin":
        return "Install localfirst again."
    return f"`lf model verify {model.name} --repair` fetches what is wrong."


def check_quick(model: InstalledModel) -> None:
    """Existence and size of every file; microseconds, so that it can come before each load.

    Raises:
        IntegrityError: the files that are missing or have another size, or were found damaged when they were read.
    """
    problems = [problem for file in model.files if (problem := _glance(model, file)) is not None]
    if not problems and (known := damage.find(_list_paths(model))):
        raise IntegrityError(
            f"`{model.name}` is damaged: `lf model verify` found other bytes than it should have",
            detail="\n".join(known.values()),
            hint=find_remedy(model),
        )
    if problems:
        missing = all(problem.problem == "missing" for problem in problems)
        says = _DELETED.get(model.keeper, "{keeper} has deleted {name}") if missing else _DAMAGED
        own = model.host == "huggingface" and not is_tool(model.keeper)
        raise IntegrityError(
            says.format(keeper=say_keeper(model.keeper), name=f"`{model.name}`"),
            detail="\n".join(f"{problem.problem}: {problem.detail}" for problem in problems),
            hint=f"Run `lf pull {model.name}`; what is still good is used again." if own else find_remedy(model),
        )


def remember(model: InstalledModel, problems: Sequence[FileProblem]) -> None:
    """Let who takes a glance at the model know of the bytes that were found wrong; of a built-in one nothing."""
    if model.host != "builtin":
        wrong = {Path(model.root) / one.path: one.detail for one in problems if one.problem == "digest"}
        damage.remember(_list_paths(model), wrong)


def _list_paths(model: InstalledModel) -> list[Path]:
    return [Path(model.root) / file.path for file in list_files(model)]


def is_whole(model: InstalledModel) -> bool:
    """Whether all files of a model are there, by their sizes."""
    return not any(_glance(model, file) for file in model.files)


def is_gone(model: InstalledModel) -> bool:
    """Whether the files of a model are outside the store, and no longer all there."""
    return model.keeper is not None and any(_glance(model, file) for file in model.files)


def verify(
    model: InstalledModel, *, quick: bool = False, report: Callable[[Progress], None] = ignore
) -> tuple[FileProblem, ...]:
    """Read every byte of a model and compare the digests. Returns what is wrong; nothing is changed.

    `quick` reads only the files that were written to since the model was recorded, or are known to be damaged; of the
    others the size is enough.
    """
    files = list_files(model)
    known = damage.find(_list_paths(model))
    chosen = [file for file in files if not quick or is_changed(model, file) or Path(model.root) / file.path in known]
    sizes = {file.path: file.size_bytes for file in chosen}
    meter = Meter(model.name, sum(sizes.values()), report, files=sizes)
    problems = []
    for file in files:
        problem = _glance(model, file) or (_compare(model, file, meter) if file in chosen else None)
        if problem is not None:
            problems.append(problem)
    return tuple(problems)


def is_changed(model: InstalledModel, file: InstalledFile) -> bool:
    """Whether a file was written to since the model was recorded, as far as the file system tells."""
    try:
        return (Path(model.root) / file.path).stat().st_mtime > _find_recorded_s(model) + _CLOCK_S
    except (OSError, ValueError):
        return True


def settle(model: InstalledModel) -> None:
    """Date the files that were written to since as they were, once they were found the same: to read them once will do.

    Only for files of the store.
    """
    for file in model.files:
        if is_changed(model, file):
            settle_file(model, Path(model.root) / file.path)


def settle_file(model: InstalledModel, path: Path) -> None:
    """Date a file as the model was recorded, once it is known to be right."""
    with suppress(OSError, ValueError):  # a store that cannot be written is read again
        recorded_s = _find_recorded_s(model)
        os.utime(path, (recorded_s, recorded_s))


def _find_recorded_s(model: InstalledModel) -> float:
    from datetime import datetime  # noqa: PLC0415 - a millisecond that lists, which only need a look, would pay

    return datetime.fromisoformat(model.created).timestamp()


def _compare(model: InstalledModel, file: InstalledFile, meter: Meter) -> FileProblem | None:
    path = Path(model.root) / file.path
    try:
        found = hash_file(path, lambda size: meter.add(size, file.path))
    except OSError as error:
        return FileProblem(file.path, "unreadable", f"{path}: {error.strerror}")
    if found != file.sha256:
        return FileProblem(file.path, "digest", f"{path}\nmanifest: {file.sha256}\nfile:     {found}", found)
    return None


def allow_to_run(model: InstalledModel) -> None:
    """Let a model that is a program be started, where its file is the store's own.

    Raises:
        StoreError: the system refuses.
    """
    if model.keeper is not None or model.shared is not None:
        return
    main = layout.find_main(model)
    with explained(main):
        main.chmod(main.stat().st_mode | stat.S_IXUSR)

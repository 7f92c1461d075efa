"""Make a Python environment from pins: by `uv` where it is on the path, else, or if that fails, by `venv` and `pip`.

Both read the user's own configuration (index, proxy, certificates), each its own: uv does not read pip's, which is why
pip has the last word. Only wheels are taken, so nothing is compiled or run.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import DiskFullError
from localfirst.runtimes import failure
from localfirst.runtimes.command import NO_SETTINGS, run_command
from localfirst.runtimes.folder import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SEALED = {"PIP_CONFIG_FILE": os.devnull}
"""With `--isolated`, pip reads no settings at all then: a folder or an index that they name must not be asked."""


class Recipe(NamedTuple):
    """What goes into an environment."""

    wanted: tuple[tuple[str, ...], ...]
    """Lists of words for `pip install`, which `uv pip install` understands too; one command after another."""
    sealed: bool = False
    """From the files that are named, whatever the user's configuration names besides; no network is used."""


def make_environment(  # noqa: PLR0913 - one keyword per thing that callers decide
    folder: Path,
    recipe: Recipe,
    *,
    title: str,
    again: str,
    log: Path,
    keep_open: tuple[int, ...],
    on_line: Callable[[str], None],
) -> None:
    """Make the environment `folder` (its parent exists, it does not) by a recipe.

    Where they fail, all that the installers said goes to `log`.

    Raises:
        DiskFullError: an installer ran out of space.
        NetworkError: the package index cannot be reached, or refuses.
        RuntimeMissingError: every installer failed for another reason; its evidence is in the detail.
    """
    causes = failure.SEALED_CAUSES if recipe.sealed else failure.CAUSES
    message = f"{title} could not be installed"
    said: dict[str, tuple[str, ...]] = {}
    log.unlink(missing_ok=True)
    for installer, commands in _find_installers(folder, recipe):
        lines = _run_all(commands, folder.parent, keep_open, on_line, _SEALED if recipe.sealed else NO_SETTINGS)
        if lines is None:
            return
        said[installer] = lines
        if isinstance(error := failure.explain(message, said, causes), DiskFullError):
            raise error
        shutil.rmtree(folder, ignore_errors=True)
    log.write_text("\n".join(f"{name}: {line}" for name, lines in said.items() for line in lines), encoding="utf-8")
    raise failure.explain(message, said, causes, log=log, again=None if recipe.sealed else again)


def _find_installers(folder: Path, recipe: Recipe) -> list[tuple[str, tuple[Sequence[str], ...]]]:
    """The ways to make the environment, best first: a name and its commands."""
    wheels = ("--only-binary", ":all:", *(("--isolated",) if recipe.sealed else ()))
    uv_wheels = ("--only-binary", ":all:", *(("--no-config", "--offline") if recipe.sealed else ()))
    quiet = ("--no-user", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    make, pip = find_pip(folder)
    by_pip = (make, *((*pip, "install", *quiet, *wheels, *words) for words in recipe.wanted))
    uv = shutil.which("uv")
    if uv is None:
        return [("pip", by_pip)]
    make = (uv, "venv", "--no-progress", "--python", sys.executable, str(folder))
    fill = (uv, "pip", "install", "--no-progress", "--python", str(folder / PYTHON), *uv_wheels)
    by_uv = (make, *((*fill, *words) for words in recipe.wanted))
    return [("uv", by_uv), ("pip", by_pip)]


def find_pip(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command that makes the environment `folder`, and the words that start a pip that fills it."""
    python = str(folder / PYTHON)
    if find_spec("pip"):  # this interpreter's pip fills it: one in there costs 5 s, 20 MB and, on Debian, a package
        make = (sys.executable, "-m", "venv", "--without-pip", str(folder))
        return make, (sys.executable, "-m", "pip", "--python", python)
    return (sys.executable, "-m", "venv", str(folder)), (python, "-m", "pip")


def _run_all(
    commands: Sequence[Sequence[str]],
    folder: Path,
    keep_open: tuple[int, ...],
    on_line: Callable[[str], None],
    settings: Mapping[str, str],
) -> tuple[str, ...] | None:
    """Run commands until one fails, and return what all have said; `None` when all went well."""
    said: list[str] = []
    for argv in commands:
        outcome = run_command(argv, folder=folder, on_line=on_line, keep_open=keep_open, settings=settings)
        said += outcome.lines
        if not outcome.ok:
            return tuple(said)
    return None

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

from localfirst.errors import DiskFullError, RuntimeMissingError
from localfirst.runtimes.command import NO_SETTINGS, run_command
from localfirst.runtimes.folder import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 12

_HINTS = (
    ("match the hashes", "The package index serves other files than the pinned ones: check its address and any mirror"),
    ("hash mismatch", "The package index serves other files than the pinned ones: check its address and any mirror"),
    ("ensurepip", "Install `uv`, or your system's package for Python's venv module"),
    ("dns error", "Check the network, and the proxy and index in pip's configuration (`pip config list`)"),
    ("connect", "Check the network, and the proxy and index in pip's configuration (`pip config list`)"),
    ("certificate", "Name your certificates: `SSL_CERT_FILE`, or `cert` in pip's configuration"),
    ("no matching distribution", "The package index has no build for this Python and system: try another Python"),
)
"""What to do, by what the last installer said (in lower case); the first that is found counts."""

_SEALED = {"PIP_CONFIG_FILE": os.devnull}
"""With `--isolated`, pip reads no settings at all then: a folder or an index that they name must not be asked."""
_SEALED_HINTS = (
    ("hash", "The bundle's wheels are not those that this version of lf knows"),
    ("ensurepip", "Install your system's package for Python's venv module"),
    ("no matching distribution", "The bundle's wheels need a newer system than this one (its C library, or macOS)"),
)

_DISK_FULL = ("no space left on device", "not enough space on the disk")


class Recipe(NamedTuple):
    """What goes into an environment."""

    wanted: tuple[tuple[str, ...], ...]
    """Lists of words for `pip install`, which `uv pip install` understands too; one command after another."""
    sealed: bool = False
    """From the files that are named, whatever the user's configuration names besides; no network is used."""


def make_environment(
    folder: Path,
    recipe: Recipe,
    *,
    title: str,
    keep_open: tuple[int, ...],
    on_line: Callable[[str], None],
) -> None:
    """Make the environment `folder` (its parent exists, it does not) by a recipe.

    Raises:
        DiskFullError: an installer ran out of space.
        RuntimeMissingError: every installer failed; the last lines of each are in the detail.
    """
    failures: list[tuple[str, tuple[str, ...]]] = []
    message = f"{title} could not be installed"
    for installer, commands in _find_installers(folder, recipe):
        lines = _run_all(commands, folder.parent, keep_open, on_line, _SEALED if recipe.sealed else NO_SETTINGS)
        if lines is None:
            return
        failures.append((installer, lines))
        error = explain_failure(message, failures, _SEALED_HINTS if recipe.sealed else _HINTS)
        if isinstance(error, DiskFullError):
            break
        shutil.rmtree(folder, ignore_errors=True)
    raise error


def explain_failure(
    message: str, failures: Sequence[tuple[str, tuple[str, ...]]], hints: Sequence[tuple[str, str]] = _HINTS
) -> DiskFullError | RuntimeMissingError:
    """Why installers failed, each with what it said; the last one's words decide."""
    shown = [(name, lines[-_TAIL_LINES:]) for name, lines in failures]
    _, last = shown[-1]
    said = "\n".join(last).lower()
    if any(phrase in said for phrase in _DISK_FULL):
        return DiskFullError(f"{message}: the disk is full", detail="\n".join(last))
    detail = "\n".join(line for name, lines in shown for line in (f"{name}:", *(f"  {text}" for text in lines)))
    return RuntimeMissingError(
        message, detail=detail, hint=next((hint for phrase, hint in hints if phrase in said), None)
    )


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
    """Run commands until one fails, and return its lines; `None` when all went well."""
    for argv in commands:
        outcome = run_command(argv, folder=folder, on_line=on_line, keep_open=keep_open, settings=settings)
        if not outcome.ok:
            return outcome.lines
    return None

"""Make a Python environment from pins: by `uv` where it is on the path, else, or if that fails, by `venv` and `pip`.

Both read the user's own configuration (index, proxy, certificates), each its own: uv does not read pip's, which is why
pip has the last word. Only wheels are taken, so nothing is compiled or run.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from localfirst.errors import DiskFullError, RuntimeMissingError
from localfirst.runtimes.command import run_command
from localfirst.runtimes.folder import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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

_DISK_FULL = ("no space left on device", "not enough space on the disk")


def make_environment(
    folder: Path,
    wanted: Sequence[Sequence[str]],
    *,
    title: str,
    keep_open: tuple[int, ...],
    on_line: Callable[[str], None],
) -> None:
    """Make the environment `folder` (its parent exists, it does not) with what is `wanted`.

    Each of these is a list of words for `pip install`, which `uv pip install` understands too.

    Raises:
        DiskFullError: an installer ran out of space.
        RuntimeMissingError: every installer failed; the last lines of each are in the detail.
    """
    failures: list[tuple[str, tuple[str, ...]]] = []
    for installer, commands in _find_installers(folder, wanted):
        lines = _run_all(commands, folder.parent, keep_open, on_line)
        if lines is None:
            return
        failures.append((installer, lines))
        said = "\n".join(lines).lower()
        if any(phrase in said for phrase in _DISK_FULL):
            raise DiskFullError(f"{title} could not be installed: the disk is full", detail="\n".join(lines))
        shutil.rmtree(folder, ignore_errors=True)
    detail = "\n".join(line for name, lines in failures for line in (f"{name}:", *(f"  {text}" for text in lines)))
    hint = next((hint for phrase, hint in _HINTS if phrase in said), None)
    raise RuntimeMissingError(f"{title} could not be installed", detail=detail, hint=hint)


def _find_installers(folder: Path, wanted: Sequence[Sequence[str]]) -> list[tuple[str, tuple[Sequence[str], ...]]]:
    """The ways to make the environment, best first: a name and its commands."""
    python = str(folder / PYTHON)
    wheels = ("--only-binary", ":all:")
    quiet = ("--no-user", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    if find_spec("pip"):  # this interpreter's pip fills it: one in there costs 5 s, 20 MB and, on Debian, a package
        make: Sequence[str] = (sys.executable, "-m", "venv", "--without-pip", str(folder))
        pip: Sequence[str] = (sys.executable, "-m", "pip", "--python", python, "install", *quiet, *wheels)
    else:
        make = (sys.executable, "-m", "venv", str(folder))
        pip = (python, "-m", "pip", "install", *quiet, *wheels)
    by_pip = (make, *((*pip, *words) for words in wanted))
    uv = shutil.which("uv")
    if uv is None:
        return [("pip", by_pip)]
    make = (uv, "venv", "--no-progress", "--python", sys.executable, str(folder))
    fill = (uv, "pip", "install", "--no-progress", "--python", python, *wheels)
    by_uv = (make, *((*fill, *words) for words in wanted))
    return [("uv", by_uv), ("pip", by_pip)]


def _run_all(
    commands: Sequence[Sequence[str]], folder: Path, keep_open: tuple[int, ...], on_line: Callable[[str], None]
) -> tuple[str, ...] | None:
    """Run commands until one fails, and return its last lines; `None` when all went well."""
    for argv in commands:
        outcome = run_command(argv, folder=folder, on_line=on_line, keep_open=keep_open)
        if not outcome.ok:
            return outcome.lines[-_TAIL_LINES:]
    return None

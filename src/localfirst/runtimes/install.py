"""Install and remove runtimes: pinned, checked before they count, complete or absent, one at a time."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import lock, paths
from localfirst.errors import DiskFullError, LfError, RuntimeMissingError, StoreError
from localfirst.inheritance import inherit
from localfirst.runtimes.compile import compile_engine
from localfirst.runtimes.environment import Recipe, make_environment
from localfirst.runtimes.find import find_installed, find_runtimes, this_system
from localfirst.runtimes.folder import (
    PYTHON,
    Marker,
    find_folders,
    folder_of,
    measure,
    sweep,
    write_marker,
)
from localfirst.runtimes.table import EVERYTHING, RuntimeRow, find_row
from localfirst.runtimes.variable import variable_of
from localfirst.types import Progress
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.runtimes.compile import Workshop
    from localfirst.types import Runtime

    Maker = Callable[..., None]
    """Makes an environment; takes its folder, `title`, `again`, `log`, `keep_open` and `on_line`."""


PIP_S = 30.0
_PIP_DEFAULT = re.compile(r"--index-url <url>.*?\(default\s+(\S+?)\)", re.DOTALL)
"""What pip's help says of its index: by settings, environment or its own default, without a password."""


def ignore(progress: Progress) -> None:
    """Draw nothing."""


def install(  # noqa: PLR0913 - a keyword for each thing that callers decide
    name: str,
    *,
    check: Callable[[str], None],
    report: Callable[[Progress], None] = ignore,
    offline: bool = False,
    wheels: Recipe | None = None,
    workshop: Workshop | None = None,
    rows: Sequence[RuntimeRow] = EVERYTHING,
) -> Runtime:
    """Make the runtime's own environment, unless it is there; it appears whole or not at all.

    From `wheels` where they are given, which needs no network, else from the package index; one that is compiled
    here in a `workshop`.

    `check` gets the path of the new interpreter, and raises if the engine does not work; `report` gets each line of the
    installer as `detail["line"]`. An installation by another process is waited for, and what an interrupted one left
    is deleted.

    Raises:
        UnknownNameError: there is no such runtime.
        RuntimeMissingError: there is no build for this machine, the network is off, an installer or the check failed.
        NetworkError: an installer failed because the package index cannot be reached, or refuses.
        DiskFullError: there is not enough space.
        StoreError: the data folder cannot be written.
    """
    row = find_row(name, rows)
    if (runtime := find_installed(row)) is not None:
        return runtime
    _require_build(row)
    if offline and wheels is None:
        raise RuntimeMissingError(
            f"The runtime `{name}` is not installed, and the network is switched off",
            hint=f"Run `lf runtime install {name}` once with the network, without `--offline` and `LF_OFFLINE`",
        )
    with _locked(name, report) as descriptor:
        if (runtime := find_installed(row)) is not None:
            return runtime
        sweep(name)
        _require_space(row)
        make = _make_compiled(row, workshop) if workshop else _make_from(wheels or _find_recipe(row))
        return _install_locked(row, make, descriptor, check, report)


def remove(name: str, rows: Sequence[RuntimeRow] = EVERYTHING) -> int:
    """Delete a runtime's own environments, of every version, and return their size in bytes.

    Raises:
        UnknownNameError: there is no such runtime.
        RuntimeMissingError: it has no environment of its own here.
        StoreError: it is in use (Windows), or the data folder cannot be written.
    """
    find_row(name, rows)
    if not find_folders(name):
        raise RuntimeMissingError(f"The runtime `{name}` is not installed in `{paths.runtimes_dir()}`")
    with _locked(name, ignore):
        sweep(name)
        size_bytes = 0
        for folder in find_folders(name):
            size_bytes += measure(folder)
            folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
            # Renamed first: an interrupted removal leaves no half environment that still counts as installed.
            folder.rename(folder.with_name(f".{folder.name}.removed"))
        sweep(name)
    return size_bytes


def _require_build(row: RuntimeRow) -> None:
    """Refuse a runtime that this machine has no build of."""
    if this_system() in row.sizes:
        return
    (runtime,) = find_runtimes(*this_system(), (row,))
    raise RuntimeMissingError(
        f"The runtime `{row.name}` does not exist for this machine",
        detail=runtime.reason,
        hint=f"If a Python here has {row.module}, name it in `{variable_of(row.name)}`",
    )


def _require_space(row: RuntimeRow) -> None:
    """Refuse an installation that cannot end well."""
    size = row.sizes[this_system()]
    if size.download_bytes is None or size.installed_bytes is None:
        return
    need_bytes = size.download_bytes + size.installed_bytes
    base = paths.runtimes_dir()
    free_bytes = shutil.disk_usage(base).free
    if free_bytes < need_bytes:
        raise DiskFullError(
            f"Not enough disk space for the runtime `{row.name}`",
            detail=f"it needs {format_bytes(need_bytes)}; {format_bytes(free_bytes)} are free in {base}",
            hint="Free some space, or set `LF_HOME` to a folder on another disk",
        )


@contextmanager
def _locked(name: str, report: Callable[[Progress], None]) -> Iterator[int]:
    """Be the only one who changes a runtime; what the file system refuses is a `StoreError`."""

    def say_waiting(owner: str) -> None:
        report(Progress(name, 0, detail={"notice": f"waiting for process {owner}, which installs it"}))

    base = paths.runtimes_dir()
    try:
        base.mkdir(parents=True, exist_ok=True)
        with lock.hold(base / f".{name}.lock", say_waiting) as lease:
            yield lease.descriptor
    except OSError as error:
        paths.require_writable()
        raise StoreError(f"The folder of the runtimes cannot be written: {base}", detail=str(error)) from error


def _install_locked(
    row: RuntimeRow,
    make: Maker,
    descriptor: int,
    check: Callable[[str], None],
    report: Callable[[Progress], None],
) -> Runtime:
    """Build in a folder of its own, check, mark, and only then give it its name."""
    final = folder_of(row)
    title = f"The runtime `{row.name}` ({row.engine} {row.version})"
    work = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        environment = work / "environment"
        make(
            environment,
            title=title,
            again=f"lf runtime install {row.name}",
            log=find_log(row),
            keep_open=(descriptor,),
            on_line=lambda line: report(Progress(row.name, 0, detail={"line": line})),
        )
        _check(title, check, str(environment / PYTHON))
        marker = Marker(
            name=row.name,
            version=row.version,
            engine=row.engine,
            python=platform.python_version(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            size_bytes=measure(environment),
        )
        write_marker(environment, marker)
        if final.exists():  # damaged, or its interpreter is gone: else it would have been returned
            final.rename(work / "damaged")
        environment.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    installed = find_installed(row)
    if installed is None:
        raise StoreError(f"{title} was installed and is gone again", detail=str(final))
    return installed


def _make_from(recipe: Recipe) -> Maker:
    return partial(make_environment, recipe=recipe)


def _make_compiled(row: RuntimeRow, workshop: Workshop) -> Maker:
    return partial(compile_engine, row, workshop)


def find_log(row: RuntimeRow) -> Path:
    """Where what installers that failed and compilers said is kept; the next attempt writes it anew."""
    return paths.runtimes_dir() / f"{row.name}-{row.version}.log"


def find_index(row: RuntimeRow) -> str | None:
    """Where a runtime's packages come from: its maker's own index, else pip's; `None` where there is no pip to say."""
    return row.index_url or _find_pip_index()


@cache
def _find_pip_index() -> str | None:
    command = (sys.executable, "-m", "pip", "install", "--help")
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, env=inherit(os.environ), capture_output=True, text=True, check=False, timeout=PIP_S
        )
        told = _PIP_DEFAULT.search(done.stdout)
        return told[1] if told else None
    return None


def _find_recipe(row: RuntimeRow) -> Recipe:
    """What is installed from the package index."""
    pinned = ("--require-hashes", "-r", str(paths.package_dir() / "runtimes" / "pins" / row.pins))
    if row.index_url is None:
        return Recipe((pinned,))
    indexed = row.from_index or f"{row.distribution}=={row.version}"
    return Recipe((pinned, ("--no-deps", "--index-url", row.index_url, indexed)))


def _check(title: str, check: Callable[[str], None], python: str) -> None:
    """Let the engine prove itself; whatever it complains of, it is not a runtime then."""
    message = f"{title} was downloaded and does not work here"
    try:
        check(python)
    except LfError as error:
        detail = "\n".join(filter(None, (error.message, error.detail)))
        raise RuntimeMissingError(message, detail=detail, hint=error.hint) from error
    except OSError as error:  # its interpreter does not even start
        raise RuntimeMissingError(message, detail=str(error)) from error

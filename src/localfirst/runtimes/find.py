"""What each runtime is on this machine: there already, to be installed, or not for it. Starts and imports no engine."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.runtimes.folder import PYTHON, folder_of, read_failure, read_marker
from localfirst.runtimes.table import RUNTIMES, RuntimeRow, System, normalise_arch
from localfirst.runtimes.variable import read_variable
from localfirst.types import Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.types import RuntimeState


def find_runtimes(platform: str, arch: str, rows: Sequence[RuntimeRow] = RUNTIMES) -> tuple[Runtime, ...]:
    """Every runtime of this release, as it stands for a machine of that platform (`sys.platform`) and architecture.

    The first that holds is its state: `external` (the environment names an interpreter), `misnamed` (or what is none),
    `importable` (in this interpreter, at least as new as the pin), `installed`, `installable` or `offered`,
    `unavailable`. For another machine than this one, only the last three.
    """
    system = (platform, normalise_arch(arch))
    if system != this_system():
        return tuple(_find_elsewhere(row, system) for row in rows)
    return tuple(_find_here(row) or _find_failed(row) or _find_elsewhere(row, system) for row in rows)


def this_system() -> System:
    """The platform and architecture that this interpreter runs on."""
    return sys.platform, normalise_arch(platform.machine())


def find_installed(row: RuntimeRow) -> Runtime | None:
    """The runtime in its own environment, or `None` where it is not installed."""
    marker = read_marker(row)
    if marker is None:
        return None
    return _make(row, "installed")._replace(python=str(folder_of(row) / PYTHON), installed_bytes=marker.size_bytes)


def _make(row: RuntimeRow, state: RuntimeState) -> Runtime:
    """A row, and what it is here."""
    return Runtime(
        name=row.name,
        backend=row.backend,
        engine=row.engine,
        version=row.version,
        formats=row.formats,
        placement=row.placement,
        variant_devices=row.variant_devices,
        state=state,
        min_driver=row.min_driver,
        min_compute_capability=row.min_compute_capability,
        on_demand=row.on_demand,
    )


def _find_here(row: RuntimeRow) -> Runtime | None:
    """The runtime if an interpreter on this machine has it."""
    named = read_variable(row.name, f"a Python that can import {row.module}")
    if named.problem:
        return _make(row, "misnamed")._replace(reason=named.problem)
    if named.path:
        return _make(row, "external")._replace(version="unknown", python=named.path)
    # A build of another index has the name of the plain one: what this interpreter imports tells nothing of it.
    version = _find_version(row.module, row.distribution) if row.index_url is None else None
    if version is not None and this_system() in row.sizes and _is_new_enough(version, row):
        return _make(row, "importable")._replace(version=version, python=sys.executable)
    return find_installed(row)


def _is_new_enough(version: str, row: RuntimeRow) -> bool:
    return version == row.version if row.exact else _release(version) >= _release(row.version)


def _find_failed(row: RuntimeRow) -> Runtime | None:
    """The runtime if it could not be installed here a while ago."""
    reason = read_failure(row)
    if reason is None:
        return None
    again = f"it could not be installed: {reason}; `lf runtime install {row.name}` tries again"
    return _make(row, "unavailable")._replace(reason=again)


def _find_elsewhere(row: RuntimeRow, system: System) -> Runtime:
    """The runtime if there is a build of it for that system."""
    if (size := row.sizes.get(system)) is not None:
        found = _make(row, "installable")._replace(
            download_bytes=size.download_bytes, installed_bytes=size.installed_bytes
        )
        return found._replace(state="offered", reason=row.note) if row.on_demand else found
    there = ", ".join(f"{platform} {arch}" for platform, arch in row.sizes)
    return _make(row, "unavailable")._replace(reason=f"no build for {' '.join(system)}; there is one for {there}")


def _find_version(module: str, distribution: str) -> str | None:
    """The version of a package in this interpreter, or `None` where it is not, or another package brings the module.

    Read from the name of the `.dist-info` folder beside the module: `importlib.metadata` takes 45 ms to import.
    Source: the "Recording installed projects" specification of the Python Packaging Authority.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    prefix = distribution.replace("-", "_").lower() + "-"
    packages = Path(spec.origin).parent.parent if spec.submodule_search_locations else Path(spec.origin).parent
    for path in packages.glob("*.dist-info"):
        if path.name.lower().startswith(prefix):
            return path.name[len(prefix) : -len(".dist-info")]
    return None


def _release(version: str) -> tuple[int, ...]:
    """`0.18.0+cu128` -> `(0, 18, 0)`, `0.18.0rc1` -> `(0, 18)`: the numbers before anything else, for comparing."""
    numbers = []
    for part in version.partition("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)

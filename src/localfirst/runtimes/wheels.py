"""A runtime's wheels as files: fetched for another system, checked against the pins, installed without an index.

Pure but for `download` and `write_recipe`.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import IntegrityError, RuntimeMissingError
from localfirst.runtimes import failure
from localfirst.runtimes.command import run_command
from localfirst.runtimes.environment import Recipe
from localfirst.runtimes.folder import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localfirst.runtimes.table import RuntimeRow, System

PIP_PLATFORMS: dict[System, tuple[str, ...]] = {
    ("linux", "x86_64"): tuple(f"manylinux{version}_x86_64" for version in ("_2_28", "_2_27", "_2_17", "2014")),
    ("linux", "arm64"): tuple(f"manylinux{version}_aarch64" for version in ("_2_28", "_2_27", "_2_17", "2014")),
    ("win32", "x86_64"): ("win_amd64",),
    ("win32", "arm64"): ("win_arm64",),
    ("darwin", "x86_64"): tuple(f"macosx_{version}_x86_64" for version in ("13_0", "10_13", "10_9")),
    ("darwin", "arm64"): tuple(f"macosx_{version}_arm64" for version in ("14_0", "13_0", "12_0", "11_0")),
}
"""The wheel tags of the oldest systems that the runtimes are for, newest first, as pip wants them: one by one. Source:
PEP 600 (manylinux), and "Platform compatibility tags" of the Python Packaging Authority."""

_MAKERS_PLATFORMS: dict[System, tuple[str, ...]] = {
    ("linux", "x86_64"): (*(f"manylinux_2_{minor}_x86_64" for minor in range(35, 28, -1)), "linux_x86_64"),
}
"""More tags for engines of their makers' own indexes, which need newer systems (see the notes of their rows)."""

_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*(?=\\|--hash|$)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_MARKER = re.compile(r"python_full_version (?P<sign><|>=) '(?P<version>\d+(?:\.\d+)*)'")


class Pin(NamedTuple):
    """A package of a runtime: exactly one version, in one of these files."""

    name: str
    version: str
    marker: str | None
    digests: tuple[str, ...]
    """SHA-256 of its wheels, for every system and Python."""


def read_pins(row: RuntimeRow, python: str) -> tuple[Pin, ...]:
    """The pins of a runtime that count for a Python, such as `3.12`."""
    text = (paths.package_dir() / "runtimes" / "pins" / row.pins).read_text(encoding="utf-8")
    return tuple(pin for pin in parse_pins(text) if _counts(pin, python))


def parse_pins(text: str) -> tuple[Pin, ...]:
    """The pins of a file that `tools/lock.py` wrote.

    Raises:
        ValueError: a line is no pin.
    """
    logical = text.replace("\\\n", " ").splitlines()
    found = []
    for line in logical:
        if not line.strip() or line.startswith("#"):
            continue
        match = _PIN.match(line)
        digests = tuple(_HASH.findall(line))
        if match is None or not digests:
            raise ValueError(f"no pin: {line[:80]}")
        found.append(Pin(match["name"], match["version"], match["marker"], digests))
    return tuple(found)


def _counts(pin: Pin, python: str) -> bool:
    """Whether a pin is for a Python. pip asks this of the Python that it runs in, never of the one it fetches for."""
    if pin.marker is None:
        return True
    match = _MARKER.fullmatch(pin.marker)
    if match is None:
        raise ValueError(f"no marker of a pin: {pin.marker}")
    older = _numbers(python) < _numbers(match["version"])
    return older if match["sign"] == "<" else not older


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def download(
    row: RuntimeRow, system: System, python: str, folder: Path, on_line: Callable[[str], None]
) -> tuple[Path, ...]:
    """Fetch the wheels of a runtime for a system and a Python into a new folder, by pip; sorted by name.

    pip reads the user's own configuration (index, proxy, certificates).

    Raises:
        NetworkError: the package index cannot be reached, or refuses.
        RuntimeMissingError: they cannot be had for another reason; the evidence is in the detail.
        DiskFullError: pip ran out of space.
    """
    folder.mkdir(parents=True)
    pins = folder / "pins.txt"
    pins.write_text("".join(map(format_pin, read_pins(row, python))), encoding="utf-8")
    pip, *commands = _find_pip(folder / "pip")
    fetch = (*pip, "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    common = (*fetch, "--dest", str(folder), "--no-deps", "--only-binary", ":all:")
    tags = _make_tags(PIP_PLATFORMS[system], python)
    commands.append((*common, *tags, "--require-hashes", "-r", str(pins)))
    if row.index_url is not None:
        tags = _make_tags((*_MAKERS_PLATFORMS.get(system, ()), *PIP_PLATFORMS[system]), python)
        commands.append((*common, *tags, "--index-url", row.index_url, f"{row.distribution}=={row.version}"))
    for argv in commands:
        outcome = run_command(argv, folder=folder, on_line=on_line)
        if not outcome.ok:
            title = f"The wheels of `{row.name}` for {' '.join(system)}, Python {python}, cannot be fetched"
            raise failure.explain(title, {"pip": outcome.lines})
    shutil.rmtree(folder / "pip", ignore_errors=True)
    pins.unlink()
    return tuple(sorted(folder.iterdir()))


def _find_pip(folder: Path) -> list[tuple[str, ...]]:
    """The words that start pip, then the commands that make it first, where this interpreter has none."""
    if find_spec("pip"):
        return [(sys.executable, "-m", "pip")]
    return [(str(folder / PYTHON), "-m", "pip"), (sys.executable, "-m", "venv", str(folder))]


def _make_tags(platforms: Sequence[str], python: str) -> tuple[str, ...]:
    words = [word for tag in platforms for word in ("--platform", tag)]
    abis = [word for abi in (f"cp{python.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    return (*words, "--python-version", python, "--implementation", "cp", *abis)


def format_pin(pin: Pin) -> str:
    """A pin as a line for pip and uv, without its marker."""
    return " ".join((f"{pin.name}=={pin.version}", *(f"--hash=sha256:{digest}" for digest in pin.digests))) + "\n"


def check_wheels(row: RuntimeRow, python: str, wheels: Mapping[str, str]) -> None:
    """Compare wheels, digests by file name, with the pins: each package once, and with a digest that is pinned.

    Only the engine of a maker's own index has no pin, and its digest is taken as it is.

    Raises:
        IntegrityError: a wheel that is not pinned, or none for a pin.
    """
    pins = {make_project_key(pin.name): pin for pin in read_pins(row, python)}
    expected = {*pins, make_project_key(row.distribution)}
    found = {find_project(name): name for name in wheels}
    unknown = sorted(found[project] for project in found.keys() - expected)
    missing = sorted(expected - found.keys())
    if unknown or missing or len(found) != len(wheels):
        raise IntegrityError(
            f"The wheels are not those of `{row.name}` for Python {python}",
            detail="\n".join((*(f"unknown: {name}" for name in unknown), *(f"missing: {name}" for name in missing)))
            or "a package is there twice",
        )
    for project, pin in pins.items():
        if wheels[found[project]] not in pin.digests:
            raise IntegrityError(
                f"{found[project]} is not the wheel that this lf knows",
                detail=f"bundle: {wheels[found[project]]}\npinned: {_say_digests(pin)}",
                hint="Use a bundle that was made by the same version of lf, from the public package index",
            )


def _say_digests(pin: Pin) -> str:
    first, *others = pin.digests
    return f"{first}, or one of {len(others)} more of {pin.name} {pin.version}" if others else first


def find_project(wheel: str) -> str:
    """`onnxruntime_genai-0.18.0-cp311-cp311-win_amd64.whl` -> `onnxruntime-genai`."""
    return make_project_key(wheel.partition("-")[0])


def make_project_key(name: str) -> str:
    """A package's name as indexes compare it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_recipe(row: RuntimeRow, folder: Path, wheels: Mapping[str, str], work: Path) -> Recipe:
    """How to install checked wheels from a folder, their digests by file name: by our own pins, then the engine.

    For this interpreter's Python; the lists for pip and uv are written to the folder `work`.
    """
    source = ("--no-index", "--find-links", str(folder), "--require-hashes")
    pins = work / f"{row.name}-pins.txt"
    pins.write_text("".join(map(format_pin, read_pins(row, this_python()))), encoding="utf-8")
    wanted: list[tuple[str, ...]] = [(*source, "-r", str(pins))]
    if row.index_url is not None:
        engine = work / f"{row.name}-engine.txt"
        project = make_project_key(row.distribution)
        digest = next(digest for name, digest in wheels.items() if find_project(name) == project)
        engine.write_text(format_pin(Pin(row.distribution, row.version, None, (digest,))), encoding="utf-8")
        wanted.append((*source, "--no-deps", "-r", str(engine)))
    return Recipe(tuple(wanted), sealed=True)


def require_same_python(python: str) -> None:
    """Refuse wheels for another Python than this interpreter, whose environments they would go into.

    Raises:
        RuntimeMissingError: with both versions, and what to do.
    """
    here = this_python()
    if python != here:
        raise RuntimeMissingError(
            f"The bundle's engines are for Python {python}, and lf runs on Python {here} here",
            hint=f"Make the bundle with `--python {here}`, or run lf on Python {python} here",
        )


def this_python() -> str:
    """This interpreter's version as wheels name it, such as `3.12`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"

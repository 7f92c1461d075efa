"""Write and check every pin of the project: `python tools/lock.py [--upgrade] [--sizes]`; needs `uv` on the path.

`src/localfirst/runtimes/pins/*.txt` are what a runtime's environment is made of, `requirements/dev.txt` is what the
tests run with: exact versions with the digests of all their wheels, for every system and Python that they support.
A pin moves only with `--upgrade`. `--sizes` downloads every build and prints the sizes for `runtimes/table.py`, without
what comes from an index of its maker's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from localfirst.runtimes.table import EVERYTHING, RuntimeRow, System
from localfirst.runtimes.wheels import PIP_PLATFORMS

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "src/localfirst/runtimes/pins"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
HEADER = "# Written by tools/lock.py.\n"

UV_PLATFORMS: dict[System, str] = {
    ("linux", "x86_64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("win32", "x86_64"): "x86_64-pc-windows-msvc",
    ("win32", "arm64"): "aarch64-pc-windows-msvc",
    ("darwin", "x86_64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
"""The oldest systems that the builds are for, as uv names them; of macOS, 14 (see `run_uv`)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the requirements allow")
    parser.add_argument("--sizes", action="store_true", help="download every build and print its sizes")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    jinja = next(text for text in project["dependencies"] if text.startswith("Jinja2"))
    for pins, row in {row.pins: row for row in EVERYTHING}.items():
        wanted = "\n".join((*find_wanted(row), jinja))
        scope = find_scope({system for row in EVERYTHING if row.pins == pins for system in row.sizes})
        compiled = ("--no-binary", row.distribution) if row.compiled else ()
        write_pins(PINS / pins, ("-",), (*scope, *compiled), stdin=wanted, upgrade=arguments.upgrade)
    dev = ("pyproject.toml", "--extra", "dev")
    write_pins(ROOT / "requirements/dev.txt", dev, ("--universal",), upgrade=arguments.upgrade)
    indexed = [row for row in EVERYTHING if not row.compiled and (row.index_url is None or row.from_index)]
    systems = {(row.pins, system) for row in indexed for system in row.sizes}
    for pins, system in sorted(systems):
        check_wheels(PINS / pins, system)
        if arguments.sizes:
            print(pins, system, "BuildSize({:_}, {:_})".format(*measure_wheels(PINS / pins, system)))


def find_wanted(row: RuntimeRow) -> tuple[str, ...]:
    """What the package index has of a runtime; its maker's own index has the rest (see `RuntimeRow.index_url`)."""
    own = row.index_url is None or row.from_index is not None
    return (*((f"{row.distribution}=={row.version}",) if own else ()), *row.needs)


def run_uv(*arguments: str, stdin: str = "") -> None:
    """Run uv with nothing of this machine's configuration: neither an index nor a path may get into a pin."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environment["MACOSX_DEPLOYMENT_TARGET"] = "14.0"
    argv = ("uv", "--no-config", "--quiet", *arguments)
    subprocess.run(argv, input=stdin, text=True, check=True, cwd=ROOT, env=environment)


def find_scope(systems: set[System]) -> tuple[str, ...]:
    """What pins of a runtime are for. Those for one system need no marker that tells systems apart."""
    if len(systems) == 1:
        return ("--python-platform", UV_PLATFORMS[next(iter(systems))])
    return ("--universal",)


def write_pins(
    target: Path, source: tuple[str, ...], scope: tuple[str, ...], *, stdin: str = "", upgrade: bool
) -> None:
    target.parent.mkdir(exist_ok=True)
    plain = ("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
    kind = ("--python-version", PYTHONS[0], "--only-binary", ":all:", "--generate-hashes")
    more = ("--upgrade",) if upgrade else ()
    run_uv("pip", "compile", *source, "--output-file", str(target), *plain, *scope, *kind, *more, stdin=stdin)
    target.write_text(HEADER + target.read_text(encoding="utf-8"), encoding="utf-8")
    print(target.relative_to(ROOT))


def check_wheels(pins: Path, system: System) -> None:
    """Fail unless every pin has a wheel for that system, on every Python."""
    for python in PYTHONS:
        where = ("--python-platform", UV_PLATFORMS[system], "--python-version", python)
        with tempfile.TemporaryDirectory() as target:
            wanted = ("--only-binary", ":all:", "--require-hashes", "-r", str(pins))
            run_uv("pip", "install", "--dry-run", "--target", target, *where, *wanted)
    print(f"{pins.name}: wheels for {' '.join(system)}, Python {', '.join(PYTHONS)}")


def measure_wheels(pins: Path, system: System) -> tuple[int, int]:
    """Bytes of all wheels for that system and CPython 3.12: as downloaded, and unpacked."""
    platforms = [word for tag in PIP_PLATFORMS[system] for word in ("--platform", tag)]
    tags = ("--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "abi3", "--abi", "none")
    wanted = ("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(pins))
    with tempfile.TemporaryDirectory() as target:
        argv = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", target, *platforms, *tags, *wanted)
        subprocess.run(argv, check=True)
        wheels = tuple(Path(target).iterdir())
        unpacked = sum(member.file_size for wheel in wheels for member in zipfile.ZipFile(wheel).infolist())
        return sum(wheel.stat().st_size for wheel in wheels), unpacked


if __name__ == "__main__":
    main()

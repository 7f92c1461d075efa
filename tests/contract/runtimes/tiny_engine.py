"""An engine of three lines as a real wheel with its pins, so that real installers have something to install offline.

As a program, `tiny_engine.py PINS LOG HOLD`: install it as another process would. Each check adds a line to LOG, and
with HOLD `yes` does not return.
"""

from __future__ import annotations

import sys
import time
import zipfile
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from localfirst.runtimes.find import this_system
from localfirst.runtimes.install import install
from localfirst.runtimes.table import BuildSize, RuntimeRow

WHEEL = "tiny_engine-1.2.0-py3-none-any.whl"
INFO = "tiny_engine-1.2.0.dist-info"
MEMBERS = {
    "tinyengine/__init__.py": "answer = 42\n",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: tiny-engine\nVersion: 1.2.0\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/RECORD": f"tinyengine/__init__.py,,\n{INFO}/METADATA,,\n{INFO}/WHEEL,,\n{INFO}/RECORD,,\n",
}


def make_wheel(folder: Path) -> str:
    """Write the wheel, and return its digest."""
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, text in MEMBERS.items():
            wheel.writestr(name, text)
    return sha256((folder / WHEEL).read_bytes()).hexdigest()


def make_helper_wheel(folder: Path) -> str:
    """Write the wheel of another package, and return its digest."""
    members = {
        name.replace("tinyengine", "tinyhelper").replace(INFO, "tiny_helper-1.0.dist-info"): text.replace(
            "tinyengine", "tinyhelper"
        )
        .replace(INFO, "tiny_helper-1.0.dist-info")
        .replace("tiny-engine", "tiny-helper")
        .replace("1.2.0", "1.0")
        for name, text in MEMBERS.items()
    }
    path = folder / "tiny_helper-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in members.items():
            wheel.writestr(name, text)
    return sha256(path.read_bytes()).hexdigest()


def make_row(pins: Path, *, size: BuildSize | None = None) -> RuntimeRow:
    """The runtime of the tiny engine, as its pins say."""
    return RuntimeRow(
        name="tiny-cpu",
        backend="tiny",
        engine="Tiny",
        module="tinyengine",
        distribution="tiny-engine",
        version="1.2.0",
        formats=("gguf",),
        placement="cpu",
        variant_devices=("cpu",),
        sizes=MappingProxyType({this_system(): size or BuildSize(1000, 10_000_000)}),
        pins=str(pins),
    )


def main(pins: str, log: str, hold: str) -> None:
    def check(python: str) -> None:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(python + "\n")
        if hold == "yes":
            time.sleep(60)

    runtime = install("tiny-cpu", check=check, rows=(make_row(Path(pins)),))
    sys.stdout.write(f"{runtime.state} {runtime.python}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

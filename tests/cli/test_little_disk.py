"""Little free disk: each command asks for what it will really write, and where."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import Bare
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0, reason="needs root to mount a disk"
)

NAME = "smollm2-360m"
SIZE_M = 420
"""Of the small disk: enough for the 386 MB that the catalog gives the model, and too little for an engine besides."""


def find_plan(lf: Bare) -> tuple[str, str]:
    """Whether the model can run, and why, as a list has it."""
    listed = json.loads(lf("list", "--installed", "--json").stdout)["models"]
    return next((one["verdict"], one["reason"]) for one in listed if one["name"] == NAME)


def fill(folder: Path, left_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    with (folder / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - left_bytes))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size={SIZE_M}m tmpfs {folder}") != 0:  # noqa: S605 - our own path
        pytest.skip("this system does not let root mount")
    try:
        yield folder
    finally:
        os.system(f"umount {folder}")  # noqa: S605 - our own path


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    make_gguf(tmp_path / "m.gguf", "Hello.")
    with Hub() as hub:
        hub.add_repo(
            "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            {"smollm2-360m-instruct-q8_0.gguf": (tmp_path / "m.gguf").read_bytes()},
        )
        hf = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf"), "PIP_NO_INDEX": "1"}
        yield Bare(tmp_path / "lf-home", hf)


def test_what_is_only_fetched_needs_no_disk_for_an_engine(bare: Bare, disk: Path, tmp_path: Path) -> None:
    bare.home = disk / "home"
    refused = bare("run", NAME, "hi")
    assert (refused.returncode, "with its engine" in refused.stderr) == (5, True), refused.stderr
    words = " ".join(refused.stderr.split())
    assert str(bare.home / "models") in words.replace(" ", "")
    assert "`lf store gc`" in words
    assert "`lf store move DIR`" in words
    assert "onnx" not in words, "no build that is refused for another reason"
    refused = bare("pull", "phi-4-mini")
    assert (refused.returncode, "runtimes" in refused.stderr) == (5, False), refused.stderr
    locked = bare("model", "lock", NAME)
    assert locked.returncode == 0, locked.stderr
    pulled = bare("pull", NAME)
    assert pulled.returncode == 0, pulled.stderr
    fill(disk, 1_000_000)
    assert bare("pull", NAME).returncode == 0
    assert bare("model", "lock", NAME).returncode == 0
    packed = bare("bundle", "create", NAME, "--models-only", "-o", str(tmp_path / "x.tar"))
    assert packed.returncode == 0, packed.stderr
    refused = bare("run", NAME, "hi")
    assert (refused.returncode, "its engine needs" in refused.stderr) == (5, True)


def test_engines_need_no_room_on_the_disk_of_the_models(bare: Bare, disk: Path) -> None:
    assert bare("pull", NAME).returncode == 0
    (disk / "store").mkdir()
    moved = bare("store", "move", str(disk / "store"))
    assert moved.returncode == 0, moved.stderr
    fill(disk, 1_000_000)
    verdict, reason = find_plan(bare)
    assert verdict != "no", reason


def test_engines_need_room_on_their_own_disk(bare: Bare, disk: Path, tmp_path: Path) -> None:
    bare.home = disk / "home"
    assert bare("pull", NAME).returncode == 0
    (tmp_path / "store").mkdir()
    moved = bare("store", "move", str(tmp_path / "store"))
    assert moved.returncode == 0, moved.stderr
    fill(disk, 1_000_000)
    verdict, reason = find_plan(bare)
    assert (verdict, reason.startswith("its engine needs ")) == ("no", True), reason
    refused = bare("run", NAME, "hi")
    assert refused.returncode == 5
    assert "set LF_HOME" in refused.stderr


@pytest.mark.usefixtures("package_index")
def test_the_engines_of_a_bundle_are_counted_on_their_own_disk(bare: Bare, disk: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "x.tar"
    made = Lf(tmp_path / "maker")("bundle", "create", "starter", "-o", str(bundle), timeout_s=600)
    assert made.returncode == 0, made.stderr
    (disk / "store").mkdir()
    assert bare("store", "move", str(disk / "store")).returncode == 0
    fill(disk, bundle.stat().st_size * 5 // 4)
    installed = bare("bundle", "install", str(bundle), timeout_s=600)
    assert installed.returncode == 0, installed.stderr
    assert bare("--offline", "run", "starter", "hi").returncode == 0
    narrow = Bare(disk / "home", bare.environment)
    (disk / "filler").unlink()
    (tmp_path / "store").mkdir()
    assert narrow("store", "move", str(tmp_path / "store")).returncode == 0
    fill(disk, 1_000_000)
    refused = narrow("bundle", "install", str(bundle))
    assert refused.returncode == 5
    assert str(narrow.home / "runtimes") in refused.stderr
    assert "--models-only" in refused.stderr


def test_a_full_disk_is_a_problem_and_a_small_one_is_none(lf: Lf, disk: Path) -> None:
    lf.home = disk / "home"
    lf.home.mkdir()
    found = []
    for left_bytes in (10**8, 0):
        (disk / "filler").unlink(missing_ok=True)
        fill(disk, left_bytes)
        done = lf("doctor", "--json")
        states = {one["name"]: one["state"] for one in json.loads(done.stdout)["checks"]}
        found.append((done.returncode, states["Data folder"]))
    assert found == [(0, "warning"), (1, "problem")]

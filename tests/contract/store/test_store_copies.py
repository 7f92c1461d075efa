"""Imports with a copy: the store's own files, whole or not there, whatever ends the process or fills the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gguf as gguf_package
import numpy as np
import pytest
from tests.fixtures import formats as make
from tests.fixtures.hub import sha256
from tests.fixtures.scripted.gguf_file import make_gguf

from localfirst import paths
from localfirst.errors import DiskFullError, StoreError, UsageError
from localfirst.store import manifest, removal
from localfirst.store.imports import import_path
from localfirst.store.verify import verify
from localfirst.types import InstalledModel, Progress

ROOT = Path(__file__).parents[3]
MB = 10**6


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "My Model-Q4_0.gguf"
    make_gguf(path, "hello")
    return path


def make_big(path: Path, megabytes: int = 48) -> Path:
    """A GGUF file with some weight."""
    writer = gguf_package.GGUFWriter(path, "llama")
    generator = np.random.default_rng(megabytes)
    writer.add_tensor("token_embd.weight", generator.random((megabytes, 250_000), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def copy(path: Path, name: str = "mine") -> InstalledModel:
    return import_path(path, name=name, copy=True)


def list_store() -> dict[str, int]:
    """Every file of the store but locks: its inode."""
    root = paths.models_dir()
    return {
        path.relative_to(root).as_posix(): path.stat().st_ino
        for path in root.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    }


def test_a_copy_is_the_stores_own_and_outlives_its_original(model: Path) -> None:
    data = model.read_bytes()
    copied = copy(model)
    model.unlink()
    assert (copied.keeper, copied.host, copied.repo) == (None, "import", None)
    assert Path(copied.root).is_relative_to(paths.models_dir())
    assert copied.files[0].sha256 == sha256(data)
    assert (Path(copied.root) / model.name).read_bytes() == data
    assert manifest.find("mine") == copied
    assert verify(copied) == ()


def test_removing_a_copy_frees_it_and_removing_a_reference_frees_nothing(model: Path) -> None:
    size = model.stat().st_size
    assert removal.remove(import_path(model, name="here")).freed_bytes == 0
    assert removal.remove(copy(model)).freed_bytes >= size
    assert list_store() == {}
    assert model.exists()


def test_a_folder_is_copied_without_what_is_no_part_of_the_model(tmp_path: Path) -> None:
    folder = make.make_onnx(tmp_path / "onnx")
    (folder / "modeling.py").write_text("import os")
    copied = copy(folder)
    assert sorted(path.name for path in Path(copied.root).iterdir()) == [
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
    ]


def test_links_are_copied_as_the_files_that_they_lead_to(tmp_path: Path, model: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "linked.gguf"
    link.symlink_to(model)
    copied = copy(link)
    assert [(path.name, path.is_symlink()) for path in Path(copied.root).iterdir()] == [("linked.gguf", False)]


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = make_big(tmp_path / "big.gguf", 4)
    for chosen in (False, True):
        seen.clear()
        import_path(path, name=f"big-{chosen}".lower(), copy=chosen, report=seen.append)
        assert (seen[-1].done, seen[-1].total) == (path.stat().st_size, path.stat().st_size)


def test_copying_again_changes_nothing(model: Path) -> None:
    first = copy(model)
    before = list_store()
    assert copy(model) == first
    assert import_path(model, name="mine") == first, "a reference in place of a copy would lose the copy"
    assert list_store() == before


def test_a_copy_never_gives_way_to_other_files(model: Path, tmp_path: Path) -> None:
    first = copy(model)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / model.name
    make_gguf(other, "goodbye")
    for chosen in (True, False):
        with pytest.raises(UsageError, match="There is another model named `mine`") as caught:
            import_path(other, name="mine", copy=chosen)
        assert str(other) in (caught.value.detail or "")
    assert verify(first) == ()
    (tmp_path / "q8").mkdir()
    make_gguf(tmp_path / "q8" / "my-Q8_0.gguf", "goodbye")
    with pytest.raises(UsageError, match="There is another model"):
        copy(tmp_path / "q8" / "my-Q8_0.gguf")


def test_a_reference_becomes_a_copy(model: Path) -> None:
    import_path(model, name="mine")
    copied = copy(model)
    assert copied.keeper is None
    assert manifest.find_all() == (copied,)


def test_a_damaged_copy_is_mended_by_the_original(model: Path) -> None:
    copied = copy(model)
    (Path(copied.root) / model.name).write_bytes(b"short")
    assert copy(model).files == copied.files
    assert verify(copied) == ()


@pytest.mark.parametrize("stale", ["the same size", "another"])
def test_what_an_earlier_import_staged_does_not_replace_what_is_right(model: Path, stale: str) -> None:
    copied = copy(model)
    folder = Path(copied.root).parent
    (folder / "manifest.json").unlink()
    (folder / ".partial" / "files").mkdir(parents=True)
    size = copied.size_bytes if stale == "the same size" else 100
    (folder / ".partial" / "files" / model.name).write_bytes(bytes(size))
    assert verify(copy(model)) == ()
    assert len(list_store()) == 2


def test_a_file_that_grows_while_it_is_copied_is_no_model(tmp_path: Path) -> None:
    path = make_big(tmp_path / "big.gguf", 4)

    def grow(_: Progress) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    with pytest.raises(StoreError, match="changed while it was copied"):
        import_path(path, name="big", copy=True, report=grow)
    assert list_store() == {}


def test_what_cannot_fit_is_refused_before_the_first_byte(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localfirst.store.disk.free_bytes", lambda _: model.stat().st_size)
    with pytest.raises(DiskFullError, match="Not enough space"):
        copy(model)
    assert list_store() == {}


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.store.import_child", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def read_until(child: subprocess.Popen[str], least: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line).get("done", 0) >= least:
            return
    pytest.fail("the process ended before")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_that_ends_early_is_no_model_and_the_next_one_uses_what_is_whole(
    tmp_path: Path, how: signal.Signals
) -> None:
    for number in (1, 2):
        make_big(tmp_path / f"big-0000{number}-of-00002.gguf", 30 + number)
    path = tmp_path / "big-00001-of-00002.gguf"
    for least in (5 * MB, 45 * MB):
        child = start(path)
        read_until(child, least)
        child.send_signal(how)
        child.communicate(timeout=30)
        assert child.returncode != 0
        assert manifest.find_all() == ()
    left = {name: inode for name, inode in list_store().items() if not name.endswith(".tmp")}
    assert [name.rpartition("/")[2] for name in left] == [path.name]
    copied = copy(path, "big")
    assert verify(copied) == ()
    after = list_store()
    assert len(after) == 3, "two files and the manifest; nothing is left of what was begun"
    assert set(left.values()) < set(after.values()), "the whole file was not copied again"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_two_processes_copy_one_after_the_other(tmp_path: Path) -> None:
    path = make_big(tmp_path / "big.gguf", 16)
    children = [start(path) for _ in range(2)]
    roots = [json.loads(child.communicate(timeout=60)[0].splitlines()[-1])["root"] for child in children]
    assert roots[0] == roots[1]
    assert [verify(one) for one in manifest.find_all()] == [()]


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="needs a small file system")
def test_a_disk_that_fills_up_keeps_the_original_and_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("LF_HOME", str(disk / "home"))
        path = make_big(tmp_path / "big.gguf", 16)

        def fill(step: Progress) -> None:
            if step.done and not (disk / "other").exists():
                (disk / "other").write_bytes(bytes(8 * MB))

        with pytest.raises(DiskFullError, match="The disk is full"):
            import_path(path, name="big", copy=True, report=fill)
        assert manifest.find_all() == ()
        (disk / "other").unlink()
        assert verify(copy(path, "big")) == ()
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)

"""`lf store` as a user sees it, at 80 columns and as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.contract.store.store_models import install, leave_partial, make_bytes
from tests.fixtures.scripted import make_gguf

from localfirst.store import layout
from localfirst.store.lock import hold
from localfirst.store.progress import ignore


@pytest.fixture
def store(lf: Lf, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a model, an older revision of it, half a download, and a file of the user's."""
    monkeypatch.setenv("LF_HOME", str(lf.home))
    install(commit="a")
    install(commit="b", created="2026-11-25T00:00:00+00:00")
    leave_partial()
    (lf.home / "models" / "notes.txt").write_text("mine")
    return lf.home / "models"


def test_df_says_what_takes_how_much(lf: Lf, store: Path) -> None:
    shown = lf("store", "df")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [line.split() for line in shown.stdout.splitlines()]
    for words in (
        ["Models", "1"],
        ["Unused", "revisions", "1"],
        ["Partial", "downloads", "1"],
        ["Files", "of", "others"],
    ):
        assert any(line[: len(words)] == words for line in lines), words
    assert "`lf store gc` would free" in shown.stdout
    usage = json.loads(lf("store", "df", "--json").stdout)
    assert usage["models_folder"] == str(store)
    assert 0 < usage["garbage_bytes"] < usage["total_bytes"]
    assert usage["garbage_bytes"] == usage["revision_bytes"] + usage["partial_bytes"]


def test_what_a_process_works_on_is_not_said_to_go(lf: Lf, store: Path) -> None:
    partial = next(store.glob("*/*/*/.partial")).parent
    with hold(layout.find_lock(partial), "half", ignore):
        usage = json.loads(lf("store", "df", "--json").stdout)
    assert usage["garbage_bytes"] == usage["revision_bytes"] > 0


def test_two_downloads_of_one_model_are_told_apart(lf: Lf, store: Path) -> None:
    leave_partial(commit="e")
    shown = lf("store", "gc", "--dry-run").stdout
    for digit in "de":
        assert f"half@q4_0, revision {digit * 12}" in shown


def test_a_copy_that_was_killed_is_called_by_the_models_name(lf: Lf, store: Path) -> None:
    copied = store / "import--hg" / "import" / "f32" / layout.PARTIAL / layout.FILES
    copied.mkdir(parents=True)
    (copied / "model.gguf").write_bytes(bytes(100_000))
    (row,) = (line.split() for line in lf("store", "gc", "--dry-run").stdout.splitlines() if "unfinished copy" in line)
    assert (row[:2], row[-1]) == (["unfinished", "copy"], "hg")
    assert "lf pull" not in lf("rm", "hg").stderr


def test_gc_says_before_what_it_says_after(lf: Lf, store: Path) -> None:
    would = lf("store", "gc", "--dry-run").stdout
    did = lf("store", "gc").stdout
    assert "2 things would be removed," in would
    assert "would be freed" in would
    assert would.replace("would be ", "").partition(";")[0] == did.partition(";")[0]
    assert str(store / "notes.txt") in did
    assert lf("store", "gc").stdout.startswith("Nothing to remove")
    assert json.loads(lf("store", "gc", "--json").stdout)["removed"] == []
    assert (store / "notes.txt").exists()


def test_gc_spares_what_is_younger(lf: Lf, store: Path) -> None:
    assert lf("store", "gc", "--older", "1h").stdout.startswith("Nothing to remove")
    old = time.time() - 40 * 86400
    for path in store.rglob("*"):
        os.utime(path, (old, old))
    assert "2 things removed" in lf("store", "gc", "--older", "30d").stdout
    wrong = lf("store", "gc", "--older", "30 fortnights")
    assert (wrong.returncode, "not an age such as 30d" in wrong.stderr) == (2, True)


def test_a_store_is_moved_and_found_again(lf: Lf, store: Path, tmp_path: Path) -> None:
    target = tmp_path / "a disk" / "models"
    assert json.loads(lf("store", "location", "--json").stdout)["decided_by"] == "LF_HOME"
    moved = lf("store", "move", str(target))
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.startswith("The store is in ")
    assert str(store / "notes.txt") in moved.stdout
    found = json.loads(lf("store", "location", "--json").stdout)
    assert (found["models_folder"], found["decided_by"]) == (str(target), "move")
    assert lf("model", "verify", "--all").stdout.count("ok ") >= 2
    assert lf("store", "move", str(target)).stdout.endswith("already\n")
    target.rename(tmp_path / "elsewhere")
    gone = lf("list", "--installed")
    assert (gone.returncode, "is not there" in gone.stderr) == (1, True)
    assert "is its disk connected?" in lf("store", "location").stdout


def test_each_disk_is_counted_for_itself(lf: Lf, store: Path, tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 (the one other file system that most Linux machines let everybody write)
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    (lf.home / "runtimes" / "engine").mkdir(parents=True)
    (lf.home / "runtimes" / "engine" / "lib").write_bytes(bytes(3_000_000))
    before = json.loads(lf("store", "df", "--json").stdout)
    assert (before["other_disks"], before["total_bytes"] > 3_000_000) == ([], True)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        assert lf("store", "move", f"{folder}/models").returncode == 0
        after = json.loads(lf("store", "df", "--json").stdout)
        shown = lf("store", "df").stdout
    assert after["total_bytes"] < 2_000_000
    there = {one["folder"]: one["size_bytes"] for one in after["other_disks"]}
    assert there[str(lf.home / "runtimes")] >= 3_000_000
    assert f"\n{lf.home / 'runtimes'}: " in shown


def test_a_folder_with_something_else_is_refused(lf: Lf, store: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    refused = lf("store", "move", str(tmp_path / "full"))
    assert refused.returncode == 2
    assert f"`lf store move {tmp_path / 'full' / 'lf-models'}`" in " ".join(refused.stderr.split())
    assert (store / "notes.txt").exists()


def test_rm_says_what_it_freed_and_how_many_revisions(lf: Lf, store: Path) -> None:
    name = "smollm2-360m"
    install(name, "q8_0", commit="a")
    install(name, "q8_0", commit="b")
    removed = lf("rm", name)
    assert removed.returncode == 0, removed.stderr
    assert removed.stdout.startswith(f"{name} is removed (1 build, 2 revisions): ")
    assert removed.stdout.endswith(" freed\n")
    assert lf("rm", name).returncode == 3


def test_a_model_of_a_shared_store_is_listed_and_not_removed(lf: Lf, store: Path, tmp_path: Path) -> None:
    user = Lf(tmp_path / "user", {"LF_SHARED_STORES": f"{lf.home}{os.pathsep}{tmp_path / 'nowhere'}"})
    assert lf("model", "verify", "--all").stdout == user("model", "verify", "--all").stdout
    refused = user("rm", "tiny")
    assert refused.returncode == 1
    assert "`tiny` is in a shared store" in refused.stderr
    assert str(store) in refused.stderr
    shown = " ".join(user("store", "location").stdout.split())
    assert "2 models" in shown
    assert "there is no such folder" in shown
    names = [one["name"] for one in json.loads(user("list", "--installed", "--json").stdout)["models"]]
    assert "tiny" in names


def test_the_bytes_that_are_there_twice_are_named(lf: Lf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(lf.home))
    data = make_bytes("twice", 2_000_000)
    install("one", files={"x.gguf": data})
    install("two", files={"y.gguf": data})
    shown = lf("store", "df").stdout
    assert "More than once on this machine: 2.00 MB could be saved" in shown
    assert "one@q4_0: x.gguf" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_move_says_how_to_go_on(lf: Lf, store: Path, tmp_path: Path) -> None:
    """It waits for a model that somebody works on, since that must not be missing in the new place."""
    folder = next(store.glob("*/*/*/manifest.json")).parent
    with hold(layout.find_lock(folder), "tiny", ignore):
        moving = lf.start("store", "move", str(tmp_path / "new"))
        assert moving.stderr is not None
        assert f"waiting for process {os.getpid()}" in moving.stderr.readline()
        moving.send_signal(signal.SIGINT)
        told = moving.communicate(timeout=30)[1]
    assert "run the same command again to go on" in told
    assert "Traceback" not in told
    assert moving.returncode == 130
    assert "goes on with it" in " ".join(lf("store", "location").stdout.split())
    assert lf("store", "move", str(tmp_path / "new")).returncode == 0
    assert lf("model", "verify", "--all").returncode == 0


def test_df_tells_of_bytes_that_another_tool_has_too(lf: Lf, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(2_000_000)  # noqa: S311
    make_gguf(tmp_path / "own-q4_0.gguf", "hi")
    with (tmp_path / "own-q4_0.gguf").open("ab") as file:
        file.write(content)
    assert lf("model", "import", str(tmp_path / "own-q4_0.gguf"), "--name", "own", "--copy").returncode == 0
    data = (tmp_path / "own-q4_0.gguf").read_bytes()
    blobs = tmp_path / "ollama" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"sha256-{hashlib.sha256(data).hexdigest()}").write_bytes(data)
    lf.environment["OLLAMA_MODELS"] = str(tmp_path / "ollama")
    (duplicate,) = json.loads(lf("store", "df", "--json").stdout)["duplicates"]
    assert [copy["owner"] for copy in duplicate["copies"]] == ["own", "ollama"]
    shown = lf("store", "df").stdout
    assert "could be saved" in shown
    assert f"Ollama: {blobs}" in shown

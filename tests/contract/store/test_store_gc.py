"""What is removed from a store, what never is, and what others' stores add to it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.store.store_models import import_file, install, leave_partial, make_bytes

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.runtimes.table import RUNTIMES
from localfirst.services.tidy import Collected, collect
from localfirst.services.usage import find_location, measure_usage
from localfirst.store import layout, manifest, removal
from localfirst.store.lock import hold
from localfirst.store.progress import ignore
from localfirst.store.upkeep.gc import find_garbage, remove_garbage
from localfirst.store.upkeep.survey import survey
from localfirst.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DAY_S = 86400.0
ROUNDS = 20


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LF_SHARED_STORES", raising=False)
    return tmp_path / "home"


def run_gc(*, older_s: float = 0, dry_run: bool = False, now: float | None = None) -> Collected:
    return collect(older_s=older_s, dry_run=dry_run, now=time.time() if now is None else now, report=ignore)


def take(collected: Collected) -> dict[str, str]:
    return {item.name: item.kind for item in collected.removed}


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def count_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def set_age(folder: Path, at: float) -> None:
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (at, at))


def test_an_empty_store_has_nothing_to_remove_and_is_not_made(home: Path) -> None:
    assert run_gc().removed == ()
    assert not home.exists()


@pytest.mark.parametrize("with_etag", [True, False], ids=["etag", "journal"])
def test_a_download_that_nobody_goes_on_with_is_removed_with_the_bytes_it_takes(with_etag: bool) -> None:
    folder = leave_partial(with_etag=with_etag)
    taken = count_bytes(folder)
    assert 100_000 < taken < 2_000_000  # of 50 MB
    would, did = run_gc(dry_run=True), None
    assert folder.exists()
    did = run_gc()
    assert take(would) == take(did) == {"half@q4_0": "partial"}
    assert would.freed_bytes == did.freed_bytes == taken
    assert not folder.parent.parent.exists()


def test_what_became_a_download_again_since_the_look_is_left_alone(home: Path) -> None:
    """A repair takes the manifest away, and the good bytes of what is damaged lie where leftovers did."""
    model = install()
    folder = manifest.find_home(model)
    (folder / layout.PARTIAL).mkdir()
    (folder / layout.PARTIAL / "left.part").write_bytes(make_bytes("left"))
    (item,) = find_garbage(survey(home / "models"), home / "models", older_s=0, now=time.time())
    text = (folder / layout.MANIFEST).read_text()
    (folder / layout.MANIFEST).unlink()
    assert remove_garbage(item) == 0
    assert (folder / layout.PARTIAL / "left.part").exists()
    (folder / layout.MANIFEST).write_text(text)
    assert remove_garbage(item) == item.size_bytes
    assert not (folder / layout.PARTIAL).exists()


def test_a_download_at_work_is_left_alone() -> None:
    folder = leave_partial()
    before = list_files(folder)
    with hold(layout.find_lock(folder), "half", ignore):
        for dry_run in (True, False):
            collected = run_gc(dry_run=dry_run)
            assert (collected.removed, [item.name for item in collected.busy]) == ((), ["half@q4_0"])
    assert list_files(folder) == before
    assert run_gc().freed_bytes > 0


def test_superseded_revisions_go_and_what_the_name_gives_stays() -> None:
    old = install(commit="a")
    new = install(commit="b", created="2026-11-25T00:00:00+00:00")
    other = install("other", commit="a")
    taken = count_bytes(Path(old.root).parent)
    collected = run_gc()
    assert take(collected) == {f"tiny@q4_0, revision {'a' * 12}": "revision"}
    assert collected.freed_bytes == taken
    assert manifest.find_own() == (other, new)
    assert verify(new) == verify(other) == ()


def test_a_revision_stays_while_the_one_that_replaced_it_is_damaged() -> None:
    old = install(commit="a")
    new = install(commit="b", created="2026-11-25T00:00:00+00:00")
    (Path(new.root) / "model.gguf").unlink()
    assert run_gc().removed == ()
    assert verify(old) == ()


def test_a_revision_stays_as_far_as_an_import_has_its_files_from_it() -> None:
    old = install(commit="a")
    install(commit="b", created="2026-11-25T00:00:00+00:00")
    file = Path(old.root) / "model.gguf"
    mine = import_file(file, "mine", file.read_bytes())
    collected = run_gc()
    assert take(collected) == {f"tiny@q4_0, revision {'a' * 12}": "revision"}
    assert list_files(Path(old.root)) == {"model.gguf"}
    assert verify(mine) == ()
    assert run_gc().removed == ()  # a folder without a manifest, but needed
    removal.remove(mine)
    assert run_gc().freed_bytes > 200_000


def test_the_empty_folders_of_a_removal_that_was_killed_go_once_nobody_can_be_making_them(home: Path) -> None:
    folder = manifest.find_home(install())
    removal.remove(*manifest.find_own())
    assert not folder.exists()
    (folder / layout.FILES).mkdir(parents=True)
    (folder / layout.TRAILS).mkdir()
    assert run_gc().removed == ()
    set_age(home / "models", time.time() - DAY_S)
    assert take(run_gc()) == {"tiny@q4_0": "leftover"}
    assert not folder.parent.parent.exists()


def test_what_is_not_ours_is_reported_and_stays() -> None:
    model = install()
    models = paths.models_dir()
    (models / "notes.txt").write_text("mine")
    (models / "my own" / "x").mkdir(parents=True)
    (models / "my own" / "x" / "model.gguf").write_bytes(b"x")
    (models / "org--repo" / "readme").write_text("mine")
    folder = leave_partial()
    (folder / "thoughts.md").write_text("mine")
    (Path(model.root).parent / "note").write_text("belongs to a model, whatever it is")
    collected = run_gc()
    kept = {models / "notes.txt", models / "my own", models / "org--repo" / "readme", folder / "thoughts.md"}
    assert set(collected.unknown) == kept
    assert all(path.exists() for path in kept)
    assert list_files(folder) == {"thoughts.md"}
    assert run_gc().removed == ()
    assert manifest.find_own() == (model,)


def test_a_model_of_a_newer_version_is_not_damaged_and_never_removed() -> None:
    model = install()
    path = manifest.find_manifest(model)
    path.write_text(json.dumps({"schema": "lf.manifest/3", "lf_version": "9.1", "files": "elsewhere"}))
    (path.parent / layout.PARTIAL).mkdir()
    (path.parent / layout.PARTIAL / "x.part").write_bytes(b"x")
    before = list_files(path.parent)
    (error,) = manifest.find_damaged()
    assert isinstance(error, manifest.NewerManifestError)
    assert error.message == "A model was installed by lf 9.1, which this one cannot read (lf.manifest/3)"
    collected = run_gc()
    assert (collected.removed, collected.problems[0].message) == ((), error.message)
    for use in (lambda: manifest.write(model), lambda: removal.remove(model), lambda: manifest.find("tiny")):
        with pytest.raises(manifest.NewerManifestError):
            use()
    assert list_files(path.parent) == before


def test_a_damaged_manifest_and_its_files_stay() -> None:
    model = install()
    manifest.find_manifest(model).write_text("{")
    before = list_files(paths.models_dir())
    collected = run_gc()
    assert (collected.removed, len(collected.problems)) == ((), 1)
    assert list_files(paths.models_dir()) == before


@pytest.mark.parametrize(
    ("age_s", "goes"),
    [(31 * DAY_S, True), (29 * DAY_S, False), (0.0, False), (-400 * DAY_S, False)],
    ids=["old", "recent", "now", "in the future"],
)
def test_what_was_touched_lately_is_spared(age_s: float, goes: bool) -> None:
    now = time.time()
    folder = leave_partial()
    set_age(folder, now - age_s)
    collected = run_gc(older_s=30 * DAY_S, now=now)
    assert (bool(collected.removed), folder.exists()) == (goes, not goes)


def test_one_file_touched_lately_spares_the_whole_folder() -> None:
    now = time.time()
    folder = leave_partial()
    set_age(folder, now - 90 * DAY_S)
    (part,) = folder.glob("*/*.part")
    os.utime(part, (now, now))
    assert run_gc(older_s=30 * DAY_S, now=now).removed == ()


def test_a_clock_set_back_by_years_removes_nothing_that_is_recent() -> None:
    folder = leave_partial()
    assert run_gc(older_s=DAY_S, now=time.time() - 2000 * DAY_S).removed == ()
    assert folder.exists()


def test_temporary_files_go_when_nobody_can_be_writing_them(home: Path) -> None:
    model = install()
    now = time.time()
    left = [Path(model.root).parent / "manifest.json.1.tmp", home / "licenses.json.1.tmp"]
    for path in left:
        path.write_text("{")
    assert run_gc(now=now).removed == ()
    for path in left:
        os.utime(path, (now - 7200, now - 7200))
    assert set(take(run_gc(now=now))) == {"manifest.json.1.tmp", "licenses.json.1.tmp"}
    assert not any(path.exists() for path in left)
    assert verify(model) == ()


def test_a_finished_model_loses_only_what_its_download_left() -> None:
    model = install()
    partial = Path(model.root).parent / layout.PARTIAL
    partial.mkdir()
    (partial / "x.part").write_bytes(bytes(9000))
    assert take(run_gc()) == {"tiny@q4_0": "leftover"}
    assert not partial.exists()
    assert verify(model) == ()


def test_a_workplace_goes_unless_its_process_is_alive() -> None:
    install()
    models = paths.models_dir()
    (models / ".bundles" / "x").mkdir(parents=True)
    (models / ".bundles" / "x" / "model.gguf").write_bytes(bytes(9000))
    (models / "revisions.json").write_text("{}")
    with hold(models / layout.LOCKS / "bundles.lock", "bundle", ignore):
        assert [item.name for item in run_gc().busy] == ["bundles"]
    assert take(run_gc()) == {"bundles": "leftover"}
    assert not (models / ".bundles").exists()
    assert run_gc().unknown == ()
    assert (models / "revisions.json").exists()


def test_runtimes_of_other_versions_and_interrupted_ones_go(home: Path) -> None:
    row = RUNTIMES[0]
    keep = home / "runtimes" / f"{row.name}-{row.version}"
    unknown = home / "runtimes" / "no-such-engine-1.0"
    old = home / "runtimes" / f"{row.name}-0.0.1"
    broken = home / "runtimes" / f".{row.name}-{row.version}.abcdef"
    for folder in (keep, unknown, old, broken):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(5000))
    with hold(home / "runtimes" / f".{row.name}.lock", row.name, ignore):
        assert run_gc().removed == ()
    collected = run_gc()
    assert {item.path for item in collected.removed} == {old, broken}
    assert collected.freed_bytes == 2 * 8192
    assert {path.name for path in (home / "runtimes").iterdir() if path.is_dir()} == {keep.name, unknown.name}


def test_usage_counts_the_blocks_on_the_disk_and_every_file_once(home: Path) -> None:
    model = install()
    os.link(Path(model.root) / "model.gguf", Path(model.root) / "again.gguf")
    leave_partial()
    (home / "cache").mkdir()
    (home / "cache" / "x").write_bytes(bytes(5000))
    usage = measure_usage(time.time())
    done = subprocess.run(
        ["/usr/bin/du", "-s", "--block-size=1", str(home)], capture_output=True, text=True, check=True
    )
    folders = sum(path.stat().st_blocks * 512 for path in (home, *home.rglob("*")) if path.is_dir())
    locks = sum(path.stat().st_blocks * 512 for path in home.rglob("*.lock"))
    assert usage.total_bytes == int(done.stdout.split()[0]) - folders - locks
    assert (usage.kinds["model"].number, usage.kinds["partial"].number) == (1, 1)
    assert usage.garbage_bytes == usage.kinds["partial"].size_bytes
    assert usage.duplicates == ()


def test_the_same_bytes_twice_are_seen_and_two_names_of_one_file_are_not(tmp_path: Path) -> None:
    data = make_bytes("large", 1_200_000)
    one = install("one", files={"a.gguf": data})
    install("two", files={"b.gguf": data})
    import_file(Path(one.root) / "a.gguf", "same", data)
    (duplicate,) = measure_usage(time.time()).duplicates
    assert [copy.owner for copy in duplicate.copies] in (["one@q4_0", "two@q4_0"], ["same", "two@q4_0"])
    assert duplicate.wasted_bytes == 1_200_000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_removal_killed_at_any_step_leaves_a_whole_model_or_none() -> None:
    install("stays", commit="a")
    chance = random.Random(5)  # noqa: S311 (the same rounds in every run)
    command = [sys.executable, "-m", "tests.contract.store.store_child", "remove", "goes"]
    install("goes")
    steps = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    gone = 0
    for _ in range(ROUNDS):
        install("goes")
        killed = subprocess.run([*command, str(chance.randrange(steps // 2, steps - 1))], cwd=ROOT, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        for model in manifest.find_own():
            assert verify(model) == ()
        gone += len(manifest.find_own()) == 1
        for model in manifest.find_own():
            if model.name == "goes":
                removal.remove(model)
        run_gc()
        left = {path for path in list_files(paths.models_dir()) if "goes" in path}
        assert left == set()
    assert 0 < gone < ROUNDS


def share(monkeypatch: pytest.MonkeyPatch, home: Path, *roots: Path) -> None:
    monkeypatch.setenv("LF_HOME", str(home))
    monkeypatch.setenv("LF_SHARED_STORES", os.pathsep.join(map(str, roots)))


@pytest.mark.parametrize("inner", ["", "models"])
def test_models_of_a_shared_store_count_as_installed_and_nothing_there_is_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    model = install()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    share(monkeypatch, tmp_path / "me", home / inner, tmp_path / "nothing")
    (found,) = manifest.find_all()
    assert found == model._replace(shared=str(home / "models"))
    assert manifest.find("tiny") == found
    assert manifest.find_own() == ()
    assert verify(found) == ()
    with pytest.raises(StoreError, match="is in a shared store") as caught:
        removal.remove(found)
    assert caught.value.detail == str(home / "models")
    assert run_gc().removed == ()
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    problems = [store.root.problem for store in find_location().shared]
    assert problems == [None, "there is no such folder"]
    assert [len(store.models) for store in find_location().shared] == [1, 0]


def test_ones_own_models_come_first_and_only_they_are_removed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = install(commit="b", created="2026-11-25T00:00:00+00:00")
    share(monkeypatch, tmp_path / "me", home)
    own = install(commit="a")
    assert manifest.find("tiny") == own  # though theirs is newer
    assert manifest.find_all() == (own,)
    assert run_gc().removed == ()  # a shared revision supersedes nothing
    removal.remove(own)
    assert manifest.find("tiny") == theirs._replace(shared=str(home / "models"))


def test_a_shared_store_that_was_moved_is_followed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localfirst.store.upkeep import move

    install()
    move.move(tmp_path / "moved", report=ignore)
    share(monkeypatch, tmp_path / "me", home)
    assert [model.shared for model in manifest.find_all()] == [str(tmp_path / "moved")]


@pytest.fixture
def read_only(home: Path) -> Iterator[Path]:
    """The home with a model in it, then mounted so that nobody writes it: file modes do not stop root."""
    install()
    mounted = subprocess.run(["/bin/mount", "--bind", str(home), str(home)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount: {mounted.stderr.decode().strip()}")
    subprocess.run(["/bin/mount", "-o", "remount,bind,ro", str(home)], check=True)
    yield home
    subprocess.run(["/bin/umount", str(home)], check=True)


def test_a_store_that_cannot_be_written_can_be_read(read_only: Path) -> None:
    (model,) = manifest.find_all()
    assert verify(model) == ()
    assert measure_usage(time.time()).kinds["model"].number == 1
    assert not find_location().writable
    assert run_gc(dry_run=True).removed == ()
    for use in (lambda: removal.remove(model), lambda: manifest.write(model)):
        with pytest.raises(StoreError, match="cannot be written") as caught:
            use()
        assert (caught.value.detail or "").endswith(": Read-only file system")
    assert manifest.find_all() == (model,)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(bytes(4096))


def test_on_a_full_disk_removing_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("LF_HOME", str(disk))
        model = install()
        leave_partial()
        fill(disk)
        assert run_gc().freed_bytes > 100_000
        fill(disk)
        assert removal.remove(model).freed_bytes > 200_000
        assert manifest.find_all() == ()
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)

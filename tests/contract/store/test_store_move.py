"""The store moved to another folder: nothing is lost, whatever happens meanwhile."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.store.store_models import import_file, install, leave_partial, make_bytes
from tests.fixtures.hub import make_model, sha256

from localfirst import paths
from localfirst.errors import DiskFullError, IntegrityError, StoreError, UsageError
from localfirst.store import layout, manifest, pointer, removal
from localfirst.store.bundles.place import find_root, place
from localfirst.store.claim import claim, claim_record
from localfirst.store.lock import hold, try_hold
from localfirst.store.progress import ignore
from localfirst.store.upkeep import move
from localfirst.store.verify import verify
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.hub import Hub

ROOT = Path(__file__).parents[3]
ROUNDS = 20


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, where files cannot have a second name."""
    memory = Path("/dev/shm")  # noqa: S108 (the one other file system that most Linux machines let everybody write)
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def run_child(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.contract.store.store_child", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def check_models(names: set[str]) -> None:
    models = manifest.find_own()
    assert {model.name for model in models} == names
    for model in models:
        assert verify(model) == ()


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_store_that_was_never_moved_is_in_the_data_folder(home: Path) -> None:
    assert paths.models_dir() == home / "models"
    assert not home.exists()


def test_everything_is_moved_and_remembered_and_the_old_place_is_gone(home: Path, tmp_path: Path) -> None:
    install("a")
    install("b")
    half = leave_partial()
    (half / "link").symlink_to("nowhere")
    before = list_files(half)
    target = tmp_path / "disk" / "models"
    reports: list[Progress] = []
    moved = move.move(target, report=reports.append)
    assert reports[-1].done == reports[-1].total
    assert moved == (home / "models", target, ())
    assert paths.models_dir() == target
    check_models({"a", "b"})
    assert list_files(target / half.relative_to(home / "models")) == before
    assert not (home / "models").exists()
    assert json.loads(paths.store_file().read_text()) == {"schema": "lf.store/1", "models": str(target)}


def test_on_one_file_system_no_byte_is_copied(tmp_path: Path) -> None:
    model = install()
    inode = (Path(model.root) / "model.gguf").stat().st_ino
    move.move(tmp_path / "new", report=ignore)
    (model,) = manifest.find_own()
    status = (Path(model.root) / "model.gguf").stat()
    assert (status.st_ino, status.st_nlink) == (inode, 1)


def test_another_disk_gets_verified_copies(home: Path, other_disk: Path) -> None:
    install("a")
    half = leave_partial()
    move.move(other_disk / "models", report=ignore)
    check_models({"a"})
    (part,) = (other_disk / "models").glob("*/*/*/.partial/*.part")
    assert part.stat().st_size == 50_000_000
    assert part.stat().st_blocks * 512 < 2_000_000  # a hole stays one
    assert part.read_bytes().startswith(make_bytes("half", 100_000))
    assert not (half / layout.PARTIAL).exists()
    assert not (home / "models").exists()


def test_moving_back_leaves_no_note(home: Path, tmp_path: Path) -> None:
    install()
    move.move(tmp_path / "new", report=ignore)
    move.move(home / "models", report=ignore)
    assert paths.models_dir() == home / "models"
    assert not paths.store_file().exists()
    assert not (tmp_path / "new").exists()
    check_models({"tiny"})


def test_moving_to_where_it_is_does_nothing(home: Path) -> None:
    install()
    assert move.move(home / "models", report=ignore).source is None
    check_models({"tiny"})


def test_a_damaged_file_is_found_out_before_anything_is_moved(home: Path, other_disk: Path) -> None:
    model = install()
    (Path(model.root) / "model.gguf").write_bytes(make_bytes("damage"))
    with pytest.raises(IntegrityError, match=r"damaged: model\.gguf"):
        move.move(other_disk / "models", report=ignore)
    assert paths.models_dir() == home / "models"
    assert manifest.find_own() == (model,)
    (Path(model.root) / "model.gguf").write_bytes(make_bytes(("tiny", "q4_0", "c")))
    move.move(other_disk / "models", report=ignore)
    check_models({"tiny"})


def test_an_import_from_within_the_store_is_still_found(home: Path, tmp_path: Path) -> None:
    model = install()
    data = (Path(model.root) / "model.gguf").read_bytes()
    mine = manifest.find_manifest(import_file(Path(model.root) / "model.gguf", "mine", data))
    mine.write_text(json.dumps(json.loads(mine.read_text()) | {"a later version's": "key"}))
    outside = tmp_path / "x.gguf"
    outside.write_bytes(data)
    import_file(outside, "other", data)
    move.move(tmp_path / "new", report=ignore)
    check_models({"tiny", "mine", "other"})
    roots = {model.name: Path(model.root) for model in manifest.find_own()}
    assert roots["mine"].is_relative_to(tmp_path / "new")
    assert roots["other"] == tmp_path
    moved = tmp_path / "new" / mine.relative_to(home / "models")
    assert json.loads(moved.read_text())["a later version's"] == "key"
    assert outside.exists()


def test_files_of_others_stay(home: Path, tmp_path: Path) -> None:
    install()
    (home / "models" / "notes.txt").write_text("mine")
    moved = move.move(tmp_path / "new", report=ignore)
    assert moved.left == (home / "models" / "notes.txt",)
    assert (home / "models" / "notes.txt").read_text() == "mine"
    check_models({"tiny"})


def test_a_manifest_of_a_newer_version_moves_as_it_is(tmp_path: Path) -> None:
    model = install()
    path = manifest.find_manifest(model)
    text = json.dumps({"schema": "lf.manifest/9", "unheard": "of"})
    path.write_text(text)
    where = path.relative_to(paths.models_dir())
    move.move(tmp_path / "new", report=ignore)
    assert (tmp_path / "new" / where).read_text() == text
    assert (tmp_path / "new" / where).with_name("files").is_dir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("full", "full is not empty"), ("file", "is not a folder"), ("home/models/in", "inside the store")],
)
def test_a_folder_that_will_not_do_is_refused_before_anything_is_done(tmp_path: Path, name: str, reason: str) -> None:
    install()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    before = list_files(tmp_path)
    with pytest.raises(UsageError, match=reason):
        move.move(tmp_path / name, report=ignore)
    assert set(list_files(tmp_path)) - set(before) == {"home/.store.lock"}
    check_models({"tiny"})


def test_a_disk_that_is_too_small_is_refused_before_anything_is_done(home: Path, tmp_path: Path) -> None:
    install()
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(DiskFullError, match="Not enough space"):
            move.move(disk / "models", report=ignore)
        assert list(disk.iterdir()) == []
        assert paths.models_dir() == home / "models"
        check_models({"tiny"})
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


def test_a_disk_that_is_not_there_is_no_empty_store(tmp_path: Path) -> None:
    model = install()
    move.move(tmp_path / "new", report=ignore)
    (tmp_path / "new").rename(tmp_path / "unplugged")
    (tmp_path / "new").mkdir()
    for use in (manifest.find_all, lambda: manifest.write(model), lambda: removal.remove(model)):
        with pytest.raises(StoreError, match="is not there") as caught:
            use()
        assert caught.value.detail == str(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "new").rmdir()
    (tmp_path / "unplugged").rename(tmp_path / "new")
    check_models({"tiny"})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": 5}', '{"models": null}'])
def test_a_damaged_note_is_an_error_that_says_where(text: str) -> None:
    install()
    paths.store_file().write_text(text)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        manifest.find_all()
    assert str(paths.store_file()) in str(caught.value.hint)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("where", ["same disk", "other disk"])
def test_a_move_killed_at_any_step_loses_nothing_and_is_ended_by_the_next(
    home: Path, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    other = tmp_path if where == "same disk" else request.getfixturevalue("other_disk")
    names = {"a", "b", "mine"}
    install("a")
    model = install("b")
    import_file(Path(model.root) / "model.gguf", "mine", (Path(model.root) / "model.gguf").read_bytes())
    leave_partial()
    places = [tmp_path / "one", other / "two"]
    done = run_child("move", str(places[1]))  # the same steps as those that are killed
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    chance = random.Random(7)  # noqa: S311 (the same rounds in every run)
    at_switch = 0
    for number in range(1, ROUNDS + 1):
        before, target = places[number % 2], places[(number + 1) % 2]
        killed = run_child("move", str(target), str(chance.randrange(1, steps - 20)))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        at_switch += paths.models_dir() == target
        check_models(names)
        again = run_child("move", str(target))
        assert again.returncode == 0, again.stderr
        assert paths.models_dir() == target
        assert pointer.read_note() == pointer.Note(target)
        assert not before.exists()
        check_models(names)
        assert len(list(target.glob("*/*/*/.partial/*.part"))) == 1
    assert 0 < at_switch < ROUNDS


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_model_removed_after_the_switch_of_a_killed_move_stays_removed(home: Path, tmp_path: Path) -> None:
    install("a")
    install("b")
    move.move(tmp_path / "one", report=ignore)
    assert run_child("move", str(tmp_path / "two"), "switch").returncode == -signal.SIGKILL
    assert paths.models_dir() == tmp_path / "two"
    assert len(list((tmp_path / "one").glob("*/*/*/manifest.json"))) == 2
    removal.remove(next(model for model in manifest.find_own() if model.name == "a"))
    move.finish(report=ignore)
    check_models({"b"})
    assert not (tmp_path / "one").exists()


def test_copies_of_a_move_that_was_given_up_go(home: Path, tmp_path: Path) -> None:
    install("a")
    steps = int(run_child("move", str(tmp_path / "one")).stdout)
    for kill_at in range(steps - 20, 0, -5):
        move.move(home / "models", report=ignore)
        run_child("move", str(tmp_path / "one"), str(kill_at))
        if pointer.read_note().target == tmp_path / "one":
            break
    assert list((tmp_path / "one").glob("*/*/*/manifest.json"))
    move.finish(report=ignore)
    assert not (tmp_path / "one").exists()
    assert pointer.read_note() == pointer.Note(home / "models")
    check_models({"a"})


def test_a_pull_that_goes_on_meanwhile_ends_in_the_new_place(hub: Hub, tmp_path: Path) -> None:
    data = make_bytes("pulled", 8_000_000)
    hub.add_repo("org/model", {"model.gguf": data})
    hub.rate_bytes_per_s = 4_000_000
    install("a")
    old = paths.models_dir()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.store.pull_child"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    while json.loads(child.stdout.readline()).get("done", 0) < 2_000_000:
        pass
    notices = []
    moved = move.move(tmp_path / "new", report=lambda step: notices.append(step.detail.get("notice")))
    assert json.loads(child.communicate(timeout=60)[0].splitlines()[-1]) == {"sha256": sha256(data)}
    assert moved.left == ()
    assert any(notice and str(child.pid) in notice for notice in notices)
    assert not old.exists()
    check_models({"a", make_model("org/model", "model.gguf")[0].name})
    assert hub.bytes_sent == len(data)


def test_who_waits_for_a_lock_looks_where_the_store_is_then(home: Path, tmp_path: Path) -> None:
    """The lock of the old place is held while the store moves; whoever waited for it gets the new folder."""
    install("a")
    find = lambda: layout.find_folder("late", "q4_0", "org/repo", "f" * 40)  # noqa: E731
    old = find()
    got: list[Path] = []
    waiting = threading.Event()

    def wait() -> None:
        with claim(find, "late", lambda _: waiting.set()) as (folder, _):
            got.append(folder)

    threads = [threading.Thread(target=wait)]
    with hold(layout.find_lock(old), "late", ignore):
        threads[0].start()
        assert waiting.wait(20)
        threads.append(threading.Thread(target=lambda: move.move(tmp_path / "new", report=ignore)))
        threads[1].start()
        while paths.models_dir() != tmp_path / "new":
            time.sleep(0.01)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert got == [tmp_path / "new" / old.relative_to(home / "models")]
    assert not (home / "models" / "org--repo").exists()
    check_models({"a"})


def test_who_does_not_look_again_is_told_to(home: Path, tmp_path: Path) -> None:
    model = install("a")
    late = model._replace(name="late", root=str(find_root("late", model.variant, model.repo, model.revision)))
    move.move(tmp_path / "new", report=ignore)
    with pytest.raises(StoreError, match="was moved to another place meanwhile"):
        place(late, tmp_path, ignore)
    assert not (home / "models").exists()


def test_records_of_the_store_move_with_it(home: Path, tmp_path: Path) -> None:
    install("a")
    for name in ("revisions.json", "revisions.damaged-1.json"):
        (home / "models" / name).write_text(f'{{"of": "{name}"}}')
    (home / "models" / ".bundles").mkdir()
    (home / "models" / ".bundles" / "x").write_bytes(bytes(1000))
    assert move.move(tmp_path / "new", report=ignore).left == ()
    for name in ("revisions.json", "revisions.damaged-1.json"):
        assert (tmp_path / "new" / name).read_text() == f'{{"of": "{name}"}}'
    assert not (home / "models").exists()
    with claim_record("revisions") as models:
        assert models == tmp_path / "new"


def test_two_moves_at_once_come_one_after_the_other(home: Path, tmp_path: Path) -> None:
    install("a")
    threads = [
        threading.Thread(target=lambda name=name: move.move(tmp_path / name, report=ignore)) for name in ("x", "y")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sum((tmp_path / name).exists() for name in ("x", "y")) == 1
    check_models({"a"})


def test_a_lock_that_is_held_is_not_taken(tmp_path: Path) -> None:
    with hold(tmp_path / "x.lock", "x", ignore), try_hold(tmp_path / "x.lock") as free:
        assert not free
    with try_hold(tmp_path / "x.lock") as free:
        assert free


def test_a_store_that_may_be_in_use_is_not_moved_into(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("there", commit="a")
    move.move(tmp_path / "disk", report=ignore)
    monkeypatch.setenv("LF_HOME", str(tmp_path / "another"))
    install("here", commit="b")
    with pytest.raises(UsageError, match="another store, which may be in use"):
        move.move(tmp_path / "disk", report=ignore)
    check_models({"here"})


def test_the_same_folder_by_another_mount_is_where_the_store_is(home: Path, tmp_path: Path) -> None:
    install("a", commit="a")
    alias = tmp_path / "alias"
    alias.mkdir()
    mounted = subprocess.run(["/bin/mount", "--bind", str(home / "models"), str(alias)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a folder twice: {mounted.stderr.decode().strip()}")
    try:
        assert move.move(alias, report=ignore).source is None
        with pytest.raises(UsageError, match="inside the store itself"):
            move.move(alias / "deeper", report=ignore)
        check_models({"a"})
    finally:
        subprocess.run(["/bin/umount", str(alias)], check=True)


def test_what_was_removed_after_a_killed_move_does_not_come_back(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("a", commit="a")
    install("b", commit="b")
    real = move.layout.find_records

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(move.layout, "find_records", stop)
    with pytest.raises(KeyboardInterrupt):
        move.move(tmp_path / "disk", report=ignore)
    monkeypatch.setattr(move.layout, "find_records", real)
    (model,) = (one for one in manifest.find_all() if one.name == "a")
    removal.remove(model)
    move.move(tmp_path / "disk", report=ignore)
    check_models({"b"})

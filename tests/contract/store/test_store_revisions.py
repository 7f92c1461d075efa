"""Which revision is used, on a real disk: kept, found again, damaged, changed by several, and never half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.hub import Hub, make_model

from localfirst import paths
from localfirst.errors import StoreError, UsageError
from localfirst.store import manifest, pull, removal, revisions
from localfirst.store.compare import find_changes, hash_git
from localfirst.store.net.hub import read_listing
from localfirst.types import InstalledModel

ROOT = Path(__file__).parents[3]
OLD, NEW = b"old weights" * 100, b"new weights" * 100


def fetch(hub: Hub, weights: bytes, name: str = "tiny", **files: bytes) -> InstalledModel:
    """Add a commit to the hub, and have it."""
    hub.add_repo("org/model", {"model.gguf": weights, "config.json": b"{}", **files})
    model, variant = make_model("org/model", "model.gguf", "config.json", name=name)
    return pull.fetch(model, variant, listing=read_listing("org/model", None))


def test_a_revision_that_is_fetched_is_the_current_one_and_the_old_one_stays(hub: Hub) -> None:
    old = fetch(hub, OLD)
    assert not revisions.find_file().exists(), "one revision needs no choice"
    new = fetch(hub, NEW)
    assert manifest.find("tiny") == new
    assert manifest.find("tiny", "q4_0", old.revision) == old
    assert Path(old.root, "model.gguf").read_bytes() == OLD
    assert revisions.keep_current(manifest.find_all()) == (new,)


def test_without_a_listing_a_pull_fetches_nothing_newer(hub: Hub) -> None:
    old = fetch(hub, OLD)
    hub.add_repo("org/model", {"model.gguf": NEW, "config.json": b"{}"})
    requests = len(hub.requests)
    assert pull.pull(*make_model("org/model", "model.gguf", "config.json")) == old
    assert len(hub.requests) == requests


def test_a_damaged_revision_is_mended_as_it_was(hub: Hub) -> None:
    old = fetch(hub, OLD)
    hub.add_repo("org/model", {"model.gguf": NEW, "config.json": b"{}"})
    Path(old.root, "model.gguf").unlink()
    mended = pull.pull(*make_model("org/model", "model.gguf", "config.json"))
    assert (mended.revision, mended.files) == (old.revision, old.files)
    assert Path(mended.root, "model.gguf").read_bytes() == OLD


def test_going_back_is_remembered(hub: Hub) -> None:
    old, new = fetch(hub, OLD), fetch(hub, NEW)
    before, after = revisions.roll_back(new, manifest.find_all())
    assert (before.current, after.current, manifest.find("tiny")) == (new, old, old)
    revisions.make_current(new, manifest.find_all())
    assert manifest.find("tiny") == new


def test_a_pin_holds_and_a_fetched_revision_does_not_move_it(hub: Hub) -> None:
    old = fetch(hub, OLD)
    revisions.set_pin(old, manifest.find_all(), pinned=True)
    fetch(hub, NEW)
    assert manifest.find("tiny") == old
    with pytest.raises(UsageError, match="is pinned to revision"):
        revisions.roll_back(old, manifest.find_all())


def test_a_choice_whose_revision_was_deleted_is_ignored(hub: Hub) -> None:
    old, new = fetch(hub, OLD), fetch(hub, NEW)
    revisions.roll_back(new, manifest.find_all())
    removal.remove(old)
    assert manifest.find("tiny") == new


def test_a_damaged_record_is_said_and_set_aside_and_the_newest_counts(hub: Hub) -> None:
    old, new = fetch(hub, OLD), fetch(hub, NEW)
    os.utime(manifest.find_manifest(old))
    revisions.roll_back(new, manifest.find_all())
    manifest.write(new._replace(created="2999-01-01T00:00:00+00:00"))
    new = new._replace(created="2999-01-01T00:00:00+00:00")
    assert revisions.find_damage() is None
    revisions.find_file().write_text("{broken")
    assert manifest.find("tiny") == new
    damage = revisions.find_damage()
    assert damage is not None
    assert str(revisions.find_file()) in (damage.detail or "")
    revisions.roll_back(new, manifest.find_all())
    assert manifest.find("tiny") == old
    assert (paths.models_dir() / "revisions.damaged-1.json").read_text() == "{broken"
    assert revisions.find_damage() is None


def test_a_removed_build_is_forgotten(hub: Hub) -> None:
    old, new = fetch(hub, OLD), fetch(hub, NEW)
    revisions.set_pin(new, manifest.find_all(), pinned=True)
    for model in (old, new):
        removal.remove(model)
    revisions.forget(new)
    assert json.loads(revisions.find_file().read_text())["models"] == {}
    revisions.forget(new)


def test_a_store_that_cannot_be_written_is_read_and_says_so_when_it_is_to_change(hub: Hub) -> None:
    old, new = fetch(hub, OLD), fetch(hub, NEW)
    revisions.roll_back(new, manifest.find_all())
    home = Path(os.environ["LF_HOME"])
    mounted = subprocess.run(["/bin/mount", "--bind", "-o", "ro", str(home), str(home)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount: {mounted.stderr.decode().strip()}")
    try:
        subprocess.run(["/bin/mount", "-o", "remount,bind,ro", str(home)], check=True)
        assert manifest.find("tiny") == old
        revisions.make_current(old, manifest.find_all())  # is it already
        with pytest.raises(StoreError):
            revisions.make_current(new, manifest.find_all())
    finally:
        subprocess.run(["/bin/umount", str(home)], check=True)
    assert manifest.find("tiny") == old


def test_processes_that_choose_at_once_lose_no_choice(hub: Hub) -> None:
    names = [f"tiny-{number}" for number in range(12)]
    for name in names:
        fetch(hub, OLD, name)
    script = (
        "import sys; from localfirst.store import manifest, revisions\n"
        "for name in sys.argv[1:]:\n"
        "    revisions.set_pin(manifest.find(name), manifest.find_all(), pinned=True)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, *names[start::4]]) for start in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    histories = revisions.find_histories(manifest.find_all())
    assert {history.current.name for history in histories if history.pinned} == set(names)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_revision_whole(hub: Hub, tmp_path: Path) -> None:
    hub.add_repo("org/model", {"model.gguf": OLD, "config.json": b"{}"})
    hub.add_repo("org/model", {"model.gguf": NEW, "config.json": b'{"new": 1}'})
    commits = list(hub.repos["org/model"].commits)
    command = [sys.executable, "-m", "tests.contract.store.revision_child", str(tmp_path), *commits]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for job, counts in json.loads(done.stdout).items():
        assert counts["bad"] == [], job
        assert counts["old"] > 0, job
        assert counts["new"] > 0, job


def test_files_are_compared_by_whatever_digest_the_hub_gives(hub: Hub) -> None:
    model = fetch(hub, OLD)
    _, variant = make_model("org/model", "model.gguf", "config.json")

    def find(**files: bytes) -> list[str] | None:
        hub.add_repo("org/model", files)
        changes = find_changes(variant, read_listing("org/model", None), model)
        return None if changes is None else [file.path for file in changes]

    same = {"model.gguf": OLD, "config.json": b"{}"}
    assert find(**same, **{"README.md": b"new"}) is None
    assert find(**same | {"model.gguf": NEW}) == ["model.gguf"]
    assert find(**same | {"config.json": b"[]"}) == ["config.json"], "of the same size, told by its git digest"
    assert hash_git(Path(model.root) / "nothing", 2) is None

"""Models on a real disk: recorded, found, verified, removed."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from tests.fixtures.hub import sha256

from localfirst import paths
from localfirst.errors import IntegrityError, ModelFileError, StoreError
from localfirst.store import layout, manifest, removal
from localfirst.store.disk import size_on_disk
from localfirst.store.lock import hold
from localfirst.store.progress import ignore
from localfirst.store.verify import FileProblem, check_quick, verify
from localfirst.types import InstalledFile, InstalledModel, Progress

COMMIT = "c" * 40
BYTES = {"f/model.onnx": b"weights" * 1000, "f/genai_config.json": b"{}"}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def install(name: str = "tiny", variant: str = "int4", **changes: object) -> InstalledModel:
    """A model with real files and a manifest."""
    root = layout.find_folder(name, variant, "org/repo", COMMIT) / layout.FILES
    model = InstalledModel(
        name=name,
        variant=variant,
        format="onnx",
        quantization="int4",
        host="huggingface",
        repo="org/repo",
        revision=COMMIT,
        root=str(root),
        files=tuple(InstalledFile(path, len(data), sha256(data)) for path, data in BYTES.items()),
        created="2026-11-24T00:00:00+00:00",
        title="Tiny é",
    )
    model = model._replace(**changes)
    for path, data in BYTES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    manifest.write(model)
    return model


def test_what_is_written_is_read_again() -> None:
    model = install()
    assert manifest.find_all() == (model,)
    assert manifest.find("tiny") == manifest.find("tiny", "int4") == model
    assert manifest.find("tiny", "q4_0") is None
    assert manifest.find("other") is None
    assert manifest.find_damaged() == ()


def test_an_empty_store_is_no_error_and_is_not_created(home: Path) -> None:
    assert (manifest.find_all(), manifest.find("x"), home.exists()) == ((), None, False)


def test_two_models_of_one_repository_have_their_own_folders() -> None:
    assert install("a").root != install("b").root
    assert [model.name for model in manifest.find_all()] == ["a", "b"]


def test_a_store_that_was_moved_is_still_a_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    shutil.move(home, home.with_name("moved"))
    monkeypatch.setenv("LF_HOME", str(home.with_name("moved")))
    (model,) = manifest.find_all()
    assert verify(model) == ()


def test_the_newest_of_several_revisions_is_found() -> None:
    install()
    newer = layout.find_folder("tiny", "int4", "org/repo", "d" * 40) / layout.FILES
    model = install(revision="d" * 40, root=str(newer), created="2026-11-25T00:00:00+00:00")
    assert manifest.find("tiny") == model


DAMAGE = {
    "empty": "",
    "no JSON": "{",
    "no object": "[]",
    "deeply nested": "[" * 100_000,
    "another schema": '{"schema": "lf.thing/1"}',
    "no files": {"files": []},
    "a path to the parent": {"files": [{"path": "../x", "size_bytes": 1, "sha256": "a" * 64}]},
    "a bad digest": {"files": [{"path": "x", "size_bytes": 1, "sha256": "a"}]},
    "a bad size": {"files": [{"path": "x", "size_bytes": True, "sha256": "a" * 64}]},
    "an unknown format": {"format": "pickle"},
    "a file that is no object": {"files": [1]},
    "no name": {"name": None},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_is_named_and_hides_no_other_model(damage: str | dict[str, object]) -> None:
    model, other = install(), install("other")
    path = manifest.find_manifest(model)
    text = damage if isinstance(damage, str) else json.dumps({**json.loads(path.read_text()), **damage})
    path.write_text(text)
    assert manifest.find_all() == (other,)
    (error,) = manifest.find_damaged()
    assert str(path) in (error.detail or "")
    with pytest.raises(StoreError, match="manifest is damaged"):
        manifest.find("tiny")
    assert manifest.find("unrelated") is None


def test_a_manifest_for_files_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="outside its folder"):
        manifest.write(install()._replace(root=str(tmp_path)))


UNWRITABLE = {"a file": lambda path: path.write_text("x"), "a dead link": lambda path: path.symlink_to("/proc/no")}


@pytest.mark.parametrize("make", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_store_that_cannot_be_written_is_an_error_with_the_way_out(tmp_path: Path, make: object) -> None:
    model = install()
    home = paths.data_dir()
    shutil.rmtree(home)
    make(home)  # type: ignore[operator]
    with pytest.raises(StoreError) as caught:
        manifest.write(model)
    assert caught.value.message == f"`LF_HOME` is a folder that cannot be written: {home}"
    assert caught.value.detail == f"{home} is not a folder"
    assert "set `LF_HOME` to a folder of yours" in (caught.value.hint or "")


def test_removing_frees_every_byte_and_leaves_no_folder() -> None:
    model = install()
    taken = [manifest.find_manifest(model), *(Path(model.root) / file.path for file in model.files)]
    on_disk = sum(size_on_disk(path.stat()) for path in taken)
    assert removal.remove(model) == (on_disk, 0)
    assert manifest.find_all() == ()
    assert [path.name for path in paths.models_dir().iterdir()] == [".locks"]
    assert removal.remove(model) == (0, 0)


def test_removing_spares_the_other_variants_of_a_repository() -> None:
    gone, kept = install("a"), install("b")
    removal.remove(gone)
    assert manifest.find_all() == (kept,)
    assert verify(kept) == ()


def test_removing_frees_nothing_that_an_import_needs() -> None:
    model = install()
    imported = model._replace(name="mine", host="import", keeper="you", repo=None, revision=None, files=model.files[:1])
    manifest.write(imported)
    needed = size_on_disk((Path(model.root) / model.files[0].path).stat())
    assert removal.remove(model).kept_bytes == needed
    assert manifest.find_all() == (imported,)
    assert verify(imported) == ()


def test_removing_an_import_leaves_the_users_files(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    file = InstalledFile("x.gguf", 4, sha256(b"GGUF"))
    model = install()
    mine = model._replace(
        name="mine", host="import", keeper="you", repo=None, revision=None, root=str(tmp_path), files=(file,)
    )
    manifest.write(mine)
    removal.remove(mine)
    assert (tmp_path / "x.gguf").read_bytes() == b"GGUF"
    assert manifest.find("mine") is None


def test_removing_follows_no_link_out_of_the_store(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    model = install()
    (Path(model.root) / "link").symlink_to(outside)
    removal.remove(model)
    assert (outside / "precious").read_text() == "x"
    assert manifest.find_all() == ()


def test_the_built_in_model_cannot_be_removed() -> None:
    with pytest.raises(StoreError, match="part of this program"):
        removal.remove(install()._replace(host="builtin"))


def test_verify_reads_every_byte_and_says_how_far_it_is() -> None:
    model = install()
    steps: list[Progress] = []
    assert verify(model, report=steps.append) == ()
    assert (steps[-1].done, steps[-1].total) == (model.size_bytes, model.size_bytes)


def test_each_kind_of_damage_is_found() -> None:
    model = install()
    path = Path(model.root) / "f/model.onnx"
    good = path.read_bytes()

    path.write_bytes(b"W" + good[1:])
    check_quick(model)
    (problem,) = verify(model)
    wrong = sha256(b"W" + good[1:])
    told = f"{path}\nmanifest: {sha256(good)}\nfile:     {wrong}"
    assert problem == FileProblem("f/model.onnx", "digest", told, wrong)

    path.write_bytes(good[:-1])
    (problem,) = verify(model)
    assert problem == FileProblem("f/model.onnx", "size", f"{path} has 6999 bytes, the manifest says 7000")
    path.unlink()
    assert verify(model) == (FileProblem("f/model.onnx", "missing", str(path)),)
    with pytest.raises(IntegrityError) as caught:
        check_quick(model)
    assert caught.value.detail == f"missing: {path}"
    assert caught.value.hint == "Run `lf pull tiny`; what is still good is used again."

    path.mkdir()
    (problem,) = verify(model._replace(files=(InstalledFile("f/model.onnx", path.stat().st_size, "a" * 64),)))
    assert problem.problem == "unreadable"


def test_what_an_engine_opens_is_found() -> None:
    model = install()
    assert layout.find_main(model) == Path(model.root) / "f"
    shards = tuple(InstalledFile(f"m-0000{index}-of-00002.gguf", 1, "a" * 64) for index in (2, 1))
    projector = InstalledFile("a-mmproj.gguf", 1, "a" * 64)
    gguf = model._replace(format="gguf", files=(projector, *shards))
    assert layout.find_main(gguf) == Path(model.root) / "m-00001-of-00002.gguf"
    with pytest.raises(ModelFileError):
        layout.find_main(model._replace(format="gguf"))


def test_a_lock_waits_for_another_thread_and_names_the_process(tmp_path: Path) -> None:
    path, order, notices = tmp_path / "locks/x.lock", [], []

    def wait() -> None:
        with hold(path, "x", lambda step: notices.append(step.detail["notice"])):
            order.append("second")

    with hold(path, "x", ignore):
        thread = threading.Thread(target=wait)
        thread.start()
        for _ in range(100):
            if notices:
                break
            time.sleep(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert notices == [f"waiting for process {os.getpid()}, which works on it"]

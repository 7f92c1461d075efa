from __future__ import annotations

import pytest

from localfirst.runtimes.folder import find_folders, find_leftovers, folder_of, measure, sweep
from localfirst.runtimes.table import RUNTIMES


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("LF_HOME", str(tmp_path))
    for name in (
        "onnx-cpu-0.17.0",
        "onnx-cpu-0.18.0",
        "onnx-cpu-native-1.0",
        "onnx-0.18.0",
        ".onnx-cpu-0.18.0.abc_1",
        ".onnx-cpu-0.17.0.removed",
        ".onnx-cpu-native-1.0.abc",
        "notes-7",
    ):
        (tmp_path / "runtimes" / name / "lib").mkdir(parents=True)
    (tmp_path / "runtimes" / ".onnx-cpu.lock").touch()
    (tmp_path / "runtimes" / "onnx-cpu-1.zip").touch()
    return tmp_path / "runtimes"


def test_a_runtime_lies_in_a_folder_of_its_name_and_version(base):
    row = RUNTIMES[-1]._replace(name="onnx-cpu", version="0.18.0")
    assert folder_of(row) == base / "onnx-cpu-0.18.0"


def test_a_runtimes_folders_are_those_of_all_its_versions_and_of_no_other_runtime(base):
    assert [path.name for path in find_folders("onnx-cpu")] == ["onnx-cpu-0.17.0", "onnx-cpu-0.18.0"]


def test_leftovers_are_told_from_environments_and_from_other_runtimes(base):
    assert [path.name for path in find_leftovers("onnx-cpu")] == [".onnx-cpu-0.17.0.removed", ".onnx-cpu-0.18.0.abc_1"]


def test_sweeping_deletes_leftovers_alone(base):
    before = {path.name for path in base.iterdir()}
    sweep("onnx-cpu")
    assert before - {path.name for path in base.iterdir()} == {".onnx-cpu-0.17.0.removed", ".onnx-cpu-0.18.0.abc_1"}


def test_without_a_folder_of_runtimes_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("LF_HOME", str(tmp_path / "nothing"))
    assert (find_folders("onnx-cpu"), find_leftovers("onnx-cpu")) == ((), ())


def test_a_folder_is_as_large_as_its_files_with_links_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(bytes(100_000))
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "a").write_bytes(bytes(10))
    (inside / "deep" / "b").write_bytes(bytes(20))
    (inside / "folder").symlink_to(outside, target_is_directory=True)
    (inside / "file").symlink_to(outside / "large")
    assert measure(inside) == 30 + (inside / "file").lstat().st_size

"""What is remembered of files that other tools keep, so that they need not be read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.store.store_models import make_bytes

from localfirst.store import adopt
from localfirst.store.foreign import Build
from localfirst.store.foreign.tool import ForeignFile
from localfirst.store.progress import ignore


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    path = tmp_path / "tool" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(make_bytes("adopted"))
    file = ForeignFile("lmstudio", path, path.stat().st_size, None)
    return Build("lmstudio", "org/model", "model", "gguf", "Q4_0", path.parent, (file,))


def adopt_build(build: Build, *, change: bool) -> bool:
    """Adopt a build, whose file is written to after it was read and before it is recorded; whether it is known then."""
    read = adopt.read_files(build, ignore)
    if change:
        build.files[0].path.write_bytes(make_bytes("another"))
    model = adopt.describe(build, read.files, adopt.Target("model", "q4_0", "gguf", "Q4_0"))
    adopt.record(model, (), read.stamps)
    return adopt.find_known_files(build, model) == read.files


def test_what_was_read_is_known_again(build: Build) -> None:
    assert adopt_build(build, change=False)


def test_a_file_that_changes_before_it_is_recorded_is_not_known(build: Build) -> None:
    assert not adopt_build(build, change=True)

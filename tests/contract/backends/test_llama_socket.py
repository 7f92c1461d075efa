"""Where llama.cpp's server listens: in the folder for temporary files, however long its path is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.engines import ask
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import render

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.llama_cpp import place
from localfirst.backends.registry import make_backend
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "Here I am."
LONG = "t" * 200


# `tmp_path` is asked for so that pytest makes it before the place of temporary files is another one.
@pytest.fixture(params=["t", LONG], ids=["short", "longer than a socket's path may be"])
def temporary(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, request.param)
        folder.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        yield folder


def test_it_listens_where_temporary_files_are_and_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    need_engine("xllamacpp")
    model = tmp_path / "model.gguf"
    scripted.make_gguf(model, TEXT)
    loaded = make_backend("xllamacpp").load(ModelFiles(str(model)), LoadOptions(None, 1))
    try:
        (folder,) = temporary.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / place.NAME).is_socket()
        assert ask(loaded, render("hi")).text == TEXT
    finally:
        loaded.close()
    assert list(temporary.iterdir()) == []


def test_where_no_short_path_leads_to_it_a_shorter_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LONG).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / LONG))
    monkeypatch.setattr(place, "DESCRIPTORS", "/nowhere")
    with pytest.raises(EngineError, match="too long for a socket") as caught:
        place.SocketPlace()
    assert "TMPDIR" in (caught.value.hint or "")
    assert list((tmp_path / LONG).iterdir()) == []

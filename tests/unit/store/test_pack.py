"""Llamafiles that we write: aligned, whole, the same each time; the program and the model stay as they are."""

from __future__ import annotations

import errno
import hashlib
import zipfile
from pathlib import Path

import pytest
from tests.fixtures import scripted
from tests.fixtures.servers import make_llamafile_engine

from localfirst.errors import DiskFullError, IntegrityError, LfError, ModelFileError
from localfirst.headers.extent import open_extent
from localfirst.store import pack
from localfirst.store.formats import llamafile

ARGUMENTS = ("-m", "/zip/m.gguf", "...")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return make_llamafile_engine(tmp_path / "engine")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    scripted.make_gguf(tmp_path / "m.gguf", "Hello.")
    return tmp_path / "m.gguf"


def write(engine: Path, model: Path, target: Path, sha256: str | None = None) -> pack.Packed:
    return pack.pack(engine, model, target, name="m.gguf", arguments=ARGUMENTS, sha256=sha256, report=lambda _: None)


@pytest.mark.parametrize("narrow", [2**32 - 1, 1000], ids=["32 bits", "64 bits"])
def test_a_llamafile_is_what_its_reader_and_any_unzip_expect(
    engine: Path, model: Path, tmp_path: Path, narrow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "NARROW", narrow)
    monkeypatch.setattr(llamafile, "_NARROW", narrow)
    before = engine.read_bytes(), model.read_bytes()
    packed = write(engine, model, tmp_path / "out.llamafile")
    if narrow == 2**32 - 1:
        with zipfile.ZipFile(packed.path) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["LICENSE", "m.gguf", ".args"]
            assert archive.read("m.gguf") == before[1]
            assert archive.read(".args").decode() == "-m\n/zip/m.gguf\n...\n"
    with open_extent(packed.path, "llamafile") as file:
        (member,) = (one for one in llamafile.read_members(file) if one.name == "m.gguf")
        weights = llamafile.find_data(file, member)
        assert weights._start % pack.ALIGNMENT_BYTES == 0
        assert weights.read(0, weights.size_bytes) == before[1]
    assert llamafile.find(packed.path).format == "llamafile"
    assert (engine.read_bytes(), model.read_bytes()) == before
    assert packed.path.read_bytes().startswith(before[0][:100])
    assert packed.path.stat().st_mode & 0o777 == 0o755
    assert packed.sha256 == hashlib.sha256(packed.path.read_bytes()).hexdigest()
    assert packed.model_sha256 == hashlib.sha256(before[1]).hexdigest()


def test_the_same_parts_give_the_same_bytes(engine: Path, model: Path, tmp_path: Path) -> None:
    assert write(engine, model, tmp_path / "a").sha256 == write(engine, model, tmp_path / "b").sha256


def refused(engine: Path, model: Path, tmp_path: Path, sha256: str | None = None) -> LfError:
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(LfError) as caught:
        write(engine, model, tmp_path / "out.llamafile", sha256)
    assert {path.name for path in tmp_path.iterdir()} == before
    return caught.value


def test_a_program_with_a_model_inside_is_refused(engine: Path, model: Path, tmp_path: Path) -> None:
    packed = write(engine, model, tmp_path / "first.llamafile")
    error = refused(packed.path, model, tmp_path)
    assert isinstance(error, ModelFileError)
    assert error.message == "first.llamafile has a model inside already: 'm.gguf'"


def test_a_program_without_an_archive_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    assert "no archive inside" in refused(tmp_path / "plain", model, tmp_path).message


def test_what_is_no_model_is_refused(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"<!DOCTYPE html>" * 100)
    assert isinstance(refused(engine, tmp_path / "m.gguf", tmp_path), ModelFileError)


def test_a_model_that_changed_is_refused(engine: Path, model: Path, tmp_path: Path) -> None:
    assert isinstance(refused(engine, model, tmp_path, "0" * 64), IntegrityError)


def test_a_full_disk_leaves_nothing(engine: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pack.os, "fsync", fail)
    assert isinstance(refused(engine, model, tmp_path), DiskFullError)

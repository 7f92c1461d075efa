"""Which server programs are here: by the environment, by the path, or because a model is its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.find import this_system, variable_of
from localfirst.runtimes.programs import PROGRAMS, find_programs
from localfirst.types import Runtime


def make(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def find(name: str, *system: str) -> Runtime:
    return next(one for one in find_programs(*(system or this_system())) if one.name == name)


@pytest.fixture(autouse=True)
def _bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in PROGRAMS:
        monkeypatch.delenv(variable_of(program.name), raising=False)


def test_what_is_nowhere_says_how_to_learn_what_it_takes() -> None:
    found = find("llama-server")
    assert (found.state, found.program, found.python) == ("unavailable", None, None)
    assert found.reason == "no `llama-server` on the path; `lf runtime install llama-server` says what it takes"


def test_the_path_and_before_it_the_environment_name_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path, named = make(tmp_path / "llama-server"), make(tmp_path / "mine")
    found = find("llama-server")
    assert (found.state, found.program, found.python) == ("external", str(on_path), sys.executable)
    monkeypatch.setenv("LF_RUNTIME_LLAMA_SERVER", str(named))
    assert find("llama-server").program == str(named)
    monkeypatch.setenv("LF_RUNTIME_LLAMA_SERVER", str(tmp_path / "gone"))
    with pytest.raises(RuntimeMissingError) as caught:
        find("llama-server")
    assert caught.value.message == "`LF_RUNTIME_LLAMA_SERVER` does not name a program"


def test_a_llamafile_needs_no_program_and_with_one_opens_other_files_too(tmp_path: Path) -> None:
    assert (find("llamafile").state, find("llamafile").formats) == ("external", ("llamafile",))
    make(tmp_path / "llamafile")
    assert find("llamafile").formats == ("llamafile", "gguf")


def test_of_another_machine_nothing_is_known_but_its_system(tmp_path: Path) -> None:
    make(tmp_path / "vllm")
    assert find("vllm", "win32", "x86_64").reason == "it runs on linux only"
    assert find("llamafile", "win32", "arm64").state == "external"
    assert find("llama-server", "darwin", "arm64").program is None

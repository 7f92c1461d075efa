"""Which server programs are here: by the environment, by the path, or because a model is its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.find import this_system
from localfirst.runtimes.programs import PROGRAMS, find_program, find_programs
from localfirst.runtimes.variable import variable_of
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
    found, problem = find("llama-server"), f"does not name a llama-server program: {tmp_path / 'gone'}"
    assert (found.state, found.python, found.reason) == ("misnamed", None, f"`LF_RUNTIME_LLAMA_SERVER` {problem}")
    with pytest.raises(RuntimeMissingError) as caught:
        find_program(next(one for one in PROGRAMS if one.name == "llama-server"))
    assert caught.value.message == found.reason


def test_a_llamafile_needs_no_program_and_with_one_opens_other_files_too(tmp_path: Path) -> None:
    found = find("llamafile")
    assert (found.state, found.formats, found.python) == ("brought", ("llamafile",), sys.executable)
    assert found.reason == "no `llamafile` on the path; `lf runtime install llamafile` says what it takes"
    make(tmp_path / "llamafile")
    assert (find("llamafile").state, find("llamafile").formats) == ("external", ("llamafile", "gguf"))


def test_of_another_machine_nothing_is_known_but_its_system(tmp_path: Path) -> None:
    make(tmp_path / "vllm")
    assert find("vllm", "win32", "x86_64").reason == "it runs on linux only"
    assert find("llamafile", "win32", "arm64").state == "brought"
    assert find("llama-server", "darwin", "arm64").program is None

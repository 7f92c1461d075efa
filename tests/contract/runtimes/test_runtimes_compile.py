"""An engine that is compiled where it is installed: real pip, real source, a build backend of a few lines."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
import tiny_engine

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.compile import Compiler, Workshop
from localfirst.runtimes.find import find_runtimes, this_system
from localfirst.runtimes.install import install, remove

SOURCE = "tiny_engine-1.2.0.tar.gz"
WORKSHOP = Workshop(Compiler(("/usr/bin/c++",), 12), ("-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF"), jobs=3)
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = f"""
import os, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    said = [os.environ[name] for name in ("CMAKE_ARGS", "CMAKE_BUILD_PARALLEL_LEVEL", "CXX")]
    print("[1/2] c++ -c tiny.cpp", flush=True)
    if os.path.exists(os.environ["TINY_STOP"]):
        raise SystemExit("tiny.cpp:1:1: error: `answer` was not declared in this scope")
    print("[2/2] c++ -shared tiny.o", flush=True)
    members = {tiny_engine.MEMBERS!r}
    members["tinyengine/__init__.py"] = f"said = {{said!r}}"
    with zipfile.ZipFile(os.path.join(folder, {tiny_engine.WHEEL!r}), "w") as wheel:
        for name, text in members.items():
            wheel.writestr(name, text)
    return {tiny_engine.WHEEL!r}
"""
FILES = {
    "pyproject.toml": PROJECT,
    "backend.py": BACKEND,
    "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-engine\nVersion: 1.2.0\n",
}


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "files"
    folder.mkdir()
    with tarfile.open(folder / SOURCE, "w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"tiny_engine-1.2.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    digests = {
        "tiny-engine==1.2.0": sha256((folder / SOURCE).read_bytes()).hexdigest(),
        "tiny-helper==1.0": tiny_engine.make_helper_wheel(folder),
    }
    pins = tmp_path / "pins.txt"
    pins.write_text("".join(f"{pin} --hash=sha256:{digest}\n" for pin, digest in digests.items()))
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINY_STOP", str(tmp_path / "stop"))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tiny_engine.make_row(pins)._replace(compiled=True, on_demand=True)


def list_runtimes(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "home/runtimes").iterdir() if path.suffix != ".lock")


def test_it_is_compiled_with_what_it_is_told_and_says_how_far_it_is(row, tmp_path: Path) -> None:
    told: list[str] = []
    checked: list[str] = []
    runtime = install(
        row.name,
        check=checked.append,
        report=lambda progress: told.extend(progress.detail.values()),
        workshop=WORKSHOP,
        rows=(row,),
    )
    code = "import tinyengine, tinyhelper; print(*tinyengine.said, sep='|')"
    said = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    flags, *others = said.split("|")
    assert flags.startswith("-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_INCLUDE=")
    assert others == ["3", "/usr/bin/c++"]
    assert [line for line in told if "part" in line] == ["compiling, part 1 of 2", "compiling, part 2 of 2"]
    assert not any("tiny.cpp" in line for line in told)
    assert len(checked) == 1
    assert list_runtimes(tmp_path) == ["tiny-cpu-1.2.0", "tiny-cpu-1.2.0.log"]
    assert "[1/2] c++ -c tiny.cpp" in (tmp_path / "home/runtimes/tiny-cpu-1.2.0.log").read_text()
    remove(row.name, (row,))
    assert list_runtimes(tmp_path) == []


def test_a_failure_is_told_by_the_compiler_and_leaves_only_the_log(row, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with pytest.raises(RuntimeMissingError) as caught:
        install(row.name, check=print, workshop=WORKSHOP, rows=(row,))
    assert caught.value.message == "The runtime `tiny-cpu` (Tiny 1.2.0) could not be compiled"
    assert "tiny.cpp:1:1: error: `answer` was not declared in this scope" in caught.value.detail
    log = tmp_path / "home/runtimes/tiny-cpu-1.2.0.log"
    assert caught.value.detail.endswith(f"All of it: {log}")
    assert "tiny.cpp:1:1: error" in log.read_text()
    assert list_runtimes(tmp_path) == [log.name]
    (tmp_path / "stop").unlink()
    assert install(row.name, check=lambda _: None, workshop=WORKSHOP, rows=(row,)).state == "installed"


def test_ctrl_c_while_it_compiles_leaves_only_the_log(row, tmp_path: Path) -> None:
    def interrupt(progress) -> None:
        if "part 1" in progress.detail["line"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(row.name, check=print, report=interrupt, workshop=WORKSHOP, rows=(row,))
    assert list_runtimes(tmp_path) == ["tiny-cpu-1.2.0.log"]


def test_until_then_it_is_offered_and_says_what_it_is(row) -> None:
    (runtime,) = find_runtimes(*this_system(), (row._replace(note="compiled here"),))
    assert (runtime.state, runtime.reason) == ("offered", "compiled here")

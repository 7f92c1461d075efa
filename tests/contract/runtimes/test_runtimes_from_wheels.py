"""The tiny engine from files: fetched by a real pip for another Python, installed without an index."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
import tiny_engine

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes import wheels
from localfirst.runtimes.find import this_system
from localfirst.runtimes.install import install

REAL_UV = shutil.which("uv")


@pytest.fixture
def row(tmp_path, monkeypatch):
    """The tiny engine in a folder that pip is told to look in, and no other place."""
    source = tmp_path / "source"
    source.mkdir()
    pins = tmp_path / "pins.txt"
    pins.write_text(f"tiny-engine==1.2.0 --hash=sha256:{tiny_engine.make_wheel(source)}\n", encoding="utf-8")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(source), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tiny_engine.make_row(pins)


@pytest.fixture
def without_uv(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def fetch(row, tmp_path, python=None) -> tuple[Path, dict[str, str]]:
    folder = tmp_path / "wheels"
    found = wheels.download(row, this_system(), python or wheels.this_python(), folder, lambda _: None)
    return folder, {path.name: sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_wheels_are_fetched_for_any_python_and_nothing_else_is_left(row, tmp_path, python):
    folder, found = fetch(row, tmp_path, python)
    assert list(found) == [tiny_engine.WHEEL]
    assert [path.name for path in folder.iterdir()] == [tiny_engine.WHEEL]
    wheels.check_wheels(row, python, found)


def test_what_cannot_be_fetched_is_told_in_pips_words(row, tmp_path):
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(RuntimeMissingError, match=r"The wheels of `tiny-cpu` for .* cannot be fetched") as caught:
        fetch(row, tmp_path)
    assert "No matching distribution found for tiny-engine==1.2.0" in caught.value.detail


def ask(python):
    code = "import tinyengine; print(tinyengine.answer)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "uv",
    [
        pytest.param(True, marks=pytest.mark.skipif(REAL_UV is None, reason="uv is not on the path"), id="uv"),
        pytest.param(False, id="pip"),
    ],
)
@pytest.mark.usefixtures("without_uv")
def test_a_runtime_is_installed_from_files_whatever_the_users_configuration_says(row, tmp_path, monkeypatch, uv):
    """An index or a folder that the user has set up is not asked: here each would end the installation, or delay it."""
    if uv:
        (tmp_path / "bin" / "uv").symlink_to(REAL_UV)
    folder, found = fetch(row, tmp_path)
    recipe = wheels.write_recipe(row, folder, found, tmp_path)
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "pip.conf").write_text("[global]\nfind-links = http://127.0.0.1:9/\nconstraint = /nonexistent\n")
    for name, value in {"NO_INDEX": "0", "FIND_LINKS": "http://127.0.0.1:9/", "CONSTRAINT": "/nonexistent"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    checked, told = [], []
    runtime = install(
        "tiny-cpu",
        check=checked.append,
        report=lambda progress: told.extend(progress.detail.values()),
        offline=True,
        wheels=recipe,
        rows=(row,),
    )
    assert (runtime.state, ask(runtime.python), len(checked)) == ("installed", "42\n", 1)
    assert not any("127.0.0.1" in line for line in told)


@pytest.mark.usefixtures("without_uv")
def test_a_wheel_that_is_not_the_pinned_one_is_not_installed(row, tmp_path):
    folder, found = fetch(row, tmp_path)
    recipe = wheels.write_recipe(row, folder, found, tmp_path)
    with (folder / tiny_engine.WHEEL).open("ab") as wheel:
        wheel.write(b"x")
    with pytest.raises(RuntimeMissingError, match="could not be installed") as caught:
        install("tiny-cpu", check=print, wheels=recipe, rows=(row,))
    assert caught.value.message.endswith(": the bundle's wheels are not those that this version of lf knows")
    assert caught.value.hint is None


@pytest.mark.usefixtures("without_uv")
def test_the_engine_of_another_index_is_fetched_from_there_and_installed_by_its_own_digest(row, tmp_path, monkeypatch):
    index = tmp_path / "index" / "tiny-engine"
    index.mkdir(parents=True)
    (tmp_path / "source" / tiny_engine.WHEEL).rename(index / tiny_engine.WHEEL)
    (index / "index.html").write_text(f'<a href="{tiny_engine.WHEEL}">{tiny_engine.WHEEL}</a>')
    digest = tiny_engine.make_helper_wheel(tmp_path / "source")
    Path(row.pins).write_text(f"tiny-helper==1.0 --hash=sha256:{digest}\n", encoding="utf-8")
    row = row._replace(index_url=index.parent.as_uri())
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    folder, found = fetch(row, tmp_path)
    wheels.check_wheels(row, wheels.this_python(), found)
    recipe = wheels.write_recipe(row, folder, found, tmp_path)
    runtime = install("tiny-cpu", check=lambda _: None, wheels=recipe, rows=(row,))
    assert ask(runtime.python) == "42\n"
    assert subprocess.run([runtime.python, "-c", "import tinyhelper"]).returncode == 0
    shutil.rmtree(tmp_path / "home")
    recipe = wheels.write_recipe(row, folder, {**found, tiny_engine.WHEEL: "0" * 64}, tmp_path)
    with pytest.raises(RuntimeMissingError, match="could not be installed"):
        install("tiny-cpu", check=lambda _: None, wheels=recipe, rows=(row,))

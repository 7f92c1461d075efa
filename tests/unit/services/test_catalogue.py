from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localfirst.services.catalogue import load_models, model_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CACHE = "cache/catalog.json"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_second_load_gives_the_same_models_from_the_cache(home: Path) -> None:
    first = load_models()
    written = (home / CACHE).read_bytes()
    assert load_models() == first
    assert (home / CACHE).read_bytes() == written
    assert [path.name for path in (home / "cache").iterdir()] == ["catalog.json"]
    assert model_names() == tuple(model.name for model in first)


def test_the_cache_is_what_a_warm_load_reads(home: Path) -> None:
    load_models()
    cache = home / CACHE
    cache.write_text(cache.read_text().replace('"starter"', '"from-the-cache"', 1))
    assert model_names()[0] == "from-the-cache"


def make_old(text: str) -> str:
    return "0.0.0" + text[text.index(" ") :]


def make_other(text: str) -> str:
    version, _, rest = text.partition(" ")
    return f"{version} {'0' * 64}{rest[64:]}"


DAMAGES = {
    "empty": lambda _: "",
    "cut off": lambda text: text[: len(text) // 2],
    "of another version": make_old,
    "of another catalog": make_other,
    "not JSON": lambda text: text.partition("\n")[0] + "\n{",
    "of other fields": lambda text: text.replace('"license_url"', '"licence"', 1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_cache_that_is_damaged_or_old_is_made_again(home: Path, damage: Callable[[str], str]) -> None:
    models = load_models()
    good = (home / CACHE).read_text()
    (home / CACHE).write_text(damage(good))
    assert load_models() == models
    assert (home / CACHE).read_text() == good


def test_a_cache_that_is_no_text_is_made_again(home: Path) -> None:
    models = load_models()
    good = (home / CACHE).read_bytes()
    (home / CACHE).write_bytes(b"\xff\xfe\x00" + good)
    assert load_models() == models
    assert (home / CACHE).read_bytes() == good


@pytest.mark.parametrize("obstacle", ["a file where the folder should be", "a folder where the file should be"])
def test_a_cache_that_cannot_be_written_is_done_without(home: Path, obstacle: str) -> None:
    if obstacle.startswith("a file"):
        home.mkdir()
        (home / "cache").write_text("")
    else:
        (home / CACHE).mkdir(parents=True)
    assert len(load_models()) > 40
    assert sorted(path.name for path in home.rglob("*")) in (["cache"], ["cache", "catalog.json"])


def test_a_warm_load_imports_neither_yaml_nor_the_parser(home: Path) -> None:
    code = """
import sys
from localfirst.services.catalogue import load_models
load_models()
print(*sorted({"yaml", "localfirst.catalog.parse"} & {*sys.modules}))
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["localfirst.catalog.parse", "yaml"], []]

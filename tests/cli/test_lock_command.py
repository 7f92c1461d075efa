"""`lf model lock` here, `lf pull --locked` there: the same bytes, or a refusal before the first of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_update_command import LOOSE, World, weights  # noqa: F401 (a fixture)
from tests.conftest import Lf
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_onnx

ONNX = "hf:acme/folder-onnx"


@pytest.fixture
def world(lf: Lf, weights: tuple[bytes, bytes], tmp_path: Path) -> Iterator[World]:  # noqa: F811
    """Nothing installed; an ONNX folder too, whose small files have git's digests only."""
    make_onnx(tmp_path / "onnx", "I was locked.")
    with Hub() as hub:
        lf.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        made = World(lf, hub, lf.home / "catalogs" / "work.yaml")
        made.publish(weights[0])
        hub.add_repo("acme/folder-onnx", {path.name: path.read_bytes() for path in (tmp_path / "onnx").iterdir()})
        yield made


@pytest.fixture
def there(lf: Lf, tmp_path: Path) -> Lf:
    """Another machine."""
    return Lf(tmp_path / "other-home", lf.environment)


NAMES = ("acme-tiny", LOOSE, ONNX, "starter")


def lock(lf: Lf, file: Path, *names: str) -> Path:
    done = lf("model", "lock", *names)
    assert done.returncode == 0, done.stderr
    file.write_text(done.stdout)
    return file


@pytest.mark.parametrize("installed", [False, True], ids=["from the hub", "from this disk"])
def test_another_machine_has_the_same_bytes_after_the_hub_has_moved_on(
    world: World,
    there: Lf,
    tmp_path: Path,
    weights: tuple[bytes, bytes],  # noqa: F811
    installed: bool,
) -> None:
    if installed:
        for name in NAMES[:3]:
            assert world.lf("pull", name).returncode == 0
    file = lock(world.lf, tmp_path / "lf.lock", *NAMES)
    assert lock(world.lf, tmp_path / "again.lock", *reversed(NAMES)).read_text() == file.read_text()
    world.publish(weights[1])
    done = there("pull", "--locked", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is as locked") == 4
    assert there("run", "acme-tiny", "hi").stdout == "The first revision.\n"
    assert there("run", ONNX, "hi").stdout == "I was locked.\n"
    requests = len(world.hub.requests)
    again = there("--offline", "pull", "--locked", str(file), "--json")
    assert [one["fetched"] for one in json.loads(again.stdout)["models"]] == [False] * 4
    assert len(world.hub.requests) == requests
    if installed:
        assert list_digests(there, tmp_path / "there.lock") == list_digests(world.lf, tmp_path / "here.lock")


def list_digests(lf: Lf, file: Path) -> list[object]:
    """Every file of what is locked. The other machine has no catalog that names `acme-tiny`."""
    models = json.loads(lock(lf, file, *NAMES[1:], "acme-tiny@q4_0").read_text())["models"]
    return [(model["name"], model["revision"], model["files"]) for model in models]


def test_a_lock_file_moves_a_model_to_its_revision_and_says_if_it_may_not(
    world: World,
    tmp_path: Path,
    weights: tuple[bytes, bytes],  # noqa: F811
) -> None:
    lf = world.lf
    assert lf("pull", "acme-tiny").returncode == 0
    file = lock(lf, tmp_path / "lf.lock", "acme-tiny")
    world.publish(weights[1])
    assert lf("model", "update", "acme-tiny").returncode == 0
    assert lf("model", "pin", "acme-tiny").returncode == 0
    refused = lf("pull", "--locked", str(file))
    assert refused.returncode == 2
    assert "lf model unpin acme-tiny" in refused.stderr
    assert lf("model", "unpin", "acme-tiny").returncode == 0
    sent = world.hub.bytes_sent
    moved = lf("pull", "--locked", str(file))
    newest = world.hub.repos["acme/tiny-GGUF"].find("main") or ""
    assert (moved.returncode, f"in place of {newest[:12]}" in moved.stdout) == (0, True)
    assert world.hub.bytes_sent == sent
    assert world.say("acme-tiny") == "The first revision.\n"


@pytest.mark.parametrize("name", [LOOSE, ONNX])
def test_a_hub_that_offers_other_bytes_is_refused_before_any_is_fetched(
    world: World, there: Lf, tmp_path: Path, name: str
) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", "acme-tiny", name)
    (commit,) = world.hub.repos[name.removeprefix("hf:")].commits.values()
    path = min(commit.keys() - {"README.md"})
    commit[path] = commit[path][:-1] + bytes([commit[path][-1] ^ 1])
    sent = world.hub.bytes_sent
    refused = there("pull", "--locked", str(file))
    assert (refused.returncode, refused.stdout) == (7, "")
    assert path in refused.stderr
    assert "locked:" in refused.stderr
    assert world.hub.bytes_sent == sent
    assert not list((there.home / "models").glob("*/*/*/manifest.json"))


def test_a_file_that_is_gone_or_a_commit_that_is_gone_is_refused(world: World, there: Lf, tmp_path: Path) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", LOOSE)
    repo = world.hub.repos["acme/loose-GGUF"]
    (commit,) = repo.commits
    repo.commits[commit] = {"README.md": b""}
    refused = there("pull", "--locked", str(file))
    assert (refused.returncode, "no such file" in refused.stderr) == (7, True)
    repo.commits = {"0" * 40: {}}
    assert there("pull", "--locked", str(file)).returncode == 3


def test_built_in_models_are_compared_with_this_program(world: World, there: Lf, tmp_path: Path) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", "starter@int4")
    assert there("--offline", "pull", "--locked", str(file)).returncode == 0
    record = json.loads(file.read_text())
    record["models"][0]["files"][0]["sha256"] = "0" * 64
    file.write_text(json.dumps(record))
    refused = there("pull", "--locked", str(file))
    assert (refused.returncode, "0" * 64 in refused.stderr) == (7, True)


def test_an_installed_model_with_other_bytes_is_refused(world: World, tmp_path: Path) -> None:
    lf = world.lf
    assert lf("pull", LOOSE).returncode == 0
    file = lock(lf, tmp_path / "lf.lock", LOOSE)
    record = json.loads(file.read_text())
    record["models"][0]["files"][0]["sha256"] = "0" * 64
    file.write_text(json.dumps(record))
    refused = lf("pull", "--locked", str(file))
    assert (refused.returncode, "this disk:" in refused.stderr) == (7, True)


def test_what_comes_from_no_repository_cannot_be_locked(world: World, tmp_path: Path) -> None:
    assert world.lf("model", "import", str(tmp_path / "tiny.gguf"), "--name", "mine").returncode == 0
    for name in ("mine", str(tmp_path / "tiny.gguf")):
        refused = world.lf("model", "lock", "acme-tiny", name)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "comes from no repository" in refused.stderr


def test_a_model_of_the_users_own_is_not_hidden(world: World, there: Lf, tmp_path: Path) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", "acme-tiny")
    assert there("model", "import", str(tmp_path / "tiny.gguf"), "--name", "acme-tiny").returncode == 0
    refused = there("pull", "--locked", str(file))
    assert (refused.returncode, "a model of your own" in refused.stderr) == (2, True)


def test_terms_are_asked_about_and_a_build_without_an_engine_is_told(world: World, there: Lf, tmp_path: Path) -> None:
    world.hub.repos["acme/loose-GGUF"].license = "gemma"
    file = lock(world.lf, tmp_path / "lf.lock", LOOSE)
    file.write_text(file.read_text().replace('"gemma"', '"mit"').replace('"format": "gguf"', '"format": "safetensors"'))
    refused = there("pull", "--locked", str(file))
    assert (refused.returncode, world.hub.bytes_sent) == (10, 0)
    done = there("pull", "--locked", str(file), "--accept-license")
    assert (done.returncode, "no engine on this machine loads safetensors" in done.stderr) == (0, True)


def test_another_repository_than_the_catalogs_is_told(world: World, tmp_path: Path) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", LOOSE)
    file.write_text(file.read_text().replace(f'"{LOOSE}"', '"acme-tiny"'))
    done = world.lf("pull", "--locked", str(file))
    assert done.returncode == 0
    assert "is locked to acme/loose-GGUF; the catalog here names acme/tiny-GGUF" in done.stderr


def test_a_hostile_lock_file_touches_nothing(world: World, there: Lf, tmp_path: Path) -> None:
    file = lock(world.lf, tmp_path / "lf.lock", LOOSE)
    text = file.read_text()
    requests = len(world.hub.requests)
    for bad in (text.replace("loose-q4_0", "../../../x"), text.replace("lf.lock/1", "lf.lock/2"), text[:-20], "[]"):
        file.write_text(bad)
        refused = there("pull", "--locked", str(file))
        assert refused.returncode in {2, 7}
        assert "Traceback" not in refused.stderr
    file.write_text(text[:-20])
    assert "lf model lock" in there("pull", "--locked", str(file)).stderr
    refused = there("pull", "acme-tiny", "--quant", "q4", "--locked", str(file))
    assert (refused.returncode, "Leave out `acme-tiny`, `--quant`" in refused.stderr) == (2, True)
    file.write_text(text)
    refused = there("--offline", "pull", "--locked", str(file))
    assert (refused.returncode, "with a connection" in refused.stderr) == (6, True)
    assert there("pull").returncode == 2
    assert len(world.hub.requests) == requests
    assert not (there.home / "models").exists()

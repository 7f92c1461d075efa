"""A build that no engine loads as it was published: what is made of it, how it is kept, and that it never leaves."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures import scripted
from tests.fixtures.hub import make_model, sha256

from localfirst import paths
from localfirst.errors import DiskFullError, IntegrityError, ModelFileError, NetworkError, StoreError
from localfirst.gguf import read_header
from localfirst.services.files import verify_models
from localfirst.services.usage import measure_usage
from localfirst.store import derive, disk, imports, layout, manifest, removal, verify
from localfirst.store.pull import pull
from localfirst.store.upkeep import move
from localfirst.types import ModelFile

if TYPE_CHECKING:
    from tests.fixtures.hub import Hub

    from localfirst.types import InstalledModel, Model, Variant

FILE = "ggml-model-i2_s.gguf"


@dataclass(frozen=True, slots=True)
class Published:
    """A BitNet file on the hub, and the catalog's entry that knows it."""

    data: bytes
    model: Model
    variant: Variant

    def pull(self, **options: object) -> InstalledModel:
        return pull(self.model, self.variant, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bitnet") / FILE
    scripted.make_bitnet_source(path)
    return path.read_bytes()


@pytest.fixture
def published(hub: Hub, data: bytes) -> Published:
    hub.add_repo("org/bitnet", {FILE: data})
    file = ModelFile(FILE, len(data), sha256(data))
    variant = {"quantization": "i2_s", "recipe": "i2_s-to-tq2_0", "size_bytes": len(data)}
    return Published(data, *make_model("org/bitnet", file, **variant))


def find_path(installed: InstalledModel) -> Path:
    assert installed.derived is not None
    return layout.find_derived(installed, installed.derived)


def is_right(installed: InstalledModel) -> bool:
    """Whether what an engine would open is what the manifest says, and whole."""
    path = layout.find_loadable(installed)
    with path.open("rb") as file:
        architecture = read_header(file, path.stat().st_size).architecture
    derived = installed.derived
    return architecture == "bitnet" and derived is not None and sha256(path.read_bytes()) == derived.sha256


def test_a_pull_makes_it_and_says_what_of(published: Published) -> None:
    notices: list[str] = []
    installed = published.pull(report=lambda step: notices.extend(step.detail.values()))
    assert is_right(installed)
    assert (Path(installed.root) / FILE).read_bytes() == published.data
    record = json.loads(manifest.find_manifest(installed).read_text())["derived"]
    assert record == {
        "path": "ggml-model-i2_s-tq2_0.gguf",
        "size_bytes": find_path(installed).stat().st_size,
        "sha256": sha256(find_path(installed).read_bytes()),
        "from_sha256": sha256(published.data),
        "recipe": "i2_s-to-tq2_0",
        "recipe_version": 1,
    }
    assert manifest.find("tiny") == installed
    assert any("making ggml-model-i2_s-tq2_0.gguf" in notice for notice in notices)


def test_it_is_made_once(published: Published, hub: Hub) -> None:
    before = find_path(published.pull()).stat()
    requests = len(hub.requests)
    after = find_path(published.pull(offline=True)).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(hub.requests) == requests


def lose(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [lose, cut_short])
def test_what_is_lost_or_cut_short_is_made_again_before_it_is_loaded(published: Published, harm: object) -> None:
    installed = published.pull()
    harm(find_path(installed))  # type: ignore[operator]
    assert is_right(derive.ensure(installed, published.variant))


def test_another_version_of_the_recipe_makes_it_anew(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = published.pull()
    find_path(installed).write_bytes(b"of another version".ljust(find_path(installed).stat().st_size))
    maker = derive.MAKERS["i2_s-to-tq2_0"]
    monkeypatch.setattr(derive, "MAKERS", {"i2_s-to-tq2_0": maker._replace(version=2)})
    made = published.pull(offline=True)
    assert made.derived is not None
    assert made.derived.recipe_version == 2
    assert is_right(made)
    assert manifest.find("tiny") == made


def test_a_recipe_of_a_newer_program_is_as_if_there_were_none(published: Published) -> None:
    path = manifest.find_manifest(published.pull())
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"derived": record["derived"] | {"recipe": "of-tomorrow"}}))
    installed = manifest.find("tiny")
    assert installed is not None
    assert installed.derived is None
    assert is_right(derive.ensure(installed, published.variant))


@pytest.mark.parametrize("damaged", ["derived", "original", "both"])
def test_verify_finds_what_is_damaged_and_repairs_it(published: Published, hub: Hub, damaged: str) -> None:
    installed = published.pull()
    files = {"derived": find_path(installed), "original": Path(installed.root) / FILE}
    harmed = [path for name, path in files.items() if damaged in {name, "both"}]
    for path in harmed:
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    (found,) = verify_models(["tiny"], every=False, report=lambda _: None)
    assert {problem.problem for problem in found.problems} == {"digest"}
    assert len(found.problems) == len(harmed)
    requests = len(hub.requests)
    offline = damaged == "derived"
    (repaired,) = verify_models(["tiny"], every=False, repair=True, offline=offline, report=lambda _: None)
    assert repaired.repaired
    assert is_right(repaired.model)
    assert verify.verify(repaired.model) == ()
    assert (len(hub.requests) == requests) is offline


def test_a_damaged_original_is_no_ground_to_make_anything_of(published: Published) -> None:
    installed = published.pull()
    lose(find_path(installed))
    original = Path(installed.root) / FILE
    original.write_bytes(original.read_bytes()[:-9] + b"x" + original.read_bytes()[-8:])
    with pytest.raises(IntegrityError, match="is damaged"):
        derive.ensure(installed, published.variant)
    assert not find_path(installed).exists()


def test_it_is_counted_and_goes_with_its_model(published: Published) -> None:
    installed = published.pull()
    both = len(published.data) + find_path(installed).stat().st_size
    usage = measure_usage(time.time())
    assert usage.kinds["model"].size_bytes >= both
    assert usage.garbage_bytes == 0
    assert removal.remove(installed).freed_bytes >= both
    assert not find_path(installed).exists()
    assert not Path(installed.root).parent.exists()


def test_it_moves_with_the_store(published: Published, tmp_path: Path) -> None:
    published.pull()
    move.move(tmp_path / "elsewhere", report=lambda _: None)
    moved = manifest.find("tiny")
    assert moved is not None
    assert find_path(moved).is_relative_to(tmp_path / "elsewhere")
    assert is_right(moved)
    assert verify.verify(moved) == ()


def test_without_room_for_both_nothing_is_fetched(
    published: Published, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = len(published.data) + derive.measure(published.variant)
    monkeypatch.setattr(disk, "free_bytes", lambda _: both)
    with pytest.raises(DiskFullError, match="Not enough space"):
        published.pull()
    assert not [request for request in hub.requests if request.path.endswith(FILE)]
    monkeypatch.setattr(disk, "free_bytes", lambda _: both + both // 20)
    assert is_right(published.pull())


def test_another_file_than_the_known_one_is_not_made_loadable(published: Published) -> None:
    installed = published.pull()
    other = published.variant._replace(files=(ModelFile(FILE, len(published.data), "0" * 64),))
    unmade = installed._replace(derived=None)
    with pytest.raises(IntegrityError, match="not the file that lf can make loadable"):
        derive.ensure(unmade, other)


def test_a_build_that_is_here_at_another_digest_is_not_taken_for_the_known_one(published: Published) -> None:
    """A catalog may have changed since."""
    installed = published.pull()
    (Path(installed.root) / FILE).unlink()
    other = published.variant._replace(files=(ModelFile(FILE, len(published.data), "0" * 64),))
    with pytest.raises(ModelFileError, match="BitNet's type I2_S"):
        pull(published.model, other)


def test_a_shared_store_is_not_written(published: Published) -> None:
    installed = published.pull()._replace(derived=None, shared="/there")
    with pytest.raises(StoreError, match="shared store"):
        derive.ensure(installed, published.variant)


def test_a_file_whose_name_does_not_tell_is_refused_when_it_is_here(hub: Hub, data: bytes) -> None:
    hub.add_repo("org/other", {"model.gguf": data})
    with pytest.raises(ModelFileError, match="BitNet's type I2_S") as caught:
        pull(*make_model("org/other", "model.gguf"))
    assert caught.value.hint is not None
    assert "lf pull bitnet-b1.58-2b" in caught.value.hint
    assert manifest.find("tiny") is None
    assert not list(paths.models_dir().rglob("*.gguf"))


def test_neither_such_a_file_nor_what_was_made_of_one_is_imported(published: Published, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(published.data)
    with pytest.raises(ModelFileError, match="BitNet's type I2_S"):
        imports.import_path(tmp_path / "model.gguf", name=None)
    with pytest.raises(ModelFileError, match="was made by lf"):
        imports.import_path(find_path(published.pull()), name=None)


def test_a_killed_maker_leaves_nothing_that_counts(published: Published) -> None:
    installed = published.pull()
    path = find_path(installed)
    half = path.with_name(".1.tmp")
    half.write_bytes(b"half")
    lose(path)
    assert is_right(derive.ensure(installed, published.variant))
    assert list(path.parent.iterdir()) == [path]


def test_offline_and_not_here_it_is_not_made(published: Published) -> None:
    with pytest.raises(NetworkError):
        published.pull(offline=True)

"""`lf model outdated / update / rollback / pin`: what a catalog or a repository names moves on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_catalog_command import CATALOG
from tests.conftest import Lf
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted import make_gguf

LOOSE = "hf:acme/loose-GGUF"


@pytest.fixture
def weights(tmp_path: Path) -> tuple[bytes, bytes]:
    """Of a model that says so itself: the first revision, the second."""
    found = []
    for reply in ("The first revision.", "The second revision."):
        make_gguf(tmp_path / "tiny.gguf", reply)
        found.append((tmp_path / "tiny.gguf").read_bytes())
    return found[0], found[1]


class World:
    """A hub and a catalog that move on together."""

    def __init__(self, lf: Lf, hub: Hub, file: Path) -> None:
        self.lf, self.hub, self.file = lf, hub, file

    def publish(self, weights: bytes, readme: bytes = b"") -> str:
        """A new commit of both repositories, which the catalog names from then on."""
        commit = self.hub.add_repo("acme/tiny-GGUF", {"tiny.gguf": weights, "README.md": readme})
        self.hub.add_repo("acme/loose-GGUF", {"loose-q4_0.gguf": weights, "README.md": readme})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(CATALOG.format(revision=commit, size=len(weights), sha=sha256(weights)))
        return commit

    def look(self, *words: str) -> dict[str, str]:
        """The state of every build."""
        found = json.loads(self.lf("model", "outdated", "--json", *words).stdout)["models"]
        return {one["name"]: one["state"] for one in found}

    def say(self, name: str) -> str:
        """What the model says, and thus which revision of it runs."""
        return self.lf("run", name, "hi").stdout


@pytest.fixture
def world(lf: Lf, weights: tuple[bytes, bytes], tmp_path: Path) -> Iterator[World]:
    """Both builds installed at their first revision."""
    with Hub() as hub:
        lf.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        made = World(lf, hub, lf.home / "catalogs" / "work.yaml")
        made.publish(weights[0])
        for name in ("acme-tiny", LOOSE):
            assert lf("pull", name).returncode == 0
        yield made


def test_a_model_moves_on_and_back_and_every_step_runs(world: World, weights: tuple[bytes, bytes]) -> None:
    lf = world.lf
    assert world.look() == {"acme-tiny": "newest", LOOSE: "newest"}
    world.publish(weights[1])
    assert world.look() == {"acme-tiny": "newer", LOOSE: "newer"}
    told = lf("run", "acme-tiny", "hi")
    assert told.stdout == "The first revision.\n"
    assert "the catalog names" in told.stderr
    assert lf("model", "update", "--all", "--check").returncode == 1
    assert world.look()["acme-tiny"] == "newer", "a check changes nothing"
    done = lf("model", "update", "--all")
    assert done.returncode == 0
    assert done.stdout.count("updated") == 2
    for name in ("acme-tiny", LOOSE):
        assert world.say(name) == "The second revision.\n"
        assert lf("model", "rollback", name).returncode == 0
        assert world.say(name) == "The first revision.\n"
        assert lf("model", "rollback", name).returncode == 3, "there is nothing before"
    sent = world.hub.bytes_sent
    assert lf("model", "update", "--all").returncode == 0
    assert world.hub.bytes_sent == sent, "both revisions are on this disk"
    assert world.say("acme-tiny") == "The second revision.\n"
    assert lf("model", "update", "--all", "--check").returncode == 0


def test_a_model_is_listed_once_and_its_revisions_by_info(world: World, weights: tuple[bytes, bytes]) -> None:
    lf = world.lf
    world.publish(weights[1])
    lf("model", "update", "--all")
    listed = json.loads(lf("list", "--installed", "--json").stdout)["models"]
    assert sorted(one["name"] for one in listed) == ["acme-tiny", LOOSE, "starter"]
    commits = list(world.hub.repos["acme/tiny-GGUF"].commits)
    assert {one["name"]: one["revision"] for one in listed}["acme-tiny"] == commits[1]
    (installed,) = json.loads(lf("model", "info", "acme-tiny", "--json").stdout)["installed"]
    assert [(one["revision"], one["current"]) for one in installed["revisions"]] == [
        (commits[0], False),
        (commits[1], True),
    ]
    shown = lf("model", "info", "acme-tiny").stdout
    assert f"{commits[1][:12]}, 302 kB" in shown
    assert "previous" in shown
    assert lf("rm", "acme-tiny").returncode == 0
    assert list((lf.home / "models").glob("acme--tiny-GGUF/**/*.gguf")) == [], "all revisions go"


def test_a_pinned_model_is_passed_over_out_loud(world: World, weights: tuple[bytes, bytes]) -> None:
    lf = world.lf
    assert lf("model", "pin", "acme-tiny", LOOSE).returncode == 0
    world.publish(weights[1])
    done = lf("model", "update", "--all")
    assert (done.returncode, done.stdout.count("pinned")) == (0, 2)
    assert "the catalog names" not in lf("run", "acme-tiny", "hi").stderr, "its user chose it"
    assert lf("model", "unpin", "acme-tiny").returncode == 0
    lf("model", "update", "acme-tiny")
    assert lf("model", "pin", "acme-tiny").returncode == 0
    refused = lf("model", "rollback", "acme-tiny")
    assert refused.returncode == 2
    assert "lf model unpin" in refused.stderr


def test_a_commit_that_changes_only_other_files_is_not_fetched(world: World, weights: tuple[bytes, bytes]) -> None:
    world.publish(weights[0], readme=b"better words")
    assert world.look() == {"acme-tiny": "other-files", LOOSE: "other-files"}
    sent = world.hub.bytes_sent
    done = world.lf("model", "update", "--all")
    assert done.returncode == 0
    assert done.stdout.count("only other files changed") == 2
    assert world.hub.bytes_sent == sent


def test_without_a_network_the_catalogs_pins_are_known_and_nothing_is_asked(
    world: World, weights: tuple[bytes, bytes]
) -> None:
    world.publish(weights[1])
    requests = len(world.hub.requests)
    assert world.look("--offline") == {"acme-tiny": "newer", LOOSE: "unknown"}
    assert world.lf("model", "outdated", "--offline").returncode == 6
    assert world.look("acme-tiny") == {"acme-tiny": "newer"}
    refused = world.lf("--offline", "model", "update", "--all")
    assert (refused.returncode, refused.stdout) == (6, "")
    assert len(world.hub.requests) == requests


def test_what_cannot_move_says_why(world: World, weights: tuple[bytes, bytes], tmp_path: Path) -> None:
    lf = world.lf
    commit = world.hub.repos["acme/loose-GGUF"].find("main")
    assert lf("pull", f"{LOOSE}@{commit}").returncode == 0
    assert lf("model", "import", str(tmp_path / "tiny.gguf"), "--name", "mine").returncode == 0
    world.publish(weights[1])
    world.file.unlink()
    del world.hub.repos["acme/loose-GGUF"]
    requests = len(world.hub.requests)
    assert world.look() == {"acme-tiny": "gone", LOOSE: "not-found", f"{LOOSE}@{commit}": "fixed", "mine": "kept"}
    assert len(world.hub.requests) == requests + 1
    done = lf("model", "update", "--all")
    assert (done.returncode, "no catalog has this build" in done.stdout) == (0, True)
    assert "for a private one `lf login`" in " ".join(done.stdout.split())
    assert (
        lf("model", "outdated", "mine").stdout
        == "kept       mine  its files are your own; nothing was asked about them\n"
    )
    assert lf("model", "update", "starter").returncode == 3
    assert lf("model", "update").returncode == 2
    assert lf("model", "update", "mine", "--all").returncode == 2


def test_where_nothing_can_be_asked_nothing_is_said_to_be_the_newest(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "tiny.gguf", "Mine.")
    assert lf("model", "import", str(tmp_path / "tiny.gguf"), "--name", "mine").returncode == 0
    shown = " ".join(lf("model", "outdated").stdout.split())
    assert shown == "Nothing was asked about 1 build, whose files are kept by you or other tools"
    refused = lf("model", "rollback", "mine")
    assert (refused.returncode, "None" in refused.stderr) == (3, False)
    assert "kept by you" in refused.stderr


def test_a_hub_that_is_down_is_told_for_each_model_and_the_others_are_updated(
    world: World, weights: tuple[bytes, bytes]
) -> None:
    world.publish(weights[1])
    world.hub.fail("status", "api", path="loose-GGUF/revision/main", times=None, status=400)
    world.hub.fail("status", "api", path="loose-GGUF", times=None, status=400)
    done = world.lf("model", "update", "--all")
    assert done.returncode == 6
    assert "updated" in done.stdout
    assert "unknown" in done.stdout
    assert world.say("acme-tiny") == "The second revision.\n"
    assert world.lf("model", "update", LOOSE).returncode == 6


def test_wrong_bytes_leave_the_old_revision_in_use(world: World, weights: tuple[bytes, bytes]) -> None:
    world.publish(weights[1])
    world.hub.fail("corrupt", at=1000, times=None)
    refused = world.lf("model", "update", "acme-tiny")
    assert refused.returncode == 7
    assert world.say("acme-tiny") == "The first revision.\n"
    assert json.loads(world.lf("model", "update", "--all", "--json").stdout)["models"][0]["error"] == "integrity"


def test_a_revision_that_is_damaged_is_not_gone_back_to(world: World, weights: tuple[bytes, bytes]) -> None:
    lf = world.lf
    old = next((lf.home / "models").glob("acme--tiny-GGUF/**/tiny.gguf"))
    world.publish(weights[1])
    assert lf("model", "update", "acme-tiny").returncode == 0
    old.unlink()
    assert lf("model", "rollback", "acme-tiny").returncode == 7
    assert world.say("acme-tiny") == "The second revision.\n"


def test_a_damaged_record_of_revisions_is_a_finding_of_the_doctor(world: World) -> None:
    (world.lf.home / "models" / "revisions.json").write_text("{")
    checks = json.loads(world.lf("--offline", "doctor", "--json").stdout)["checks"]
    (found,) = (one for one in checks if "which revisions" in one["summary"])
    assert found["state"] == "problem"
    assert world.say("acme-tiny") == "The first revision.\n"


def test_of_several_builds_one_has_to_be_named(world: World, weights: tuple[bytes, bytes]) -> None:
    world.hub.add_repo("acme/two-GGUF", {"two-q4_0.gguf": weights[0], "two-q8_0.gguf": weights[1]})
    for build in ("q4_0", "q8_0"):
        assert world.lf("pull", f"hf:acme/two-GGUF:{build}").returncode == 0
    refused = world.lf("model", "rollback", "hf:acme/two-GGUF")
    assert refused.returncode == 3
    assert "lf model rollback hf:acme/two-GGUF:q4_0" in refused.stderr
    assert json.loads(world.lf("model", "pin", "hf:acme/two-GGUF:q8_0", "--json").stdout)["models"][0]["variant"] == (
        "q8_0"
    )
    assert world.lf("rm", "hf:acme/two-GGUF:q8_0").returncode == 0
    assert world.lf("run", "hf:acme/two-GGUF:q4_0", "hi", "--offline").returncode == 0, "the other one stays"

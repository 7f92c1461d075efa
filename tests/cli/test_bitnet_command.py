"""A BitNet build from the catalog to its answer, as a user types it, and what is refused on the way."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_catalog_command import CATALOG
from tests.cli.test_offline import trace
from tests.conftest import Lf
from tests.contract.backends.conftest import SKIP
from tests.contract.backends.llama_bindings import VARIABLES
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted.bitnet_file import make_scripted_source

REPLY = "Three values are enough."
FILE = "ggml-model-i2_s.gguf"


@pytest.fixture
def published(tmp_path: Path) -> bytes:
    make_scripted_source(tmp_path / FILE, REPLY)
    return (tmp_path / FILE).read_bytes()


@pytest.fixture
def hub(lf: Lf, published: bytes, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        commit = running.add_repo("acme/tiny-GGUF", {FILE: published})
        running.add_repo("acme/other-GGUF", {"other-i2_s.gguf": published, "plain.gguf": published})
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        text = CATALOG.format(revision=commit, size=len(published), sha=sha256(published))
        text = text.replace("tiny.gguf", FILE).replace("Q4_0", "i2_s").replace("q4_0", "i2_s")
        (tmp_path / "acme.yaml").write_text(text + "        recipe: i2_s-to-tq2_0\n")
        added = lf("catalog", "add", str(tmp_path / "acme.yaml"))
        assert added.returncode == 0, added.stderr
        yield running


def give_engine(lf: Lf) -> None:
    """Let `lf` use the build of llama-cpp-python that the tests have."""
    named = next(filter(None, map(os.environ.get, VARIABLES)), sys.executable)
    lf.environment["LF_RUNTIME_BITNET_CPU"] = named


@SKIP
def test_it_answers_and_is_verified_repaired_and_removed(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    give_engine(lf)
    answered = lf("run", "acme-tiny", "hi")
    assert (answered.returncode, answered.stdout.strip()) == (0, REPLY), answered.stderr
    assert "made of it, which an engine loads" in " ".join(lf("model", "info", "acme-tiny").stdout.split())
    (derived,) = lf.home.rglob("*-tq2_0.gguf")
    content = derived.read_bytes()
    derived.write_bytes(content[:-9] + b"x" + content[-8:])
    found = lf("model", "verify", "acme-tiny")
    assert found.returncode == 7
    assert "`lf model verify acme-tiny --repair` makes it again" in " ".join(found.stdout.split())
    assert lf("--offline", "model", "verify", "acme-tiny", "--repair").returncode == 0
    assert derived.read_bytes() == content
    assert lf("rm", "acme-tiny").returncode == 0
    assert not list(lf.home.rglob("*.gguf"))


@SKIP
def test_what_is_fetched_runs_without_a_connection_even_if_its_copy_is_lost(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    give_engine(lf)
    assert lf("pull", "acme-tiny").returncode == 0
    (derived,) = lf.home.rglob("*-tq2_0.gguf")
    derived.unlink()
    assert trace(lf, tmp_path, "--offline", "run", "acme-tiny", "hi") == []
    assert derived.is_file()


@SKIP
def test_a_bundle_takes_what_was_published_and_it_is_made_again_there(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    bundle = tmp_path / "tiny.tar"
    made = lf("bundle", "create", "acme-tiny", "--models-only", "-o", str(bundle))
    assert made.returncode == 0, made.stderr
    with tarfile.open(bundle) as tar:
        assert [Path(name).name for name in tar.getnames() if name.endswith(".gguf")] == [FILE]
    there = Lf(tmp_path / "there", {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf-there")})
    give_engine(there)
    installed = there("--offline", "bundle", "install", str(bundle))
    assert installed.returncode == 0, installed.stderr
    answered = there("--offline", "run", "acme-tiny", "hi")
    assert (answered.returncode, answered.stdout.strip()) == (0, REPLY), answered.stderr


def test_it_is_packed_into_no_program(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    assert lf("pull", "acme-tiny").returncode == 0
    refused = lf("model", "pack", "acme-tiny", "-o", str(tmp_path / "tiny.llamafile"))
    assert refused.returncode == 2
    assert "no llamafile computes i2_s" in refused.stderr
    assert not (tmp_path / "tiny.llamafile").exists()


def test_it_says_that_it_is_an_experiment(lf: Lf) -> None:
    for words in (("model", "info", "bitnet-b1.58-2b"), ("model", "explain", "bitnet-b1.58-2b")):
        shown = lf(*words)
        assert shown.returncode == 0, shown.stderr
        assert "not yet on the vendor's own" in " ".join(shown.stdout.split())
    assert "Experimental" not in lf("model", "info", "phi-4-mini").stdout


@pytest.mark.parametrize(("file", "code"), [("other-i2_s.gguf", 8), ("plain.gguf", 1)])
def test_an_unknown_file_is_refused_by_its_name_or_by_its_weights(lf: Lf, hub: Hub, file: str, code: int) -> None:
    refused = lf("pull", f"hf:acme/other-GGUF:{file}")
    assert refused.returncode == code, refused.stderr
    assert "packed in several ways, and nothing in a file tells which way" in " ".join(refused.stderr.split())
    assert not list(lf.home.rglob("*.gguf"))


def test_neither_is_it_imported(lf: Lf, published: bytes, tmp_path: Path) -> None:
    refused = lf("model", "import", str(tmp_path / FILE))
    assert refused.returncode == 1
    assert "lf pull bitnet-b1.58-2b" in refused.stderr


def test_a_lock_file_brings_it_whole(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    lock = tmp_path / "models.lock"
    assert lf("pull", "acme-tiny").returncode == 0
    lock.write_text(lf("model", "lock", "acme-tiny").stdout)
    assert lf("rm", "acme-tiny").returncode == 0
    restored = lf("pull", "--locked", str(lock))
    assert restored.returncode == 0, restored.stderr
    assert {path.name for path in lf.home.rglob("*.gguf")} == {FILE, "ggml-model-i2_s-tq2_0.gguf"}

"""`lf bundle`: made on one machine, carried to another that has no network, and nothing trusted on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_catalog_command import CATALOG
from tests.cli.test_offline import trace
from tests.conftest import Lf
from tests.fixtures.engines import Bare
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted import make_gguf, make_onnx

REPLY = "I came on a stick."
ONNX_FOLDER = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4"


class CutOff(Bare):
    """`lf` without an engine, on a machine whose network leads nowhere."""

    def env(self) -> dict[str, str]:
        nowhere = "http://127.0.0.1:9"
        return super().env() | {
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT"), nowhere),
            "PIP_INDEX_URL": f"{nowhere}/simple",
            "PIP_CONFIG_FILE": os.devnull,
        }


@pytest.fixture
def there(tmp_path: Path) -> Lf:
    """The other machine, with engines and without a network."""
    return Lf(tmp_path / "there", {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf-there")})


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    make_onnx(tmp_path / "onnx", REPLY)
    make_gguf(tmp_path / "model.gguf", REPLY)
    folder = {f"{ONNX_FOLDER}/{path.name}": path.read_bytes() for path in (tmp_path / "onnx").iterdir()}
    with Hub() as running:
        running.add_repo("microsoft/Phi-4-mini-instruct-onnx", folder)
        running.add_repo(
            "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            {"smollm2-360m-instruct-q8_0.gguf": (tmp_path / "model.gguf").read_bytes()},
        )
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def test_offline_the_build_that_is_here_is_chosen_over_a_better_one(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    """A bundle may be for a machine that is not quite this one: what it brought is what there is to run."""
    hub.add_repo("someone/tiny-GGUF", {"tiny.gguf": (tmp_path / "model.gguf").read_bytes()})
    catalog = add_acme(lf, hub, tmp_path)
    assert lf("catalog", "remove", "acme").returncode == 0
    second = catalog.read_text().partition("    variants:\n")[2]
    for old, new in {"acme/": "someone/", "q4_0": "q5_0", "Q4_0": "Q5_0", "tier: vendor": "tier: platform"}.items():
        second = second.replace(old, new)
    lines = [line for line in second.splitlines() if "revision" not in line]
    catalog.write_text(catalog.read_text() + "\n".join(lines) + "\n")
    assert lf("catalog", "add", str(catalog)).returncode == 0
    assert "acme-tiny@q4_0" in lf("model", "explain", "acme-tiny").stdout.splitlines()[0]
    assert lf("pull", "acme-tiny@q5_0").returncode == 0
    assert lf("--offline", "run", "acme-tiny", "hi").stdout == f"{REPLY}\n"
    refused = lf("--offline", "run", "acme-tiny@q4_0", "hi")
    assert (refused.returncode, "`acme-tiny@q4_0` is not installed" in refused.stderr) == (6, True)


def add_acme(lf: Lf, hub: Hub, tmp_path: Path) -> Path:
    """A model of the user's own catalog."""
    content = (tmp_path / "model.gguf").read_bytes()
    revision = hub.add_repo("acme/tiny-GGUF", {"tiny.gguf": content})
    catalog = tmp_path / "acme.yaml"
    catalog.write_text(CATALOG.format(revision=revision, size=len(content), sha=sha256(content)))
    added = lf("catalog", "add", str(catalog))
    assert added.returncode == 0, added.stderr
    return catalog


def make(lf: Lf, path: Path, *names: str) -> Path:
    made = lf("bundle", "create", *names, "--models-only", "-o", str(path), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["size_bytes"] == path.stat().st_size
    return path


def list_models(lf: Lf) -> list[str]:
    """Files and folders below the store, but for locks."""
    models = lf.home / "models"
    return sorted(path.relative_to(models).as_posix() for path in models.rglob("*") if ".locks" not in path.parts)


def test_models_travel_and_answer_without_a_single_connection(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    path = make(lf, tmp_path / "two.tar", "phi4-mini", "smollm2-360m", "phi-4-mini")
    assert trace(there, tmp_path, "bundle", "install", str(path)) == []
    for name in ("phi-4-mini", "smollm2-360m"):
        assert there("--offline", "run", name, "hi").stdout == f"{REPLY}\n"
    assert there("model", "verify", "--all").returncode == 0
    assert not (there.home / "models" / ".bundles").exists()
    before = {file: file.stat() for file in there.home.rglob("*") if file.is_file() and "models" in file.parts}
    again = there("bundle", "install", str(path))
    assert again.stdout.count("is here already") == 2
    kept = {file: file.stat() for file in before if "locks" not in str(file)}
    assert all(file.stat().st_mtime_ns == stat.st_mtime_ns for file, stat in kept.items())


def test_a_bundle_is_the_same_whoever_makes_it(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    first = make(lf, tmp_path / "first.tar", "smollm2-360m")
    assert there("bundle", "install", str(first)).returncode == 0
    second = there("--offline", "bundle", "create", "smollm2-360m", "--models-only", "-o", str(tmp_path / "second.tar"))
    assert second.returncode == 0, second.stderr
    assert first.read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_a_name_that_only_the_maker_knows_works_there_too(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    add_acme(lf, hub, tmp_path)
    path = make(lf, tmp_path / "acme.tar", "acme-tiny", "smollm2-360m")
    installed = json.loads(there("bundle", "install", str(path), "--json").stdout)
    (catalog,) = installed["catalogs"]
    assert catalog.startswith("bundle-")
    assert there("--offline", "run", "acme-tiny", "hi").stdout == f"{REPLY}\n"
    catalogs = {one["name"]: one["models"] for one in json.loads(there("catalog", "list", "--json").stdout)["catalogs"]}
    assert catalogs[catalog] == ["acme-tiny"]
    assert json.loads(there("bundle", "install", str(path), "--json").stdout)["catalogs"] == []


def test_a_model_of_ones_own_is_packed_as_a_copy(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    assert lf("model", "import", str(tmp_path / "model.gguf"), "--name", "my-own").returncode == 0
    path = make(lf, tmp_path / "own.tar", "my-own")
    (tmp_path / "model.gguf").unlink()
    assert there("bundle", "install", str(path)).returncode == 0
    assert there("--offline", "run", "my-own", "hi").stdout == f"{REPLY}\n"
    assert there("bundle", "install", str(path)).stdout.startswith("my-own ")
    removed = there("rm", "my-own")
    assert (removed.returncode, "freed" in removed.stdout) == (0, True)
    assert list_models(there) == []


def test_a_repository_of_a_hub_travels_by_its_own_name(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    hub.add_repo("someone/other-GGUF", {"other-q4_0.gguf": (tmp_path / "model.gguf").read_bytes()})
    path = make(lf, tmp_path / "hf.tar", "hf:someone/other-GGUF")
    assert there("bundle", "install", str(path)).returncode == 0
    assert there("--offline", "run", "hf:someone/other-GGUF", "hi").stdout == f"{REPLY}\n"


def test_an_import_of_another_content_keeps_its_name(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    assert lf("model", "import", str(tmp_path / "model.gguf"), "--name", "my-own").returncode == 0
    path = make(lf, tmp_path / "own.tar", "my-own")
    make_gguf(tmp_path / "other.gguf", "Another one.")
    assert there("model", "import", str(tmp_path / "other.gguf"), "--name", "my-own").returncode == 0
    refused = there("bundle", "install", str(path))
    assert (refused.returncode, "There is another model named `my-own` here" in refused.stderr) == (2, True)
    assert there("--offline", "run", "my-own", "hi").stdout == "Another one.\n"


def test_another_digest_than_the_catalogs_is_refused_with_both(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    catalog = add_acme(lf, hub, tmp_path)
    path = make(lf, tmp_path / "acme.tar", "acme-tiny")
    right, wrong = sha256((tmp_path / "model.gguf").read_bytes()), "f" * 64
    catalog.write_text(catalog.read_text().replace(right, wrong))
    assert there("catalog", "add", str(catalog)).returncode == 0
    refused = there("bundle", "install", str(path))
    assert refused.returncode == 7
    assert (right in refused.stderr, wrong in refused.stderr) == (True, True)
    assert list_models(there) == []


def test_a_repository_that_the_catalog_does_not_name_is_refused(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    """`smollm2-360m` has no digests in the catalog; its name still means its vendor's repository and no other."""
    catalog = add_acme(lf, hub, tmp_path)
    path = make(lf, tmp_path / "acme.tar", "acme-tiny")
    elsewhere = catalog.read_text().replace("repo: acme/tiny-GGUF", "repo: acme/other-GGUF")
    digest = sha256((tmp_path / "model.gguf").read_bytes())
    catalog.write_text(elsewhere.replace(f", sha256: {digest}", ""))
    assert there("catalog", "add", str(catalog)).returncode == 0
    refused = there("bundle", "install", str(path))
    assert (refused.returncode, "is from elsewhere" in refused.stderr) == (7, True)


def test_the_name_of_a_catalog_model_is_not_for_imports(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    assert lf("model", "import", str(tmp_path / "model.gguf"), "--name", "acme-tiny").returncode == 0
    path = make(lf, tmp_path / "own.tar", "acme-tiny")
    add_acme(there, hub, tmp_path)
    content = (there.home / "catalogs" / "acme.yaml").read_text().replace("name: acme-tiny", "name: acme_tiny")
    (there.home / "catalogs" / "acme.yaml").write_text(content.replace("name: acme_tiny", "name: acme-tiny.1"))
    refused = there("bundle", "install", str(path))
    assert (refused.returncode, "is the name of another model here" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[: len(data) // 2], lambda data: data + b"\0", lambda data: data[:-9000] + b"!" + data[-8999:]],
    ids=["cut", "longer", "flipped"],
)
def test_a_damaged_bundle_leaves_nothing(lf: Lf, there: Lf, hub: Hub, tmp_path: Path, spoil) -> None:
    path = make(lf, tmp_path / "x.tar", "smollm2-360m")
    path.write_bytes(spoil(path.read_bytes()))
    for words in (("install",), ("show", "--verify")):
        refused = there("bundle", *words, str(path))
        assert (refused.returncode, refused.stdout) == (7, "")
    assert list_models(there) == []


def test_a_bundle_is_shown(lf: Lf, there: Lf, hub: Hub, tmp_path: Path) -> None:
    path = make(lf, tmp_path / "x.tar", "smollm2-360m")
    shown = there("bundle", "show", str(path))
    assert "smollm2-360m@q8_0  gguf Q8_0, apache-2.0" in shown.stdout
    assert "not read yet" in shown.stdout
    assert "every byte is right" in there("bundle", "show", "--verify", str(path)).stdout
    record = json.loads(there("bundle", "show", "--json", str(path)).stdout)
    assert [(model["name"], model["size_bytes"] > 0) for model in record["models"]] == [("smollm2-360m", True)]


def test_a_model_without_its_engine_is_not_said_to_run(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    path = make(lf, tmp_path / "x.tar", "smollm2-360m")
    bare = CutOff(tmp_path / "bare")
    installed = bare("bundle", "install", str(path))
    assert installed.returncode == 0, installed.stderr
    assert "an engine is missing: `lf runtime install llama-cpu`" in " ".join(installed.stdout.split())
    assert json.loads(lf("bundle", "install", str(path), "--json").stdout)["missing_runtimes"] == []


def test_what_is_there_and_no_bundle_is_not_said_to_be_absent(lf: Lf, tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is no plain file"), (tmp_path / "x", "There is no file")):
        refused = lf("bundle", "show", str(path))
        assert (refused.returncode, said in " ".join(refused.stderr.split())) == (2, True)


def test_nothing_is_overwritten_and_nothing_is_fetched_for_a_place_that_is_none(
    lf: Lf, hub: Hub, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for output in (taken, tmp_path / "no" / "x"):
        refused = lf("bundle", "create", "smollm2-360m", "--models-only", "-o", str(output))
        assert refused.returncode == 2
    assert taken.read_text() == "mine"
    assert list_models(lf) == []


def test_a_bundle_is_named_after_its_model_and_machine(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    words = ("bundle", "create", "smollm2-360m", "phi-4-mini", "--models-only", "--for", "raspberry-pi-5-8gb")
    made = lf(*words, "-o", str(tmp_path), "--json")
    assert made.returncode == 0, made.stderr
    assert Path(json.loads(made.stdout)["path"]) == tmp_path / "smollm2-360m-and-1-more-linux-arm64.bundle.tar"


def test_a_licence_with_terms_is_asked_about_as_in_a_pull(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    refused = lf("bundle", "create", "gemma-3-4b", "--models-only", "-o", str(tmp_path / "x.tar"))
    assert (refused.returncode, "--accept-license" in refused.stderr) == (10, True)
    assert not list(tmp_path.glob("x.tar*"))


def wait_for(path: Path, *, there: bool = True) -> None:
    deadline = time.monotonic() + 60
    while path.exists() != there and time.monotonic() < deadline:
        time.sleep(0.001)
    assert path.exists() == there


@pytest.fixture
def large(lf: Lf, tmp_path: Path) -> Path:
    """An imported model of 60 MB: its last tensor is padded."""
    make_gguf(tmp_path / "large.gguf", REPLY)
    with (tmp_path / "large.gguf").open("ab") as file:
        for _ in range(60):
            file.write(random.Random(1).randbytes(10**6))  # noqa: S311 (only to be many)
    assert lf("model", "import", str(tmp_path / "large.gguf"), "--name", "large").returncode == 0
    return tmp_path / "large.gguf"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_no_part_of_a_bundle(lf: Lf, large: Path, tmp_path: Path) -> None:
    process = lf.start("bundle", "create", "large", "--models-only", "-o", str(tmp_path / "x.tar"))
    wait_for(tmp_path / "x.tar.tmp")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert not list(tmp_path.glob("x.tar*"))


def test_installations_at_the_same_time_take_turns(lf: Lf, there: Lf, large: Path, tmp_path: Path) -> None:
    path = make(lf, tmp_path / "x.tar", "large")
    processes = [there.start("bundle", "install", str(path)) for _ in range(3)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted("is here already" in text for text in said) == [False, True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_installation_that_is_killed_leaves_no_half_model(lf: Lf, there: Lf, large: Path, tmp_path: Path) -> None:
    """Wherever it dies the model is there whole or not at all, and the next one ends well and sweeps up."""
    path = make(lf, tmp_path / "x.tar", "large")
    waits = random.Random(4)  # noqa: S311
    left = there.home / "models" / ".bundles" / "left"
    for _ in range(8):
        left.mkdir(parents=True, exist_ok=True)
        process = there.start("bundle", "install", str(path), "-q")
        wait_for(left, there=False)
        time.sleep(waits.uniform(0, 0.25))
        process.kill()
        process.communicate()
        verified = there("model", "verify", "--all", "--json")
        assert verified.returncode == 0
        shutil.rmtree(there.home / "models" / "import--large", ignore_errors=True)
    left.mkdir(parents=True, exist_ok=True)
    assert there("bundle", "install", str(path)).returncode == 0
    assert there("--offline", "run", "large", "hi").stdout == f"{REPLY}\n"
    assert not (there.home / "models" / ".bundles").exists()


@pytest.mark.usefixtures("package_index")
def test_a_model_with_its_engine_runs_where_there_was_neither_nor_a_network(lf: Lf, tmp_path: Path) -> None:
    path = tmp_path / "starter.tar"
    made = lf("bundle", "create", "starter", "-o", str(path), timeout_s=600)
    assert made.returncode == 0, made.stderr
    bare = CutOff(tmp_path / "bare")
    question = "How do I list the models that fit this machine?"
    assert bare("--offline", "run", "starter", question).returncode == 8
    installed = bare("bundle", "install", str(path), "--json", timeout_s=600)
    assert installed.returncode == 0, installed.stderr
    assert [(one["name"], one["kept"]) for one in json.loads(installed.stdout)["runtimes"]] == [("llama-cpu", False)]
    assert "lf model list --fits" in bare("--offline", "run", "starter", question).stdout
    assert "llama-cpu is here already" in bare("bundle", "install", str(path)).stdout
    assert not (bare.home / "models" / ".bundles").exists()


@pytest.mark.usefixtures("package_index")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--for", "macbook-air-m2-8gb"], "The bundle is for darwin arm64, and this machine is "),
        (["--python", "3.12" if sys.version_info[:2] != (3, 12) else "3.13"], "The bundle's engines are for Python 3."),
    ],
)
def test_engines_for_another_machine_are_refused(lf: Lf, tmp_path: Path, words: list[str], said: str) -> None:
    path = tmp_path / "x.tar"
    made = lf("bundle", "create", "starter", "-o", str(path), *words, timeout_s=600)
    assert made.returncode == 0, made.stderr
    bare = CutOff(tmp_path / "bare")
    refused = bare("bundle", "install", str(path))
    assert (refused.returncode, refused.stderr.partition("\n")[0].startswith(f"error: {said}")) == (8, True)
    assert bare("bundle", "install", str(path), "--models-only").returncode == 0
    assert not (bare.home / "runtimes").exists() or not list((bare.home / "runtimes").glob("llama-*"))


def test_without_the_network_the_engines_cannot_be_packed(lf: Lf, tmp_path: Path) -> None:
    refused = lf("--offline", "bundle", "create", "starter", "-o", str(tmp_path / "x.tar"))
    assert (refused.returncode, "--models-only" in refused.stderr) == (6, True)


def test_what_has_nothing_to_carry_or_no_name_is_told(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", REPLY)
    for words, said in (
        (["starter", "--models-only"], "There is nothing to put into the bundle"),
        ([str(tmp_path / "model.gguf"), "--models-only"], "Give it one first: `lf model import"),
        (["starter", "--python", "2.7"], "No Python `2.7`"),
    ):
        refused = lf("bundle", "create", *words)
        assert (refused.returncode, said in refused.stderr) == (2, True)

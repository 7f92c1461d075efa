"""`lf model adopt` as a user types it: models of other tools run where they lie, and nothing of theirs is touched."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_catalog_command import CATALOG
from tests.conftest import Lf
from tests.fixtures import other_tools as make
from tests.fixtures.formats import make_mlx
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf, make_onnx

from localfirst.cli.screen import Screen
from localfirst.cli.views.adopt import render_adopted
from localfirst.services.adopt import Item, Report
from localfirst.store.foreign import TOOLS, Scan

WIDTH = 80


class Home:
    """A user's home with the folders of other tools."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hf = root / ".cache/huggingface/hub"
        self.ollama = root / ".ollama/models"
        self.lmstudio = root / ".lmstudio/models"
        self.made = root / "made"
        self.made.mkdir(parents=True)

    def gguf(self, reply: str) -> bytes:
        make_gguf(self.made / "m.gguf", reply)
        return (self.made / "m.gguf").read_bytes()

    def onnx(self, reply: str) -> dict[str, bytes]:
        make_onnx(self.made / "onnx", reply)
        return {path.name: path.read_bytes() for path in (self.made / "onnx").iterdir()}

    def snapshot(self) -> dict[str, Any]:
        return make.snapshot_tree(*(path for path in (self.hf, self.ollama, self.lmstudio) if path.exists()))

    def blob(self, data: bytes) -> Path:
        return self.ollama / "blobs" / f"sha256-{make.sha256(data)}"


@pytest.fixture
def home(lf: Lf, tmp_path: Path) -> Home:
    lf.environment |= {"HOME": str(tmp_path / "home"), "USERPROFILE": str(tmp_path / "home"), "XDG_CACHE_HOME": ""}
    return Home(tmp_path / "home")


def adopt(lf: Lf, *words: str) -> dict[str, tuple[str, str | None]]:
    """State and name of each model by what its tool calls it."""
    done = lf("model", "adopt", *words, "--json")
    assert done.returncode == 0, done.stderr
    return {one["label"]: (one["state"], one["name"]) for one in json.loads(done.stdout)["models"]}


def list_models_dir(lf: Lf) -> list[Path]:
    return sorted((lf.home / "models").rglob("manifest.json"))


def test_models_of_every_tool_run_where_they_lie(lf: Lf, home: Home) -> None:
    make.add_repo(home.hf, "org/My-GGUF", {"My-Q4_0.gguf": home.gguf("From the cache."), "README.md": b"# My"})
    make.add_repo(home.hf, "org/tiny-onnx", {f"cpu/{path}": data for path, data in home.onnx("By ONNX.").items()})
    make.add_ollama(home.ollama, "mario", [("model", home.gguf("From Ollama.")), ("projector", home.gguf("eyes"))])
    make.add_lmstudio(home.lmstudio, "org/Other", {"Other-Q8_0.gguf": home.gguf("From LM Studio.")})
    shutil.rmtree(home.made)
    for path in (home.root, *home.root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = home.snapshot()
    done = lf("model", "adopt")
    assert done.returncode == 0, done.stderr
    assert "100 %" in done.stderr
    assert "4 models adopted" in done.stdout
    assert "0 bytes copied" in done.stdout
    for name, reply in (
        ("my-q4_0", "From the cache."),
        ("tiny-onnx-cpu", "By ONNX."),
        ("mario", "From Ollama."),
        ("other-q8_0", "From LM Studio."),
    ):
        assert lf("run", name, "hi").stdout == f"{reply}\n"
    listed = lf("list", "--installed").stdout
    assert {"in HF cache", "in Ollama", "in LM Studio"} <= {row.split("  ")[-1] for row in listed.splitlines()}
    assert "kept by Ollama" in lf("model", "info", "mario").stdout
    assert lf("model", "verify", "--all").returncode == 0
    store = [check for check in json.loads(lf("doctor", "--json").stdout)["checks"] if check["name"] == "Store"]
    assert [check["summary"] for check in store] == ["4 models, 0 B, 4 of them kept by other tools"]
    assert json.loads(lf("model", "rm", "mario", "--json").stdout)["freed_bytes"] == 0
    assert home.snapshot() == before
    for path in (home.root, *home.root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def test_what_was_adopted_of_the_hubs_cache_goes_by_the_name_of_its_repository_too(lf: Lf, home: Home) -> None:
    make.add_repo(home.hf, "Me/m", {"scripted.gguf": home.gguf("Mine.")})
    make.add_repo(home.hf, "me/two", {"a-Q4_0.gguf": home.gguf("One."), "b-Q4_0.gguf": home.gguf("Two.")})
    make.add_ollama(home.ollama, "me/three", [("model", home.gguf("No repository's."))])
    assert lf("model", "adopt").returncode == 0
    for name in ("hf:Me/m", "hf:me/M:scripted.gguf"):
        assert lf("--offline", "run", name, "hi").stdout == "Mine.\n"
    assert lf("--offline", "run", "hf:me/two:b-Q4_0.gguf", "hi").stdout == "Two.\n"
    several = lf("--offline", "run", "hf:me/two", "hi")
    assert several.returncode == 3
    assert several.stderr.endswith("  a-q4_0\n  b-q4_0\n\nhint: Name one of them: `a-q4_0`\n")
    assert "not installed" in lf("--offline", "run", "hf:me/m@main", "hi").stderr, "which commit, nobody knows"
    assert lf("--offline", "run", "hf:me/three", "hi").returncode == 6
    assert lf("rm", "hf:Me/m").returncode == 0
    assert lf("run", "scripted", "hi").returncode == 3


def test_what_the_hubs_own_library_fetched_is_adopted(
    lf: Lf, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The layout is not only ours: huggingface_hub itself fills the cache."""
    import huggingface_hub

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "other"))
    repo, file = "acme/tiny-GGUF", "tiny-Q4_0.gguf"
    with Hub() as hub:
        commit = hub.add_repo(repo, {file: home.gguf("Fetched by another.")})
        place = huggingface_hub.hf_hub_download(repo, file, cache_dir=home.hf, endpoint=hub.url, token=False)
    assert Path(place).parent.name == commit
    before = home.snapshot()
    assert adopt(lf) == {"acme/tiny-GGUF/tiny-Q4_0.gguf": ("adopted", "tiny-q4_0")}
    assert lf("run", "tiny-q4_0", "hi").stdout == "Fetched by another.\n"
    assert home.snapshot() == before


def test_again_nothing_is_read_that_did_not_change(lf: Lf, home: Home) -> None:
    make.add_ollama(home.ollama, "a", [("model", home.gguf("A."))])
    folder = make.add_lmstudio(home.lmstudio, "org/B", {"B-Q4_0.gguf": home.gguf("B.")})
    assert adopt(lf) == {"a:latest": ("adopted", "a"), "org/B/B-Q4_0.gguf": ("adopted", "b-q4_0")}
    records = [path.read_bytes() for path in list_models_dir(lf)]
    again = lf("model", "adopt")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Nothing new to adopt" in again.stdout
    assert [path.read_bytes() for path in list_models_dir(lf)] == records
    (folder / "B-Q4_0.gguf").write_bytes(home.gguf("C."))
    assert adopt(lf) == {"a:latest": ("known", "a"), "org/B/B-Q4_0.gguf": ("adopted", "b-q4_0")}
    assert lf("run", "b-q4_0", "hi").stdout == "C.\n"
    (lf.home / "cache/adopted.json").write_text("damaged")
    assert adopt(lf)["a:latest"] == ("adopted", "a")
    assert adopt(lf)["a:latest"] == ("known", "a")


def test_the_same_bytes_are_one_model(lf: Lf, home: Home) -> None:
    data = home.gguf("Once.")
    make.add_repo(home.hf, "org/M-GGUF", {"M-Q4_0.gguf": data})
    make.add_ollama(home.ollama, "m:q4", [("model", data), ("template", b"x")])
    make.add_ollama(home.ollama, "m:latest", [("model", data)])
    make.add_lmstudio(home.lmstudio, "org/M", {"M-Q4_0.gguf": data})
    expected = {
        "org/M-GGUF/M-Q4_0.gguf": ("adopted", "m-q4_0"),
        "m:latest": ("same", "m-q4_0"),
        "m:q4": ("same", "m-q4_0"),
        "org/M/M-Q4_0.gguf": ("same", "m-q4_0"),
    }
    assert adopt(lf) == expected
    assert len(list_models_dir(lf)) == 1


@pytest.mark.parametrize("label", ["llama3.2:3b", "gemma3:latest", "phi4-mini:3.8b-q4_K_M", "starter:latest"])
def test_a_name_of_the_catalog_is_never_given_away(lf: Lf, home: Home, label: str) -> None:
    make.add_ollama(home.ollama, label, [("model", home.gguf("Not the vendor's."))])
    state, name = adopt(lf)[label]
    assert state == "adopted"
    assert name is not None
    assert name.endswith("-ollama")
    assert lf("run", name, "hi").stdout == "Not the vendor's.\n"


def test_a_tag_that_was_fetched_anew_keeps_its_name(lf: Lf, home: Home) -> None:
    make.add_ollama(home.ollama, "mine", [("model", home.gguf("Old."))])
    adopt(lf)
    make.add_ollama(home.ollama, "mine", [("model", home.gguf("New."))])
    assert adopt(lf) == {"mine:latest": ("adopted", "mine")}
    assert lf("run", "mine", "hi").stdout == "New.\n"
    assert len(list_models_dir(lf)) == 1


def test_a_dry_run_writes_and_reads_nothing(lf: Lf, home: Home) -> None:
    data = home.gguf("Later.")
    make.add_ollama(home.ollama, "a", [("model", data)])
    make.add_ollama(home.ollama, "b", [("model", data)])
    make.add_lmstudio(home.lmstudio, "org/B", {"B-Q4_0.gguf": home.gguf("B.")})
    done = lf("model", "adopt", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 models to adopt, nothing written yet" in done.stdout
    assert not (lf.home / "models").exists()
    assert not (lf.home / "cache/adopted.json").exists()


def test_bytes_that_are_not_what_they_are_named_by_are_refused(lf: Lf, home: Home) -> None:
    data = home.gguf("Good.")
    make.add_ollama(home.ollama, "bad", [("model", data)])
    home.blob(data).write_bytes(home.gguf("Evil."))
    make.add_ollama(home.ollama, "good", [("model", home.gguf("Other."))])
    assert len(home.gguf("Evil.")) == len(data)
    done = lf("model", "adopt", "ollama", "-q")
    assert done.returncode == 7
    assert "damaged: bad:latest" in done.stdout
    assert make.sha256(data) in done.stdout
    assert "1 model adopted" in done.stdout
    assert "No model named" in lf("run", "bad", "hi").stderr


def test_what_cannot_be_used_is_told_and_harms_nothing(lf: Lf, home: Home) -> None:
    make_mlx(home.made / "mlx")
    plain = {path.name: path.read_bytes() for path in (home.made / "mlx").iterdir()}
    config = json.loads(plain["config.json"])
    config.pop("quantization", None)
    make.add_repo(home.hf, "org/plain", plain | {"config.json": json.dumps(config).encode()})
    make.add_repo(home.hf, "org/M", {"M-Q4_0.gguf": home.gguf("Old.")})
    make.add_repo(home.hf, "org/M", {"M-Q4_0.gguf": home.gguf("New.")}, commit="f" * 40)
    make.add_ollama(home.ollama, "lora", [("model", home.gguf("L.")), ("adapter", b"lora")])
    make.add_ollama(home.ollama, "evil", []).write_text('{"layers": [{"digest": "../../x"}]}')
    assert {label: state for label, (state, _) in adopt(lf).items()} == {
        "org/M/M-Q4_0.gguf": "adopted",
        "org/M/M-Q4_0.gguf at 0123456": "unusable",
        "org/plain": "unusable",
        "evil:latest": "unusable",
        "lora:latest": "unusable",
    }
    assert lf("run", "m-q4_0", "hi").stdout == "New.\n"


def test_nothing_there_is_no_failure(lf: Lf, home: Home) -> None:
    done = lf("model", "adopt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "No models of other tools" in done.stdout
    named = lf("model", "adopt", "lm-studio")
    assert (named.returncode, named.stdout) == (1, "")
    assert str(home.lmstudio) in named.stderr
    assert "lf model import" in named.stderr
    unknown = lf("model", "adopt", "olama")
    assert unknown.returncode == 2
    assert "lf model adopt ollama" in unknown.stderr
    home.ollama.mkdir(parents=True)
    assert lf("model", "adopt", "ollama").returncode == 0


def test_one_tool_is_enough(lf: Lf, home: Home) -> None:
    make.add_ollama(home.ollama, "a", [("model", home.gguf("A."))])
    make.add_lmstudio(home.lmstudio, "org/B", {"B-Q4_0.gguf": home.gguf("B.")})
    assert set(adopt(lf, "lmstudio")) == {"org/B/B-Q4_0.gguf"}
    assert set(adopt(lf, "Ollama")) == {"a:latest"}


def test_models_that_a_tool_deleted_say_so_everywhere(lf: Lf, home: Home) -> None:
    make.add_ollama(home.ollama, "mario", [("model", home.gguf("Here I am."))])
    make.add_ollama(home.ollama, "luigi", [("model", home.gguf("Me too."))])
    adopt(lf)
    shutil.rmtree(home.ollama)
    for words, code in (
        (("run", "mario", "hi"), 7),
        (("model", "verify", "mario"), 7),
        (("pull", "mario"), 7),
        (("model", "info", "mario"), 0),
        (("model", "adopt"), 0),
        (("model", "adopt", "ollama"), 0),
        (("doctor",), 1),
    ):
        done = lf(*words)
        assert done.returncode == code, words
        assert "lf model rm mario" in " ".join((done.stdout + done.stderr).split()), words
        assert "Traceback" not in done.stderr
    assert lf("list", "--installed").stdout.count("files gone") == 2
    assert lf("model", "rm", "mario").returncode == 0
    make.add_ollama(home.ollama, "luigi", [("model", home.gguf("Back again."))])
    assert adopt(lf) == {"luigi:latest": ("adopted", "luigi")}
    assert lf("run", "luigi", "hi").stdout == "Back again.\n"


REPLY = "I am the vendor's."


@pytest.fixture(params=[True, False], ids=["pinned", "unpinned"])
def catalog(lf: Lf, home: Home, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A catalog of the user's with one build, which a hub on loopback has."""
    data = home.gguf(REPLY)
    with Hub() as hub:
        commit = hub.add_repo("acme/tiny-GGUF", {"tiny.gguf": data})
        text = CATALOG.format(revision=commit, size=len(data), sha=make.sha256(data))
        if not request.param:
            text = "".join(row for row in text.splitlines(keepends=True) if "revision:" not in row)
        (tmp_path / "work.yaml").write_text(text)
        lf.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
        assert lf("catalog", "add", str(tmp_path / "work.yaml")).returncode == 0
        yield hub


@pytest.mark.parametrize("tool", ["hf", "ollama", "lmstudio"])
def test_a_build_of_the_catalog_is_installed_by_its_own_name(lf: Lf, home: Home, catalog: Hub, tool: str) -> None:
    data = home.gguf(REPLY)
    add = {
        "hf": lambda: make.add_repo(home.hf, "someone/copy", {"renamed.gguf": data}),
        "ollama": lambda: make.add_ollama(home.ollama, "whatever", [("model", data), ("license", b"MIT")]),
        "lmstudio": lambda: make.add_lmstudio(home.lmstudio, "someone/copy", {"renamed.gguf": data}),
    }
    add[tool]()
    dry = adopt(lf, "--dry-run")
    assert list(dry.values()) == [("adopted", "acme-tiny@q4_0")]
    assert adopt(lf) == dry
    assert json.loads(lf("pull", "acme-tiny", "--json").stdout.splitlines()[-1])["keeper"] is not None
    assert lf("run", "acme-tiny", "hi").stdout == f"{REPLY}\n"
    assert catalog.bytes_sent == 0
    assert lf("model", "verify", "acme-tiny").returncode == 0
    before = home.snapshot()
    assert json.loads(lf("rm", "acme-tiny", "--json").stdout)["freed_bytes"] == 0
    assert home.snapshot() == before
    assert list_models_dir(lf) == []


def test_a_build_that_a_tool_deleted_is_fetched_and_then_the_stores_own(lf: Lf, home: Home, catalog: Hub) -> None:
    make.add_ollama(home.ollama, "whatever", [("model", home.gguf(REPLY))])
    adopt(lf)
    shutil.rmtree(home.ollama)
    refused = lf("run", "acme-tiny", "hi")
    assert refused.returncode == 7
    assert "Ollama has deleted `acme-tiny`" in refused.stderr
    assert "lf pull acme-tiny@q4_0" in refused.stderr
    assert catalog.bytes_sent == 0
    pulled = json.loads(lf("pull", "acme-tiny", "--json").stdout.splitlines()[-1])
    assert pulled["keeper"] is None
    assert len(list_models_dir(lf)) == 1
    assert lf("run", "acme-tiny", "hi").stdout == f"{REPLY}\n"
    assert lf("doctor").returncode == 0
    make.add_ollama(home.ollama, "whatever", [("model", home.gguf(REPLY))])
    assert adopt(lf) == {"whatever:latest": ("same", "acme-tiny@q4_0")}


def test_an_import_becomes_the_catalogs_when_that_knows_it(lf: Lf, home: Home, tmp_path: Path) -> None:
    data = home.gguf(REPLY)
    make.add_ollama(home.ollama, "whatever", [("model", data)])
    assert adopt(lf) == {"whatever:latest": ("adopted", "whatever")}
    text = CATALOG.format(revision=make.COMMIT, size=len(data), sha=make.sha256(data))
    (tmp_path / "work.yaml").write_text(text)
    assert lf("catalog", "add", str(tmp_path / "work.yaml")).returncode == 0
    assert adopt(lf) == {"whatever:latest": ("adopted", "acme-tiny@q4_0")}
    assert adopt(lf) == {"whatever:latest": ("known", "acme-tiny@q4_0")}
    assert len(list_models_dir(lf)) == 1


def test_an_interruption_keeps_what_was_adopted(lf: Lf, home: Home) -> None:
    make.add_ollama(home.ollama, "a", [("model", home.gguf("A."))])
    folder = make.add_lmstudio(home.lmstudio, "org/B", {"B-Q4_0.gguf": home.gguf("B.")})
    os.truncate(folder / "B-Q4_0.gguf", 64 * 2**30)  # holes, which take no disk and long to read
    running = lf.start("model", "adopt")
    assert running.stderr is not None
    for row in running.stderr:
        if row.startswith("LM Studio: "):
            break
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "what was adopted stays so" in errors
    assert "Traceback" not in errors
    assert lf("run", "a", "hi").stdout == "A.\n"
    assert len(list_models_dir(lf)) == 1


def test_a_store_that_cannot_be_written_is_told(lf: Lf, home: Home, tmp_path: Path) -> None:
    make.add_ollama(home.ollama, "a", [("model", home.gguf("A."))])
    (tmp_path / "file").write_text("in the way")
    lf.home = tmp_path / "file" / "home"
    done = lf("model", "adopt", "-q")
    assert done.returncode == 1
    assert "LF_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_whose_name_is_no_text_is_passed_over(lf: Lf, home: Home) -> None:
    make.add_lmstudio(home.lmstudio, "org/B", {"B-Q4_0.gguf": home.gguf("B.")})
    try:
        (home.lmstudio / "org/B").rename(home.lmstudio / "org" / os.fsdecode(b"B\xff"))
    except OSError:
        pytest.skip("this file system has no such names")
    done = lf("model", "adopt", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bytes that are no text" in done.stdout


def test_every_line_fits_a_terminal() -> None:
    ollama = TOOLS[1]
    items = (
        Item(ollama.keeper, "llama3.2:3b", "adopted", "llama-3.2-3b@q4_k_m", 2 * 10**9),
        Item(ollama.keeper, "hf.co/someone/A-Very-Long-Name-Of-A-Model-GGUF:Q4_K_M", "known", "a-very-long-name", 5),
        Item(ollama.keeper, "big:671b", "incomplete", reason="word " * 40),
        *(Item(ollama.keeper, f"org/plain-{number}", "unusable", reason="no reason") for number in range(9)),
        Item(ollama.keeper, "\x1b[2Jevil", "damaged", reason="\x1b]52;c;aGk=\x07"),
    )
    screen = Screen(io.StringIO(), WIDTH)
    rows = render_adopted(Report((Scan(ollama, (), (), ()),), items, dry_run=False), screen)
    assert max(map(len, rows)) <= WIDTH
    assert not any("\x1b" in row for row in rows)
    assert rows[0] == "Ollama"
    assert "org/plain-4 and 4 more: no reason" in " ".join(" ".join(rows).split())
    assert rows[-1].startswith("1 model adopted, 2.00 GB, 0 bytes copied.")

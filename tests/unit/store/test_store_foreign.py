"""The readers of other tools' folders: whole, damaged, incomplete and hostile ones, made on the spot."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures import other_tools as make
from tests.fixtures.scripted import make_gguf, make_onnx

from localfirst.store.foreign import TOOLS, Build, Refusal, Scan, find_foreign_files, scan

HF, OLLAMA, LMSTUDIO = TOOLS
LINUX = "posix"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    make_gguf(path, "Hello.")
    return path.read_bytes()


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("onnx")
    make_onnx(folder, "Hello.")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / ".cache/huggingface/hub"


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    return tmp_path / ".ollama/models"


@pytest.fixture
def lmstudio(tmp_path: Path) -> Path:
    return tmp_path / ".lmstudio/models"


def list_builds(found: Scan) -> dict[str, Build]:
    return {one.label: one for one in found.findings if isinstance(one, Build)}


def list_refusals(found: Scan) -> dict[str, tuple[str, str]]:
    return {one.label: (one.state, one.reason) for one in found.findings if isinstance(one, Refusal)}


def test_nothing_is_there(environment: dict[str, str]) -> None:
    for tool in TOOLS:
        found = scan(tool, environment)
        assert (found.folders, found.findings) == ((), ())
        assert all(folder.is_absolute() for folder in found.looked)
    assert find_foreign_files(environment=environment) == ()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "{}/x"}, "x/huggingface/hub"),
        ({"HF_HOME": "{}/h", "XDG_CACHE_HOME": "{}/x"}, "h/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "{}/old", "HF_HOME": "{}/h"}, "old"),
        ({"HF_HUB_CACHE": "{}/c", "HUGGINGFACE_HUB_CACHE": "{}/old", "HF_HOME": "{}/h"}, "c"),
    ],
)
def test_the_hub_cache_is_where_its_own_library_has_it(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], place: str
) -> None:
    told = {name: value.format(tmp_path) for name, value in variables.items()}
    assert scan(HF, environment | told).looked == (tmp_path / place,)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_every_build_of_a_repository_is_found(
    environment: dict[str, str], cache: Path, gguf: bytes, onnx: dict[str, bytes], links: bool
) -> None:
    files = {"M-Q4_0.gguf": gguf, "M-Q8_0.gguf": gguf + b"\0" * 32, "README.md": b"# M"}
    make.add_repo(cache, "org/M-GGUF", files, links=links)
    make.add_repo(cache, "org/M-onnx", {f"cpu/{name}": data for name, data in onnx.items()}, links=links)
    found = scan(HF, environment)
    builds = list_builds(found)
    assert [(label, one.name, one.format) for label, one in builds.items()] == [
        ("org/M-GGUF/M-Q4_0.gguf", "M-Q4_0", "gguf"),
        ("org/M-GGUF/M-Q8_0.gguf", "M-Q8_0", "gguf"),
        ("org/M-onnx/cpu", "M-onnx-cpu", "onnx"),
    ]
    one = builds["org/M-GGUF/M-Q4_0.gguf"]
    assert (one.paths, one.size_bytes, one.revision) == (("M-Q4_0.gguf",), len(gguf), make.COMMIT)
    assert one.files[0].sha256_announced == (make.sha256(gguf) if links else None)
    assert not list_refusals(found)


def test_a_nameless_file_is_called_by_its_repository(environment: dict[str, str], cache: Path, gguf: bytes) -> None:
    make.add_repo(cache, "microsoft/bitnet-2b-gguf", {"ggml-model-i2_s.gguf": gguf})
    assert [one.name for one in list_builds(scan(HF, environment)).values()] == ["bitnet-2b-gguf-I2_S"]


def test_of_two_states_of_a_build_the_newer_comes_first(environment: dict[str, str], cache: Path, gguf: bytes) -> None:
    newer = "f" * 40
    make.add_repo(cache, "org/M", {"M-Q4_0.gguf": gguf})
    make.add_repo(cache, "org/M", {"M-Q4_0.gguf": gguf + b"\0" * 32}, commit=newer)
    make.add_repo(cache, "org/same", {"S-Q4_0.gguf": gguf})
    make.add_repo(cache, "org/same", {"S-Q4_0.gguf": gguf}, commit=newer)
    builds = list_builds(scan(HF, environment))
    assert [(label, one.revision, one.superseded) for label, one in builds.items()] == [
        ("org/M/M-Q4_0.gguf", newer, False),
        ("org/M/M-Q4_0.gguf at 0123456", make.COMMIT, True),
        ("org/same/S-Q4_0.gguf", newer, False),
    ]


def test_an_unfinished_repository_says_so(environment: dict[str, str], cache: Path, gguf: bytes) -> None:
    make.add_repo(cache, "org/half", {"h-Q4_0-00001-of-00003.gguf": gguf})
    (cache / "models--org--half/blobs" / f"{'0' * 64}.incomplete").write_bytes(b"12")
    make.add_repo(cache, "org/gone", {"g-Q4_0.gguf": gguf})
    (cache / "models--org--gone/blobs" / make.sha256(gguf)).unlink()
    found = scan(HF, environment)
    assert not list_builds(found)
    assert list_refusals(found) == {
        "org/gone/g-Q4_0.gguf": ("incomplete", "g-Q4_0.gguf is a link to a file that is not there"),
        "org/half/h-Q4_0-00001-of-00003.gguf": ("incomplete", "some of its shards are missing"),
        "org/half": ("incomplete", "a download of it has not ended"),
    }
    assert [file.path.name for file in find_foreign_files([HF], environment)] == [make.sha256(gguf)]


def test_a_link_out_of_the_cache_is_not_followed(
    environment: dict[str, str], cache: Path, tmp_path: Path, gguf: bytes, onnx: dict[str, bytes]
) -> None:
    (tmp_path / "secret").write_bytes(gguf)
    snapshot = make.add_repo(cache, "org/M", {"M-Q4_0.gguf": gguf})
    (snapshot / "evil-Q4_0.gguf").symlink_to(tmp_path / "secret")
    (snapshot / "folder-Q4_0.gguf").symlink_to(tmp_path)
    other = make.add_repo(cache, "org/other", {name: data for name, data in onnx.items() if name != "model.onnx"})
    (other / "model.onnx").symlink_to(tmp_path / "secret")
    make.add_repo(cache, "org/blobs", {"b-Q4_0.gguf": gguf})
    (cache / "models--org--blobs/blobs").rename(tmp_path / "outside")
    (cache / "models--org--blobs/blobs").symlink_to(tmp_path / "outside")
    (cache / "models--org--link").symlink_to(cache / "models--org--M")
    found = scan(HF, environment)
    assert set(list_builds(found)) == {"org/M/M-Q4_0.gguf"}
    refusals = list_refusals(found)
    for label in ("org/M/evil-Q4_0.gguf", "org/other", "org/blobs/b-Q4_0.gguf"):
        assert refusals[label][0] == "unusable"
        assert "link to elsewhere" in refusals[label][1]


def test_a_damaged_file_is_told_with_the_reason(environment: dict[str, str], cache: Path, gguf: bytes) -> None:
    make.add_repo(cache, "org/cut", {"c-Q4_0.gguf": gguf[: len(gguf) // 2]})
    make.add_repo(cache, "org/page", {"p-Q4_0.gguf": b"<!DOCTYPE html><html>"})
    refusals = list_refusals(scan(HF, environment))
    assert "beyond the end of the file" in refusals["org/cut/c-Q4_0.gguf"][1]
    assert "web page" in refusals["org/page/p-Q4_0.gguf"][1]


def test_other_weights_are_no_language_model(environment: dict[str, str], cache: Path) -> None:
    part = {"config.json": b"{}", "model.safetensors": b"x"}
    make.add_repo(
        cache, "org/images", {f"{name}/{path}": data for name in ("unet", "vae") for path, data in part.items()}
    )
    refusals = list_refusals(scan(HF, environment))
    assert refusals == dict.fromkeys(
        ("org/images/unet", "org/images/vae"), ("unusable", "it is no language model that lf runs")
    )


def test_a_pipe_is_not_waited_for(environment: dict[str, str], cache: Path, gguf: bytes) -> None:
    snapshot = make.add_repo(cache, "org/M", {"M-Q4_0.gguf": gguf})
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(snapshot / "pipe-Q4_0.gguf")
    assert set(list_builds(scan(HF, environment))) == {"org/M/M-Q4_0.gguf"}


def test_ollama_models_are_called_as_ollama_calls_them(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    for name in ("llama3.2:3b", "mario:latest", "someone/fine:1b", "hf.co/org/M-GGUF:Q4_0"):
        make.add_ollama(ollama, name, [("template", b"{{ .Prompt }}"), ("model", gguf), ("license", b"MIT")])
    (ollama / "manifests/registry.ollama.ai/library/mario/.DS_Store").write_bytes(b"x")
    found = scan(OLLAMA, environment)
    assert {label: one.name for label, one in list_builds(found).items()} == {
        "hf.co/org/M-GGUF:Q4_0": "M-GGUF-Q4_0",
        "llama3.2:3b": "llama3.2-3b",
        "mario:latest": "mario",
        "someone/fine:1b": "fine-1b",
    }
    one = list_builds(found)["mario:latest"]
    assert one.paths == (f"sha256-{make.sha256(gguf)}",)
    assert (one.files[0].size_bytes, one.files[0].sha256_announced) == (len(gguf), make.sha256(gguf))
    assert not list_refusals(found)


def test_a_projector_follows_the_model(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    make.add_ollama(ollama, "eyes", [("projector", b"GGUF projector"), ("model", gguf)])
    paths = list_builds(scan(OLLAMA, environment))["eyes:latest"].paths
    assert paths == (f"sha256-{make.sha256(gguf)}", f"sha256-{make.sha256(b'GGUF projector')}")


def test_what_only_ollama_runs_is_told(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    make.add_ollama(ollama, "cloud", [], {"remote_host": "https://ollama.com", "remote_model": "big:671b"})
    make.add_ollama(ollama, "lora", [("model", gguf), ("adapter", b"lora")])
    make.add_ollama(ollama, "tensors", [("tensor; name=a; dtype=BF16", b"abc")])
    make.add_ollama(ollama, "empty", [])
    make.add_ollama(ollama, "old", [("model", b"ggjt old format")])
    refusals = list_refusals(scan(OLLAMA, environment))
    assert {label: reason for label, (state, reason) in refusals.items() if state == "unusable"} == {
        "cloud:latest": "it runs in Ollama's cloud; no weights are on this disk",
        "lora:latest": "it is a model with an adapter (LoRA), which lf does not apply",
        "tensors:latest": "its weights are single tensors, which only Ollama's own engine reads",
        "empty:latest": "it has no files of weights, where one is expected",
        "old:latest": f"sha256-{make.sha256(b'ggjt old format')[:12]} is no model",
    }


def test_an_unfinished_download_of_ollama_is_none(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    make.add_ollama(ollama, "half", [("model", gguf)])
    longer = gguf + bytes(32)
    make.add_ollama(ollama, "cut", [("model", longer)])
    (ollama / "blobs" / f"sha256-{make.sha256(gguf)}").rename(ollama / "blobs" / f"sha256-{make.sha256(gguf)}-partial")
    os.truncate(ollama / "blobs" / f"sha256-{make.sha256(longer)}", 100)
    assert list_refusals(scan(OLLAMA, environment)) == {
        "half:latest": ("incomplete", "its download has not ended"),
        "cut:latest": ("incomplete", f"its weights have 100 bytes, its manifest says {len(gguf) + 32}"),
    }


def test_a_list_of_manifests_gives_the_one_with_a_file(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    """As newer releases of Ollama write them: named by links, one manifest for each engine, some of them blobs."""
    layer = make.make_layer(ollama, "model", gguf)
    child = json.dumps({"schemaVersion": 2, "layers": [layer]}).encode()
    listed = [
        {"runner": "mlx", "layers": [make.make_layer(ollama, "tensor; name=a", b"abc")]},
        {"runner": "ollama", "digest": make.add_blob(ollama, child)},
    ]
    top = make.add_blob(ollama, json.dumps({"schemaVersion": 2, "manifests": listed}).encode())
    named = ollama / "manifests-v2/registry.ollama.ai/library/both/latest"
    named.parent.mkdir(parents=True)
    named.symlink_to(ollama / "blobs" / top.replace(":", "-"))
    builds = list_builds(scan(OLLAMA, environment))
    assert builds["both:latest"].paths == (f"sha256-{make.sha256(gguf)}",)


def test_links_out_of_ollamas_folder_are_not_followed(
    environment: dict[str, str], ollama: Path, tmp_path: Path, gguf: bytes
) -> None:
    (tmp_path / "secret").write_bytes(gguf)
    make.add_ollama(ollama, "blob", [("model", gguf)])
    blob = ollama / "blobs" / f"sha256-{make.sha256(gguf)}"
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    (tmp_path / "manifest").write_bytes(make.add_ollama(ollama, "named", [("model", gguf)]).read_bytes())
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    named = ollama / "manifests/registry.ollama.ai/library/named/latest"
    named.unlink()
    named.symlink_to(tmp_path / "manifest")
    refusals = list_refusals(scan(OLLAMA, environment))
    assert refusals["blob:latest"] == ("unusable", "one of its files is a link to elsewhere")
    assert refusals["named:latest"] == ("unusable", "its manifest is a link to elsewhere")
    assert make.sha256(gguf) not in {file.sha256_announced for file in find_foreign_files([OLLAMA], environment)}


_DIGEST = '"sha256:' + "a" * 64 + '"'
_LAYERS = (
    '"digest": "sha256:../../../etc/passwd", "size": 1',
    '"digest": "sha256:' + "A" * 64 + '", "size": 1',
    '"digest": "sha256-' + "a" * 65 + '", "size": 1',
    f'"digest": {_DIGEST}, "size": -1',
    f'"digest": {_DIGEST}, "size": 1e9',
    f'"digest": {_DIGEST}, "size": true',
    f'"digest": {_DIGEST}, "size": 1{"0" * 5000}',
)
HOSTILE = (
    b"",
    b"[]",
    b"{",
    b"[" * 100_000,
    b'{"layers": 7}',
    b'{"layers": [7]}',
    b'{"layers": [{}]}',
    b"\xff\xfe",
    b'{"layers": [], "config": {"digest": "sha256:../../x"}}',
    b'{"manifests": [7, {"digest": "../x"}, {"layers": {}}]}',
    b'{"x": "' + b" " * (5 * 2**20) + b'"}',
    *(f'{{"layers": [{{"mediaType": "{make.MEDIA}model", {layer}}}]}}'.encode() for layer in _LAYERS),
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_manifest_is_refused(environment: dict[str, str], ollama: Path, gguf: bytes, text: bytes) -> None:
    make.add_ollama(ollama, "good", [("model", gguf)])
    make.add_ollama(ollama, "bad", []).write_bytes(text)
    found = scan(OLLAMA, environment)
    assert set(list_builds(found)) == {"good:latest"}
    assert list_refusals(found)["bad:latest"][0] == "unusable"


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)
_JSON = _PLAIN | st.lists(_PLAIN, max_size=3) | st.dictionaries(st.text(max_size=9), _PLAIN, max_size=3)
_LAYER = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.sampled_from([make.MEDIA + kind for kind in ("model", "adapter", "projector", "x")]) | _JSON,
        "digest": st.from_regex(r"sha256[:-][0-9a-f./]{1,70}", fullmatch=True) | _JSON,
        "size": st.integers() | _JSON,
    },
)
_MANIFEST = st.fixed_dictionaries(
    {},
    optional={
        "layers": st.lists(_LAYER, max_size=4) | _JSON,
        "config": _LAYER | _JSON,
        "manifests": st.lists(st.fixed_dictionaries({}, optional={"layers": st.lists(_LAYER), "digest": _JSON}))
        | _JSON,
    },
)


@given(record=_MANIFEST | _JSON)
def test_no_manifest_breaks_the_reader_or_leads_out_of_its_folder(
    record: object, tmp_path_factory: pytest.TempPathFactory, gguf: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    root = home / ".ollama/models"
    make.add_ollama(root, "good", [("model", gguf)])
    make.add_ollama(root, "bad", []).write_text(json.dumps(record))
    found = scan(OLLAMA, {"HOME": str(home), "USERPROFILE": str(home)})
    assert {one.label for one in found.findings} == {"good:latest", "bad:latest"}
    for build in list_builds(found).values():
        assert all(file.path.resolve().is_relative_to(root.resolve()) for file in build.files)


def test_lm_studio_is_looked_for_where_it_can_be(environment: dict[str, str], tmp_path: Path, gguf: bytes) -> None:
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path}/pointed\n")
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "big disk")}))
    make.add_lmstudio(tmp_path / "big disk", "org/A-GGUF", {"A-Q4_0.gguf": gguf})
    make.add_lmstudio(tmp_path / "pointed/models", "org/B-GGUF", {"B-Q4_0.gguf": gguf})
    make.add_lmstudio(tmp_path / ".cache/lm-studio/models", "org/C-GGUF", {"C-Q4_0.gguf": gguf})
    found = scan(LMSTUDIO, environment)
    assert set(list_builds(found)) == {
        "org/A-GGUF/A-Q4_0.gguf", "org/B-GGUF/B-Q4_0.gguf", "org/C-GGUF/C-Q4_0.gguf",
    }  # fmt: skip
    assert len(found.looked) == 4


@pytest.mark.parametrize("text", [b"", b"\0", b"../x", b"\xff", b"relative/folder"])
def test_a_pointer_that_leads_nowhere_is_none(environment: dict[str, str], tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".lmstudio-home-pointer").write_bytes(text)
    assert scan(LMSTUDIO, environment).looked[0] == tmp_path / ".lmstudio/models"


@pytest.mark.parametrize("settings", ["[]", "{", '{"downloadsFolder": 7}', '{"downloadsFolder": "x\\u0000"}', ""])
def test_settings_that_say_nothing_are_passed_over(
    environment: dict[str, str], tmp_path: Path, lmstudio: Path, gguf: bytes, settings: str
) -> None:
    make.add_lmstudio(lmstudio, "org/A", {"A-Q4_0.gguf": gguf})
    (tmp_path / ".lmstudio/settings.json").write_text(settings)
    assert set(list_builds(scan(LMSTUDIO, environment))) == {"org/A/A-Q4_0.gguf"}


def test_what_is_linked_or_begun_in_lm_studio_is_told(
    environment: dict[str, str], lmstudio: Path, tmp_path: Path, gguf: bytes
) -> None:
    elsewhere = make.add_lmstudio(tmp_path / "elsewhere", "org/L", {"L-Q4_0.gguf": gguf})
    folder = make.add_lmstudio(
        lmstudio, "org/A", {"A-Q4_0.gguf": gguf, "downloading_B.gguf.part": b"1", "mmproj-A-f16.gguf": gguf}
    )
    (folder / "C-Q4_0.gguf").symlink_to(elsewhere / "L-Q4_0.gguf")
    (lmstudio / "org/linked").symlink_to(elsewhere)
    found = scan(LMSTUDIO, environment)
    refusals = list_refusals(found)
    assert list_builds(found)["org/A/A-Q4_0.gguf"].files[0].sha256_announced is None
    assert refusals["org/A/downloading_B.gguf.part"] == ("incomplete", "its download has not ended")
    assert "link to elsewhere" in refusals["org/A/C-Q4_0.gguf"][1]
    assert refusals["org/linked"] == ("unusable", f"it is a link; `lf model import {elsewhere}` takes it")
    assert {file.path.name for file in find_foreign_files([LMSTUDIO], environment)} == {
        "A-Q4_0.gguf", "mmproj-A-f16.gguf",
    }  # fmt: skip


def test_two_links_to_one_folder_are_one(
    environment: dict[str, str], lmstudio: Path, tmp_path: Path, gguf: bytes
) -> None:
    make.add_lmstudio(lmstudio, "org/A", {"A-Q4_0.gguf": gguf})
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/lm-studio").symlink_to(tmp_path / ".lmstudio")
    assert len(scan(LMSTUDIO, environment).findings) == 1
    assert len(find_foreign_files([LMSTUDIO], environment)) == 1


@pytest.mark.skipif(os.name != LINUX or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_of_another_user_is_told(environment: dict[str, str], ollama: Path, gguf: bytes) -> None:
    make.add_ollama(ollama, "good", [("model", gguf)])
    (ollama / "manifests").chmod(0)
    try:
        found = scan(OLLAMA, environment)
    finally:
        (ollama / "manifests").chmod(0o755)
    assert [one.state for one in found.findings if isinstance(one, Refusal)] == ["unusable"]


def test_reading_changes_nothing(
    environment: dict[str, str], cache: Path, ollama: Path, lmstudio: Path, gguf: bytes, onnx: dict[str, bytes]
) -> None:
    make.add_repo(cache, "org/M", {"M-Q4_0.gguf": gguf, **onnx})
    make.add_ollama(ollama, "m", [("model", gguf)])
    make.add_lmstudio(lmstudio, "org/A", {"A-Q4_0.gguf": gguf})
    before = make.snapshot_tree(cache, ollama, lmstudio)
    for tool in TOOLS:
        scan(tool, environment)
    assert len(find_foreign_files(environment=environment)) > 3
    assert make.snapshot_tree(cache, ollama, lmstudio) == before

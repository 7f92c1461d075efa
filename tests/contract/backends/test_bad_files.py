"""Files that are not the model they claim to be: an error that names the file, and never the end of the process."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import SKIP
from tests.contract.backends.engines import find_engine
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine

from localfirst.errors import EngineError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LLAMA, ONNX, MLX, LITERT = (find_engine(name) for name in ("xllamacpp", "onnx", "mlx", "litert"))
HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n" * 40
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 2490000000\n"

LOAD = """
import os
import sys
from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.errors import LfError
try:
    make_backend(sys.argv[1]).load(ModelFiles(sys.argv[2]), LoadOptions(256, 1)).close()
except LfError as error:
    print(error.code, error.message, error.detail, sep="|")
else:
    print("loaded")
sys.stdout.flush()
os._exit(0)
"""
"""For files that native code sees: only a child process may end by it. It ends as a worker does: at a usual exit MLX
aborts now and then, after a load that failed, because its own threads are still there."""


def load_in_child(backend: str, path: Path) -> list[str]:
    need_engine(backend)
    argv = [sys.executable, "-c", LOAD, backend, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # an engine may be found by this process alone
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n").split("|")


def overwrite(at: int, raw: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + raw + content[at + len(raw) :]


def replaced(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: content


def cut(end: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:end]


BINDINGS = pytest.param("llama-cpp-python", marks=SKIP)
GGUF_DAMAGES = {
    "zero bytes long": cut(0),
    "an HTML page": replaced(HTML),
    "an LFS pointer": replaced(LFS_POINTER),
    "nothing but zeros": replaced(bytes(5000)),
    "cut in the header": cut(1000),
    "cut in the weights": cut(-1000),
    "a count of tensors that is a lie": overwrite(8, struct.pack("<Q", 2**40)),
    "a count of keys that is a lie": overwrite(16, struct.pack("<Q", 2**62)),
    "a string longer than the file": overwrite(24, struct.pack("<Q", 2**63)),
}


@pytest.fixture(scope="module")
def gguf_content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    scripted.make_gguf(path, "Hello there.")
    return path.read_bytes()


@pytest.mark.parametrize("backend", ["xllamacpp", "llama-server", BINDINGS])
@pytest.mark.parametrize("damage", GGUF_DAMAGES.values(), ids=GGUF_DAMAGES)
def test_a_damaged_gguf_file_is_refused_before_native_code(
    backend: str, damage: Callable[[bytes], bytes], gguf_content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(gguf_content))
    with pytest.raises(ModelFileError) as caught:
        find_engine(backend).load(path)
    assert caught.value.message.startswith("model.gguf")


def test_a_missing_gguf_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        LLAMA.load(tmp_path / "model.gguf")
    assert caught.value.message == "model.gguf cannot be read: No such file or directory"


@pytest.mark.parametrize("backend", ["xllamacpp", BINDINGS])
def test_what_only_llama_cpp_refuses_is_told_in_its_words(backend: str, gguf_content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_content.replace(b"llama", b"lhama"))
    assert load_in_child(backend, path) == [
        "engine",
        "llama.cpp could not load model.gguf",
        "error loading model: unknown model architecture: 'lhama'",
    ]


@pytest.mark.parametrize("backend", ["xllamacpp", BINDINGS])
def test_a_tensor_under_another_name_is_told_in_its_words(backend: str, gguf_content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_content.replace(b"blk.0.attn_q.weight", b"blk.0.attn_x.weight"))
    code, message, detail = load_in_child(backend, path)
    assert (code, message) == ("engine", "llama.cpp could not load model.gguf")
    assert "blk.0.attn_q.weight" in detail


SECTION = 16 * 1024
"""Where the description of the tests' LiteRT-LM files begins; then their tokenizer, then their graph."""
LITERT_DAMAGES = {
    "zero bytes long": cut(0),
    "an HTML page": replaced(HTML),
    "an LFS pointer": replaced(LFS_POINTER),
    "nothing but zeros": replaced(bytes(5000)),
    "cut in the header": cut(100),
    "cut in the tokenizer": cut(2 * SECTION + 100),
    "cut in the weights": cut(-1000),
    "of a newer version": overwrite(8, struct.pack("<I", 2)),
    "a header that ends behind the file": overwrite(24, struct.pack("<Q", 2**40)),
    "a header full of rubbish": overwrite(32, b"\xa5" * 200),
    "a description full of rubbish": overwrite(SECTION, b"\xff" * 64),
    "a tokenizer that does not unpack": overwrite(2 * SECTION + 20, b"\xa5" * 64),
    "a tokenizer whose length is a lie": overwrite(2 * SECTION, struct.pack("<Q", 2**50)),
    "a graph full of rubbish": overwrite(3 * SECTION, b"\xa5" * 4096),
}


@pytest.fixture(scope="module")
def litert_content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("litert") / "model.litertlm"
    scripted.make_litert(path, "Hello there.")
    return path.read_bytes()


@pytest.mark.parametrize("damage", LITERT_DAMAGES.values(), ids=LITERT_DAMAGES)
def test_a_damaged_litert_file_is_refused_before_native_code(
    damage: Callable[[bytes], bytes], litert_content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.litertlm"
    path.write_bytes(damage(litert_content))
    with pytest.raises(ModelFileError) as caught:
        LITERT.load(path)
    assert caught.value.message.startswith("model.litertlm")


def test_a_missing_litert_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        LITERT.load(tmp_path / "model.litertlm")
    assert caught.value.message == "model.litertlm cannot be read: No such file or directory"


def test_a_litert_file_under_another_name_is_refused(litert_content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(litert_content)
    with pytest.raises(ModelFileError) as caught:
        LITERT.load(tmp_path / "model.bin")
    assert caught.value.message == "model.bin is a LiteRT-LM file under another name"


def test_inputs_under_another_name_are_told_in_the_words_of_litert(litert_content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.litertlm"
    path.write_bytes(litert_content.replace(b"input_pos", b"input_xyz"))
    assert load_in_child("litert", path) == [
        "engine",
        "LiteRT-LM could not load model.litertlm",
        "Input tensor not found",
    ]


@pytest.fixture(scope="module")
def onnx_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "model"
    scripted.make_onnx(folder, "Hello there.")
    return folder


@pytest.fixture
def onnx_folder(onnx_source: Path, tmp_path: Path) -> Path:
    shutil.copytree(onnx_source, tmp_path / "model")
    return tmp_path / "model"


CONTENTS = {"zero bytes long": b"", "an HTML page": HTML, "an LFS pointer": LFS_POINTER, "garbage": b"{\xff\xfe" * 99}
CHECKED = ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx")


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_of_an_onnx_folder_that_is_something_else_is_named(onnx_folder: Path, name: str, content: bytes) -> None:
    (onnx_folder / name).write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        ONNX.load(onnx_folder)
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize("name", CHECKED)
def test_a_missing_file_of_an_onnx_folder_is_named(onnx_folder: Path, name: str) -> None:
    (onnx_folder / name).unlink()
    with pytest.raises(ModelFileError) as caught:
        ONNX.load(onnx_folder)
    assert caught.value.message == f"{name} is missing"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        ONNX.load(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "keep"), [("model.onnx", 2000), ("model.onnx.data", 100), ("model.onnx.data", None)])
def test_weights_that_are_cut_short_or_missing_are_refused(onnx_folder: Path, name: str, keep: int | None) -> None:
    if keep is None:
        (onnx_folder / name).unlink()
    else:
        (onnx_folder / name).write_bytes((onnx_folder / name).read_bytes()[:keep])
    code, message, _ = load_in_child("onnx", onnx_folder)
    assert (code, message) == ("model-file", "A file of model is missing or damaged")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"newer_key": 1}, EngineError),
        ({"type": "nonsense"}, EngineError),
        ({"context_length": "many"}, ModelFileError),
        ({"decoder": {"filename": "../../etc/model.onnx"}}, ModelFileError),
    ],
    ids=["a key of a newer version", "an unknown type", "a wrong type", "a file outside of the folder"],
)
def test_a_configuration_that_the_engine_cannot_take_is_refused(
    onnx_folder: Path, change: dict[str, object], error: type[Exception]
) -> None:
    path = onnx_folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(error):
        ONNX.load(onnx_folder)


@pytest.fixture(scope="module")
def mlx_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlx") / "model"
    scripted.make_mlx(folder, "Hello there.")
    return folder


@pytest.fixture
def mlx_folder(mlx_source: Path, tmp_path: Path) -> Path:
    shutil.copytree(mlx_source, tmp_path / "model")
    return tmp_path / "model"


MLX_CHECKED = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@pytest.mark.parametrize("name", MLX_CHECKED)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_of_an_mlx_folder_that_is_something_else_is_named(mlx_folder: Path, name: str, content: bytes) -> None:
    (mlx_folder / name).write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        MLX.load(mlx_folder)
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize("name", MLX_CHECKED)
def test_a_missing_file_of_an_mlx_folder_is_named(mlx_folder: Path, name: str) -> None:
    (mlx_folder / name).unlink()
    with pytest.raises(ModelFileError) as caught:
        MLX.load(mlx_folder)
    assert caught.value.message == f"{name} is missing"


def test_a_shard_that_only_the_index_knows_is_named(mlx_folder: Path) -> None:
    shards = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (mlx_folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelFileError) as caught:
        MLX.load(mlx_folder)
    assert caught.value.message == "model-00002-of-00002.safetensors is missing"


SAFETENSORS_DAMAGES = {
    "cut in the header": cut(300),
    "cut in the weights": cut(-1000),
    "a header longer than the file": overwrite(0, struct.pack("<Q", 2**40)),
    "a tensor beyond the end": lambda content: content.replace(b'"data_offsets": [0, ', b'"data_offsets": [9, '),
    "a tensor under another name": lambda content: content.replace(b"self_attn.q_proj", b"self_attn.x_proj"),
    "a tensor of another shape": lambda content: content.replace(b'"shape": [64]', b'"shape": [32]', 1),
}


@pytest.mark.parametrize("damage", SAFETENSORS_DAMAGES.values(), ids=SAFETENSORS_DAMAGES)
def test_damaged_safetensors_are_refused(damage: Callable[[bytes], bytes], mlx_folder: Path) -> None:
    path = mlx_folder / "model.safetensors"
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    assert load_in_child("mlx", mlx_folder)[0] == "model-file"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model_type": "zorg"}, EngineError),
        ({"model_type": "bitnet"}, ModelFileError),
        ({"hidden_size": 128}, ModelFileError),
        ({"max_position_embeddings": "many"}, ModelFileError),
    ],
    ids=["an unknown type", "weights of another type", "another width", "a context that is no number"],
)
def test_an_mlx_configuration_that_does_not_fit_is_refused(
    mlx_folder: Path, change: dict[str, object], error: type[Exception]
) -> None:
    change_json(mlx_folder / "config.json", change)
    with pytest.raises(error):
        MLX.load(mlx_folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", {"model_file": "evil.py"}),
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
    ],
    ids=["model_file", "auto_map of the model", "auto_map of the tokenizer"],
)
def test_code_that_a_model_brings_is_refused_and_not_run(
    mlx_folder: Path, name: str, change: dict[str, object]
) -> None:
    (mlx_folder / "evil.py").write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n")
    change_json(mlx_folder / name, change)
    with pytest.raises(ModelFileError, match=f"{name} asks for code of its own to be run"):
        MLX.load(mlx_folder)
    assert not (mlx_folder / "ran").exists()


def change_json(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_an_absurd_context_length_costs_nothing_while_a_smaller_one_is_asked_for(onnx_folder: Path) -> None:
    path = onnx_folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["context_length"] = 10**9
    path.write_text(json.dumps(config))
    loaded = ONNX.load(onnx_folder, 512)
    assert loaded.info.context_tokens == 512
    loaded.close()
    assert load_in_child("onnx", onnx_folder)[0] == "loaded"

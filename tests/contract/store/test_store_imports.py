"""Models from the user's own disk: taken by reference, or refused with the reason."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.formats import make_mlx, make_onnx, pack_onnx
from tests.fixtures.hub import WEB_PAGE, sha256
from tests.fixtures.scripted.gguf_file import make_gguf

from localfirst.errors import ModelFileError, UsageError
from localfirst.store import manifest, removal
from localfirst.store.imports import import_path, inspect_path
from localfirst.store.verify import verify
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import Progress


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "My Model-Q4_0.gguf"
    make_gguf(path, "hello")
    return path


def test_a_gguf_file_is_imported_where_it_lies(gguf: Path) -> None:
    model = import_path(gguf, name=None)
    data = gguf.read_bytes()
    assert (model.name, model.variant, model.host, model.root) == (
        "my-model-q4_0",
        "q4_0",
        "import",
        str(gguf.parent),
    )
    assert model.files == (InstalledFile(gguf.name, len(data), sha256(data)),)
    assert manifest.find("my-model-q4_0") == model
    assert verify(model) == ()


def test_importing_again_is_no_clash_but_another_model_of_the_name_is(gguf: Path, tmp_path: Path) -> None:
    first = import_path(gguf, name="mine")
    assert import_path(gguf, name="mine").files == first.files
    with pytest.raises(UsageError, match="There is another model named `mine`"):
        import_path(make_onnx(tmp_path / "onnx"), name="mine")
    assert len(manifest.find_all()) == 1


def test_one_import_of_a_name_at_a_time_whatever_its_build(gguf: Path, tmp_path: Path) -> None:
    """Each build has a folder and a lock of its own, and whether a name is free is for all of them."""
    make_onnx(tmp_path / "onnx")
    begun, waited = threading.Event(), threading.Event()

    def linger(_: Progress) -> None:
        begun.set()
        waited.wait(20)

    def wait(progress: Progress) -> None:
        if "waiting" in progress.detail.get("notice", ""):
            waited.set()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(import_path, gguf, name="mine", report=linger)
        assert begun.wait(20)
        with pytest.raises(UsageError, match="another model named `mine`"):
            import_path(tmp_path / "onnx", name="mine", report=wait)
        assert waited.is_set()
        assert first.result().format == "gguf"


def test_a_build_that_is_understood_better_now_is_not_there_twice(gguf: Path) -> None:
    first = import_path(gguf, name="mine")
    removal.remove(first)
    manifest.write(first._replace(variant="import", quantization=None))
    again = import_path(gguf, name="mine")
    assert manifest.find_all() == (again,)
    assert gguf.exists()


def test_looking_at_a_path_writes_nothing(gguf: Path) -> None:
    model = inspect_path(gguf)
    assert (model.format, model.files[0].size_bytes) == ("gguf", gguf.stat().st_size)
    assert manifest.find_all() == ()


def test_an_onnx_folder_is_imported_with_the_files_it_names(tmp_path: Path) -> None:
    folder = make_onnx(tmp_path / "cpu-int4")
    (folder / "modeling.py").write_text("import os")
    model = import_path(folder, name="onnx")
    assert (model.format, model.quantization, model.root) == ("onnx", "int4", str(folder))
    assert [file.path for file in model.files] == [
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
    ]


def test_an_mlx_folder_is_imported(tmp_path: Path) -> None:
    model = import_path(make_mlx(tmp_path / "Qwen3-4B-4bit"), name=None)
    assert (model.name, model.format, model.variant) == ("qwen3-4b-4bit", "mlx", "4bit")


def test_all_shards_of_a_gguf_are_imported(tmp_path: Path) -> None:
    for index in (1, 2):
        make_gguf(tmp_path / f"m-0000{index}-of-00002.gguf", "hello")
    model = import_path(tmp_path / "m-00002-of-00002.gguf", name=None)
    assert (model.name, [file.path for file in model.files]) == (
        "m",
        ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"],
    )


def edit_onnx(**files: bytes | None) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        folder = make_onnx(tmp_path / "onnx")
        for name, data in files.items():
            path = folder / name.replace("__", ".")
            path.unlink() if data is None else path.write_bytes(data)
        return folder

    return make


def write(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return make


def truncate_gguf(tmp_path: Path) -> Path:
    path = tmp_path / "cut.gguf"
    make_gguf(path, "hello")
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def cut_safetensors(tmp_path: Path) -> Path:
    folder = make_mlx(tmp_path / "mlx")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return folder


def in_a_folder_of_bytes(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    make_gguf(folder / "m.gguf", "hello")
    return folder / "m.gguf"


def lose_shard(tmp_path: Path) -> Path:
    folder = make_mlx(tmp_path / "mlx")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def folder_of_ggufs(tmp_path: Path) -> Path:
    (tmp_path / "ggufs").mkdir()
    (tmp_path / "ggufs/a.gguf").write_bytes(b"GGUF")
    return tmp_path / "ggufs"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
REFUSED: dict[str, tuple[Callable[[Path], Path], type, str]] = {
    "no such path": (lambda tmp_path: tmp_path / "none.gguf", UsageError, "There is no"),
    "a path that is no text": (in_a_folder_of_bytes, UsageError, "bytes that are no text"),
    "a file as a folder": (
        lambda tmp_path: write("a.gguf", b"GGUF")(tmp_path) / "b.gguf",
        UsageError,
        "There is no",
    ),
    "empty": (write("a.gguf", b""), ModelFileError, r"a\.gguf is empty"),
    "web page": (write("a.gguf", WEB_PAGE), ModelFileError, "is a web page"),
    "LFS pointer": (write("a.gguf", POINTER), ModelFileError, "is a Git LFS pointer"),
    "other bytes": (write("a.gguf", b"PK\x03\x04" + bytes(100)), ModelFileError, "zip"),
    "truncated": (truncate_gguf, ModelFileError, "GGUF"),
    "Python": (write("a.py", b"print()"), ModelFileError, "may hold code"),
    "pickle": (write("pytorch_model.bin", b"\x80\x02}"), ModelFileError, "may hold code"),
    "shard missing": (write("m-00001-of-00002.gguf", b"GGUF"), ModelFileError, "shards of .* are missing"),
    "folder of GGUFs": (folder_of_ggufs, ModelFileError, "is not a model's folder"),
    "ONNX without weights": (edit_onnx(model__onnx__data=None), ModelFileError, r"incomplete: model\.onnx\.data"),
    "ONNX without a graph": (edit_onnx(model__onnx=None), ModelFileError, r"incomplete: model\.onnx missing"),
    "ONNX without a tokenizer": (edit_onnx(tokenizer__json=None), ModelFileError, r"incomplete: tokenizer\.json"),
    "ONNX with a pointer": (edit_onnx(model__onnx__data=POINTER), ModelFileError, "is a Git LFS pointer"),
    "ONNX with weights elsewhere": (
        edit_onnx(model__onnx=pack_onnx("../../etc/passwd")),
        ModelFileError,
        "names files outside its folder",
    ),
    "ONNX configuration damaged": (edit_onnx(genai_config__json=b"{"), ModelFileError, "is not JSON"),
    "ONNX configuration of another shape": (edit_onnx(genai_config__json=b"[]"), ModelFileError, "not a configuration"),
    "ONNX configuration without files": (edit_onnx(genai_config__json=b"{}"), ModelFileError, "names no model file"),
    "MLX with code": (
        lambda tmp_path: make_mlx(tmp_path / "mlx", model_file="evil.py"),
        ModelFileError,
        "asks for code of its own",
    ),
    "MLX with mapped code": (
        lambda tmp_path: make_mlx(tmp_path / "mlx", auto_map={"AutoModel": "evil.M"}),
        ModelFileError,
        "asks for code of its own",
    ),
    "MLX truncated": (cut_safetensors, ModelFileError, "is truncated"),
    "MLX shard missing": (lose_shard, ModelFileError, r"incomplete: model-2\.safetensors missing"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_safe_model_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        import_path(make(tmp_path), name=None)
    assert manifest.find_all() == ()


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", "x" * 81, "-x"])
def test_a_name_that_cannot_be_typed_is_refused(gguf: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a model's name"):
        import_path(gguf, name=name)


def test_an_import_whose_file_is_gone_is_an_error_and_nothing_is_fetched(gguf: Path) -> None:
    from tests.fixtures.hub import make_model

    from localfirst.errors import IntegrityError
    from localfirst.store.pull import pull

    import_path(gguf, name="tiny")
    assert pull(*make_model("org/x", "model.gguf"), offline=True).name == "tiny"
    gguf.unlink()
    with pytest.raises(IntegrityError) as caught:
        pull(*make_model("org/x", "model.gguf"))
    assert caught.value.hint == "lf cannot fetch it: put the file back, or `lf model rm tiny` and import it again."


def test_a_file_of_the_hugging_face_cache_keeps_the_name_of_its_link(gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    blob = gguf.rename(tmp_path / "0123abcd")
    link = tmp_path / "snapshot" / "tiny-Q4_0.gguf"
    link.symlink_to(blob)
    model = import_path(link, name=None)
    assert (model.name, model.root, model.files[0].path) == ("tiny-q4_0", str(link.parent), link.name)

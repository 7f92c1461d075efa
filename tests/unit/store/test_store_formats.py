"""What each format's files tell of a model, and which of them are refused, with the lie by its name."""

from __future__ import annotations

import json
import os
import socket
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import gguf as gguf_package
import numpy as np
import pytest
from tests.fixtures import formats as make
from tests.fixtures.scripted import network
from tests.fixtures.scripted.gguf_file import make_gguf, make_random_gguf
from tests.fixtures.scripted.onnx_folder import make_random_onnx

from localfirst.errors import ModelFileError
from localfirst.headers.extent import MOST_READINGS
from localfirst.store.formats import Found, Told, recognise, tell
from localfirst.store.formats.configuration import parse_architecture
from localfirst.types import Architecture, KvGroup, RecurrentGroup

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(path: Path) -> tuple[Found, Told]:
    found = recognise(path)
    return found, tell(found.format, path, [found.root / one for one in found.paths])


def make_gguf_with(path: Path, kind: str | None = None, **keys: object) -> Path:
    """A GGUF file with a tensor, and metadata of its own."""
    writer = gguf_package.GGUFWriter(path, "llama")
    if kind:
        writer.add_type(kind)
    for key, value in keys.items():
        writer.add_key_value(key.replace("__", "."), value, gguf_package.GGUFValueType.get_type(value))
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_litertlm_file_tells_its_cache_and_its_layers(tmp_path: Path) -> None:
    found, told = ask(make.make_litertlm(tmp_path / "gemma.litertlm"))
    assert found == Found("litertlm", tmp_path, ("gemma.litertlm",), "int8")
    assert told == Told(
        Architecture(
            layers=2,
            hidden_size=48,
            heads=6,
            vocab_size=256,
            context_tokens=64,
            kv_groups=(KvGroup(2, 2, 16),),
            feed_forward_size=160,
        ),
        parameters=67_584,
        context_tokens=64,
    )


def test_a_litertlm_file_without_a_cache_has_the_limit_that_it_describes(tmp_path: Path) -> None:
    graph = make.make_tflite(layers=0)
    told = ask(make.make_litertlm(tmp_path / "m.litertlm", tokens=2048, graph=graph))[1]
    assert (told.context_tokens, told.architecture.kv_groups, told.parameters) == (2048, (), 256 * 48)


def test_an_openvino_folder_tells_by_its_configuration(tmp_path: Path) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    folder = make.make_openvino(tmp_path / "ov", **config, vocab_size=512, max_position_embeddings=4096)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
    (folder / "code.py").write_text("import os")
    found, told = ask(folder)
    assert (found.format, found.quantization) == ("openvino", "int4")
    assert found.paths == (
        "config.json",
        "openvino_detokenizer.bin",
        "openvino_detokenizer.xml",
        "openvino_model.bin",
        "openvino_model.xml",
        "openvino_tokenizer.bin",
        "openvino_tokenizer.xml",
    )
    assert told.architecture == Architecture(2, 64, 4, 512, 4096, (KvGroup(2, 2, 16),))
    assert told.parameters == 2048


def test_an_openvino_folder_without_a_configuration_tells_by_its_graph(tmp_path: Path) -> None:
    folder = make.make_openvino(tmp_path / "ov")
    (folder / "config.json").unlink()
    assert ask(folder)[1].architecture == Architecture(layers=2, kv_groups=(KvGroup(2, 2, 16),))


@pytest.mark.parametrize(("bits", "words", "parameters"), [(4, 4, 64 * 32), (8, 8, 64 * 32), (3, 3, 64 * 32)])
def test_packed_matrices_count_the_numbers_that_they_stand_for(
    tmp_path: Path, bits: int, words: int, parameters: int
) -> None:
    weights = make.make_safetensors(
        a__weight=("U32", [64, words], 256 * words),
        a__scales=("F16", [64, 1], 128),
        a__biases=("F16", [64, 1], 128),
        norm__weight=("F16", [32], 64),
    )
    found, told = ask(make.make_mlx(tmp_path / "mlx", weights, quantization={"bits": bits, "group_size": 32}))
    assert (found.format, found.quantization, told.parameters) == ("mlx", f"{bits}bit", parameters + 32)
    assert told.architecture.tied is True


def test_of_a_clone_of_a_repository_one_set_of_weights_is_taken(tmp_path: Path) -> None:
    folder = make.make_mlx(tmp_path / "clone")
    for name in ("consolidated.safetensors", "model-Q4_0.gguf", "LICENSE"):
        (folder / name).write_bytes(b"not read")
    assert recognise(folder).paths == ("LICENSE", "config.json", "model.safetensors", "tokenizer.json")


def test_a_folder_quantized_for_servers_is_none_for_mlx(tmp_path: Path) -> None:
    found = recognise(make.make_mlx(tmp_path / "awq", quantization_config={"quant_method": "awq", "bits": 4}))
    assert (found.format, found.quantization) == ("safetensors", "awq")


@pytest.mark.parametrize(("bits", "quantization"), [(4, "int4"), (32, None)])
def test_an_onnx_folder_tells_by_its_graph(tmp_path: Path, bits: int, quantization: str | None) -> None:
    shape = network.Shape()
    make_random_onnx(tmp_path / "onnx", shape, bits=bits)
    make_random_gguf(tmp_path / "same.gguf", shape)
    found, told = ask(tmp_path / "onnx")
    assert found.quantization == quantization
    assert told.architecture.kv_groups == (KvGroup(shape.layers, shape.kv_heads, shape.head_dim),)
    whole = ask(tmp_path / "same.gguf")[1].parameters
    assert told.parameters == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("name", ["m.llamafile", "m.llamafile.exe"])
def test_a_llamafile_tells_what_the_model_inside_tells(tmp_path: Path, name: str) -> None:
    make_gguf(tmp_path / "model.gguf", "hello")
    found, told = ask(make.make_llamafile(tmp_path / name))
    assert found == Found("llamafile", tmp_path, (name,), "Q4_0")
    assert told == ask(tmp_path / "model.gguf")[1]


def test_a_llamafile_with_wide_numbers_is_read(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", "hello")
    path = tmp_path / "m.llamafile"
    path.write_bytes(b"\x7fELF" + bytes(100))
    with zipfile.ZipFile(path, "a") as archive, archive.open("m.gguf", "w", force_zip64=True) as member:
        member.write((tmp_path / "model.gguf").read_bytes())
    data = path.read_bytes()
    end = data.rfind(b"PK\5\6")
    size, at = struct.unpack_from("<LL", data, end + 12)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    narrow = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(data[:end] + wide + locator + narrow)
    assert ask(path)[1] == ask(tmp_path / "model.gguf")[1]


def test_a_gguf_file_tells_title_licence_and_parameters(tmp_path: Path) -> None:
    path = make_gguf_with(tmp_path / "m.gguf", general__name="Tiny One", general__license="mit")
    found, told = ask(path)
    assert (told.title, told.license, told.parameters, found.quantization) == ("Tiny One", "mit", 128, "F32")


def test_a_gguf_file_needs_no_ending(tmp_path: Path) -> None:
    make_gguf(tmp_path / "sha256-0123", "hello")
    assert recognise(tmp_path / "sha256-0123").paths == ("sha256-0123",)


def test_all_shards_tell_together(tmp_path: Path) -> None:
    for number in (1, 2):
        make_gguf_with(tmp_path / f"m-0000{number}-of-00002.gguf")
    found, told = ask(tmp_path / "m-00002-of-00002.gguf")
    assert (found.paths, told.parameters) == (("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), 256)


def test_of_several_files_the_damaged_one_is_named(tmp_path: Path) -> None:
    for number in (1, 2):
        make_gguf_with(tmp_path / f"m-0000{number}-of-00002.gguf")
    second = tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(second.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="beyond the end of the file") as caught:
        recognise(tmp_path / "m-00001-of-00002.gguf")
    assert str(second) in (caught.value.detail or "")


PROJECTORS = {
    "one model": (["m-Q4_0.gguf", "mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
    "builds of one model": (["m-Q4_0.gguf", "m-Q8_0.gguf", "mmproj-F32.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf"),
    "two models": (["m-Q4_0.gguf", "other-Q4_0.gguf", "mmproj-F16.gguf"], None),
    "two models, named": (["m-Q4_0.gguf", "other-Q4_0.gguf", "mmproj-m-f16.gguf"], "mmproj-m-f16.gguf"),
    "of another model": (["m-Q4_0.gguf", "other-Q4_0.gguf", "mmproj-other-f16.gguf"], None),
    "behind the name": (["m-Q4_0.gguf", "x.gguf", "m.mmproj-Q8_0.gguf", "m.mmproj-f16.gguf"], "m.mmproj-f16.gguf"),
}


@pytest.mark.parametrize(("names", "expected"), PROJECTORS.values(), ids=PROJECTORS)
def test_a_projector_goes_with_its_model(tmp_path: Path, names: list[str], expected: str | None) -> None:
    for name in names:
        make_gguf_with(tmp_path / name, "mmproj" if "mmproj" in name else None)
    found, told = ask(tmp_path / "m-Q4_0.gguf")
    assert found.paths == ("m-Q4_0.gguf", *([expected] if expected else []))
    assert told.parameters == 128


CONFIGURATIONS = {
    "Gemma 3, its text within": (
        {
            "text_config": {
                "num_hidden_layers": 7,
                "hidden_size": 1152,
                "num_attention_heads": 4,
                "num_key_value_heads": 1,
                "head_dim": 256,
                "sliding_window": 512,
                "sliding_window_pattern": 6,
                "intermediate_size": 6912,
            },
            "vocab_size": 262_144,
        },
        Architecture(
            7, 1152, 4, 262_144, kv_groups=(KvGroup(1, 1, 256), KvGroup(6, 1, 256, 512)), feed_forward_size=6912
        ),
    ),
    "Qwen3 Next, states beside caches": (
        {
            "num_hidden_layers": 4,
            "hidden_size": 2048,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "layer_types": ["linear_attention"] * 3 + ["full_attention"],
            "linear_num_value_heads": 32,
            "linear_value_head_dim": 128,
            "linear_num_key_heads": 16,
            "linear_key_head_dim": 128,
            "linear_conv_kernel_dim": 4,
            "num_experts_per_tok": 10,
            "moe_intermediate_size": 512,
            "tie_word_embeddings": False,
        },
        Architecture(
            4,
            2048,
            16,
            kv_groups=(KvGroup(1, 2, 256),),
            recurrent_groups=(RecurrentGroup(3, 4096, 128, 16, 4),),
            feed_forward_size=5120,
            tied=False,
        ),
    ),
    "LFM2, short convolutions": (
        {
            "num_hidden_layers": 3,
            "hidden_size": 1024,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "layer_types": ["conv", "conv", "full_attention"],
            "conv_L_cache": 3,
        },
        Architecture(
            3, 1024, 16, kv_groups=(KvGroup(1, 8, 64),), recurrent_groups=(RecurrentGroup(2, 1024, conv_kernel=3),)
        ),
    ),
    "numbers that no model has": (
        {"num_hidden_layers": 10**12, "hidden_size": -1, "num_attention_heads": True, "vocab_size": "many"},
        Architecture(),
    ),
    "more layers than memory": ({"num_hidden_layers": 2**31, "num_attention_heads": 1, "head_dim": 1}, None),
}


@pytest.mark.parametrize(("config", "expected"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_tells_what_each_layer_keeps(config: dict[str, object], expected: Architecture | None) -> None:
    assert parse_architecture(config) == (expected or Architecture(layers=2**31, heads=1))


def write(name: str, data: bytes) -> Callable[[Path], Path]:
    def run(tmp_path: Path) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return run


def xml(text: str) -> Callable[[Path], Path]:
    return lambda tmp_path: make.make_openvino(tmp_path / "ov", text)


def constant(kind: str = "i4", shape: str = "64,32", offset: int = 0, size: int = 1024) -> Callable[[Path], Path]:
    return xml(make.make_xml([(kind, shape, offset, size)]))


def graph(data: bytes) -> Callable[[Path], Path]:
    return lambda tmp_path: make.make_onnx(tmp_path / "onnx", data)


def weights(data: bytes) -> Callable[[Path], Path]:
    return lambda tmp_path: make.make_mlx(tmp_path / "mlx", data)


def header(text: str, extra: int = 8) -> Callable[[Path], Path]:
    return weights(len(text).to_bytes(8, "little") + text.encode() + bytes(extra))


def place(begin: int, end: int, shape: str = "[2]", dtype: str = "F32") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def litert(change: Callable[[bytearray], None]) -> Callable[[Path], Path]:
    def run(tmp_path: Path) -> Path:
        path = make.make_litertlm(tmp_path / "m.litertlm")
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)
        return path

    return run


def pack(layout: str, at: int, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(layout, data, at, value)


def cut(data: bytearray) -> None:
    del data[-5000:]


def zipped(data: bytes, cut_bytes: int = 0) -> Callable[[Path], Path]:
    def run(tmp_path: Path) -> Path:
        path = make.make_llamafile(tmp_path / "m.llamafile", model=data)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - cut_bytes])
        return path

    return run


def edit_zip(mark: bytes, offset: int, value: bytes) -> Callable[[Path], Path]:
    def run(tmp_path: Path) -> Path:
        path = make.make_llamafile(tmp_path / "m.llamafile")
        data = bytearray(path.read_bytes())
        at = data.rfind(mark) + offset
        data[at : at + len(value)] = value
        path.write_bytes(data)
        return path

    return run


def lone_projector(tmp_path: Path) -> Path:
    make_gguf_with(tmp_path / "model-Q4_0.gguf")
    return make_gguf_with(tmp_path / "mmproj-model-f16.gguf", "mmproj")


def renamed_shard(tmp_path: Path) -> Path:
    writer = gguf_package.GGUFWriter(tmp_path / "part.gguf", "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "part.gguf"


def linked(tmp_path: Path) -> Path:
    folder = make.make_onnx(tmp_path / "onnx")
    (tmp_path / "secret").write_bytes(bytes(100))
    (folder / "model.onnx.data").unlink()
    (folder / "model.onnx.data").symlink_to(tmp_path / "secret")
    return folder


def hard_linked(tmp_path: Path) -> Path:
    folder = make.make_onnx(tmp_path / "onnx")
    os.link(folder / "model.onnx.data", tmp_path / "elsewhere")
    return folder


def pipe(name: str) -> Callable[[Path], Path]:
    def run(tmp_path: Path) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return run


def pipe_in_folder(tmp_path: Path) -> Path:
    folder = make.make_onnx(tmp_path / "onnx")
    (folder / "model.onnx.data").unlink()
    os.mkfifo(folder / "model.onnx.data")
    return folder


def pipe_beside(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "m-00002-of-00002.gguf")
    return make_gguf_with(tmp_path / "m-00001-of-00002.gguf")


def listen(tmp_path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket has room for 107 bytes
        try:
            server.bind("m.gguf")
        finally:
            os.chdir(here)
    return tmp_path / "m.gguf"


def own_program(tmp_path: Path) -> Path:
    (tmp_path / "m.exe").write_bytes(b"MZ" + bytes(100))
    return tmp_path / "m.exe"


BILLION = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    # GGUF
    "GGUF: a lone projector": (lone_projector, "is a projector, which lets a model see or hear, and no model"),
    "GGUF: an adapter": (lambda tmp_path: make_gguf_with(tmp_path / "a.gguf", "adapter"), r"is an adapter \(LoRA\)"),
    "GGUF: a shard by another name": (renamed_shard, "is one of 3 shards"),
    "GGUF: a pipe as a shard": (pipe_beside, "shards of .* are missing"),
    # llamafile
    "llamafile: cut off": (zipped(b"GGUF" * 100, 10), "no archive inside, or is cut off"),
    "llamafile: no archive": (write("m.llamafile", b"MZqFpD" + bytes(5000)), "no archive inside"),
    "llamafile: no GGUF inside": (zipped(b"not it" * 20), "Not a GGUF file"),
    "llamafile: compressed": (
        lambda tmp_path: make.make_llamafile(tmp_path / "m.llamafile", method=zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    "llamafile: encrypted": (edit_zip(b"PK\1\2", 8, b"\1"), "is compressed"),
    "llamafile: member longer than the file": (edit_zip(b"PK\1\2", 20, b"\xff\xff\xff\x7f" * 2), "beyond its end"),
    "llamafile: member beyond the file": (edit_zip(b"PK\1\2", 42, b"\xff\xff\xff\x7f"), "beyond its end"),
    "llamafile: member elsewhere": (edit_zip(b"PK\1\2", 42, b"\1\0\0\0"), "not where the directory says"),
    "llamafile: directory beyond the file": (edit_zip(b"PK\5\6", 12, b"\xff\xff\x3f\0"), "lies beyond|not where it"),
    "llamafile: directory too long": (edit_zip(b"PK\5\6", 12, b"\xff\xff\xff\x7f"), "claims 2,147,483,647 bytes"),
    "llamafile: its model reaches beyond its member": (edit_zip(b"PK\1\2", 20, b"\0\1\0\0" * 2), "Damaged GGUF"),
    # LiteRT-LM
    "LiteRT-LM: no magic": (write("m.litertlm", b"LITERT" + bytes(100)), "does not begin with LITERTLM"),
    "LiteRT-LM: another version": (litert(pack("<I", 8, 2)), "has version 2; 1 is known"),
    "LiteRT-LM: header beyond the file": (litert(pack("<Q", 24, 2**20)), "the header of .* lies beyond"),
    "LiteRT-LM: header without end": (litert(pack("<Q", 24, 2**63)), "its header claims to end at"),
    "LiteRT-LM: header before its start": (litert(pack("<Q", 24, 31)), "its header claims to end at 31"),
    "LiteRT-LM: root beyond the header": (litert(pack("<I", 32, 2**31)), "lies beyond its end"),
    "LiteRT-LM: section beyond the file": (
        lambda tmp_path: make.make_litertlm(tmp_path / "m.litertlm", beyond=1),
        "a section from .* is not within",
    ),
    "LiteRT-LM: cut off": (litert(cut), "a section from .* is not within"),
    "LiteRT-LM: graph of nothing": (litert(pack("<I", make.BLOCK_BYTES, 2**31 - 1)), "lies beyond its end"),
    # OpenVINO
    "OpenVINO: a constant beyond the weights": (constant(offset=257), "openvino_model.bin is truncated, or its"),
    "OpenVINO: an offset that wraps": (constant(offset=2**64 - 1024), "no number|truncated"),
    "OpenVINO: a constant smaller than its shape": (constant(size=1023), "a constant of shape .* has 1,023 bytes"),
    "OpenVINO: a shape that overflows": (constant(shape=",".join(["99999999999"] * 16)), "a constant of shape"),
    "OpenVINO: a shape of words": (constant(shape="a,b"), "shape is no list of sizes"),
    "OpenVINO: entities": (xml(make.make_xml([], before=BILLION)), "declares a document type"),
    "OpenVINO: entities from files": (xml(make.make_xml([], before=OUTSIDE)), "declares a document type"),
    "OpenVINO: nested without end": (xml(make.make_xml([], inside="<a>" * 100)), "nested too deeply"),
    "OpenVINO: no graph": (xml("<html><body/></html>"), "is a web page"),
    "OpenVINO: another document": (xml("<svg/>"), "begins with <svg>"),
    "OpenVINO: cut off": (xml(make.make_xml([])[:-5]), "no sound XML"),
    "OpenVINO: an encoding that is not read": (
        xml('<?xml version="1.0" encoding="x-none"?><net><layer type="Const"><data offset="x"/></layer></net>'),
        "a constant's offset is no number",
    ),
    # safetensors
    "safetensors: no header": (weights(b"{}"), "truncated or no safetensors"),
    "safetensors: header beyond the file": (weights(struct.pack("<Q", 2**63) + b"{}"), "truncated or no safetensors"),
    "safetensors: header is a list": (header("[]"), "damaged header"),
    "safetensors: nested without end": (header("[" * 100_000), "damaged header"),
    "safetensors: a number without end": (header(f'{{"w":{place(0, 10**30)}}}'), "damaged header"),
    "safetensors: overlap": (header(f'{{"a":{place(0, 8)},"b":{place(4, 12)}}}', 12), "begins at 4, not at 8|damaged"),
    "safetensors: a hole": (header(f'{{"a":{place(4, 12)}}}', 12), "damaged header"),
    "safetensors: shape and size differ": (header(f'{{"a":{place(0, 8, "[3]")}}}'), "damaged header"),
    "safetensors: negative": (header(f'{{"a":{place(0, 8, "[-2]")}}}'), "damaged header"),
    "safetensors: end before begin": (header(f'{{"a":{place(8, 0)}}}'), "damaged header"),
    "safetensors: unknown type": (header(f'{{"a":{place(0, 8, "[2]", "X")}}}'), "damaged header"),
    "safetensors: a name twice": (header(f'{{"a":{place(0, 8)},"a":{place(0, 8)}}}'), "damaged header"),
    # ONNX
    "ONNX: weights beyond their file": (graph(make.pack_onnx(offset="1")), r"model\.onnx\.data is truncated, or its"),
    "ONNX: weights beyond everything": (graph(make.pack_onnx(length="9" * 19)), "is truncated, or its graph lies"),
    "ONNX: weights at no number": (graph(make.pack_onnx(offset="-1")), "place in a file is no number"),
    "ONNX: weights elsewhere, deep inside": (graph(make.pack_onnx("../x", depth=3)), "names files outside its folder"),
    "ONNX: graphs without end": (graph(make.pack_onnx(depth=40)), "nested too deeply"),
    "ONNX: a field beyond the file": (graph(b"\x3a\xff\xff\xff\x7f"), "a field of .* lies beyond its end"),
    "ONNX: a number cut off": (graph(b"\x08\xff"), "a number is cut off"),
    "ONNX: no protobuf": (graph(b"\x0f\x0f"), "unknown kind 7"),
    "ONNX: more parts than any model": (graph(b"\x08\x01" * MOST_READINGS), "more parts than any model"),
    "ONNX: weights by a link": (linked, "a link out of its folder"),
    "ONNX: weights by a hard link": (hard_linked, "is a hard link"),
    "ONNX: a pipe as weights": (pipe_in_folder, r"incomplete: model\.onnx\.data missing"),
    "ONNX: layers beyond sense": (
        lambda tmp_path: make.make_onnx(tmp_path / "onnx", num_hidden_layers=2**40),
        "lacks what an ONNX Runtime GenAI model needs",
    ),
    # No models
    "a pipe": (pipe("m.gguf"), "is a pipe"),
    "a socket": (listen, "is a socket"),
    "a device": (lambda _: Path("/dev/zero"), "is a device"),
    "a program": (own_program, "may hold code"),
    "a pointer": (write("m.litertlm", POINTER), "is a Git LFS pointer"),
    "a part of a folder": (write("model.safetensors", make.make_safetensors()), "no model by itself"),
    "weights of a folder": (
        lambda tmp_path: make.make_openvino(tmp_path / "ov") / "openvino_model.bin",
        "no model by itself",
    ),
    "a picture": (write("m.png", b"\x89PNG" + bytes(20)), r"m\.png is no model"),
}


@pytest.mark.parametrize(("build", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_lies_or_is_no_model_is_refused_by_name(
    tmp_path: Path, build: Callable[[Path], Path], problem: str
) -> None:
    path = build(tmp_path)
    with pytest.raises(ModelFileError, match=problem):
        ask(path)


def test_the_cache_of_hugging_face_is_a_folder_of_links_and_is_read(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    (repository / "snapshots").mkdir(parents=True)
    folder = make.make_onnx(repository / "snapshots" / "0123")
    (repository / "blobs").mkdir()
    for file in list(folder.iterdir()):
        blob = repository / "blobs" / file.name
        file.rename(blob)
        file.symlink_to(blob)
    assert recognise(folder).format == "onnx"


def test_a_hint_names_the_model_inside(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    inner = make.make_openvino(tmp_path / "repo" / "int4")
    with pytest.raises(ModelFileError) as caught:
        recognise(tmp_path / "repo")
    assert caught.value.hint == f"Import the folder inside: `lf model import {inner}`."


def test_a_folder_with_more_files_than_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localfirst.store.formats.found.MOST_FILES", 20)
    for number in range(21):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(ModelFileError, match="too many files"):
        recognise(tmp_path)
    make_gguf(tmp_path / "m.gguf", "hello")
    assert recognise(tmp_path / "m.gguf").paths == ("m.gguf",)


def test_genai_config_names_files_at_any_place_within_reason(tmp_path: Path) -> None:
    folder = make.make_onnx(tmp_path / "onnx")
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["decoder"]["pipeline"] = [{"embeddings": {"filename": "other.onnx"}}]
    (folder / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"incomplete: other\.onnx missing"):
        recognise(folder)


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        ([], ("cpu",)),
        ([{"cuda": {"enable_cuda_graph": "0"}}], ("cuda",)),
        ([{"dml": {}}], ("directml",)),
        ([{"OpenVINO": {"device_type": "NPU"}}], ("openvino-gpu", "openvino-npu")),
        ("cuda", ("cpu",)),
        ([7, {"something-new": {}}], ("cpu",)),
    ],
)
def test_an_onnx_folder_says_what_it_was_made_for(tmp_path, options, devices):
    folder = make.make_onnx(tmp_path / "model", session_options={"provider_options": options})
    files = tuple(folder / name for name in recognise(folder).paths)
    assert tell("onnx", folder, files).devices == devices


def test_a_stage_of_an_onnx_model_says_what_it_was_made_for(tmp_path):
    stage = {"context": {"filename": "model.onnx", "session_options": {"provider_options": [{"qnn": {}}]}}}
    folder = make.make_onnx(tmp_path / "model", pipeline=[stage])
    files = tuple(folder / name for name in recognise(folder).paths)
    assert tell("onnx", folder, files).devices == ("qnn-npu",)

"""A GGUF header is read whole or refused by name: no length in it is trusted, and nothing but the refusal comes out."""

from __future__ import annotations

import io
import struct
import tracemalloc
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf as gguf_package
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localfirst.errors import ModelFileError
from localfirst.gguf import GgufHeader, Skipped, Tensor, describe_content, read_header
from localfirst.types import Architecture, KvGroup, RecurrentGroup

UINT8, INT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 0, 1, 4, 5, 6, 7, 8, 9, 10


def pack_text(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pack_key(key: str, type_id: int, value: bytes) -> bytes:
    return pack_text(key) + struct.pack("<I", type_id) + value


def pack_uint32(key: str, value: int) -> bytes:
    return pack_key(key, UINT32, struct.pack("<I", value))


def pack_string(key: str, value: str) -> bytes:
    return pack_key(key, STRING, pack_text(value))


def pack_array(key: str, type_id: int, count: int, items: bytes) -> bytes:
    return pack_key(key, ARRAY, struct.pack("<IQ", type_id, count) + items)


def pack_tensor(name: str | bytes, shape: tuple[int, ...], type_id: int = 0, offset: int = 0) -> bytes:
    return pack_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)


@dataclass
class File:
    """A GGUF file by hand, right until something is changed."""

    magic: bytes = b"GGUF"
    version: int = 3
    keys: list[bytes] = field(default_factory=list)
    tensors: list[bytes] = field(default_factory=list)
    data_bytes: int = 0
    alignment: int = 32
    key_count: int | None = None
    tensor_count: int | None = None

    def pack(self) -> bytes:
        key_count = len(self.keys) if self.key_count is None else self.key_count
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        head = self.magic + struct.pack("<IQQ", self.version, tensor_count, key_count)
        head += b"".join(self.keys) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment) + bytes(self.data_bytes)


def read(data: bytes) -> GgufHeader:
    return read_header(io.BytesIO(data), len(data))


@cache
def make_model() -> bytes:
    """A small real file of the `gguf` package's making, with a vocabulary and quantized tensors."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf_package.GGUFWriter(path, "llama")
        writer.add_name("tiny")
        writer.add_context_length(256)
        writer.add_embedding_length(32)
        writer.add_block_count(2)
        writer.add_feed_forward_length(64)
        writer.add_head_count(4)
        writer.add_head_count_kv([2, 1])
        writer.add_file_type(7)
        writer.add_bool("general.quantized", True)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_token_list([f"token {number}" for number in range(300)])
        writer.add_token_types([1] * 300)
        writer.add_tags(["text-generation", "en"])
        writer.add_chat_template("{{ messages[0].content }}")
        writer.add_tensor("token_embd.weight", np.ones((300, 32), np.float32))
        blocks = np.zeros((8, 34), np.uint8)
        writer.add_tensor("blk.0.attn_q.weight", blocks, raw_dtype=gguf_package.GGMLQuantizationType.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def test_a_written_model_is_read_back() -> None:
    header = read(make_model())
    assert header.version == 3
    assert header.architecture == "llama"
    assert header.template == "{{ messages[0].content }}"
    assert header.file_type == "Q8_0"
    assert header.metadata["general.quantized"] is True
    assert header.metadata["general.tags"] == ("text-generation", "en")
    assert header.tensors == (
        Tensor("token_embd.weight", (32, 300), "F32", 0, 300 * 32 * 4),
        Tensor("blk.0.attn_q.weight", (32, 8), "Q8_0", 38_400, 8 * 34),
    )
    assert (header.parameters, header.weights_bytes) == (308 * 32, 38_400 + 272)
    assert header.to_architecture() == Architecture(
        layers=2,
        hidden_size=32,
        heads=4,
        vocab_size=300,
        context_tokens=256,
        kv_groups=(KvGroup(1, 1, 8), KvGroup(1, 2, 8)),
        feed_forward_size=64,
        tied=True,
    )


def test_every_tensor_type_has_the_size_that_the_gguf_package_gives_it() -> None:
    for kind, (elements, size_bytes) in gguf_package.GGML_QUANT_SIZES.items():
        header = read(File(tensors=[pack_tensor("t", (elements, 3), int(kind))], data_bytes=3 * size_bytes).pack())
        assert header.tensors == (Tensor("t", (elements, 3), kind.name, 0, 3 * size_bytes),)


def test_every_file_type_has_the_name_that_the_gguf_package_gives_it() -> None:
    for kind in gguf_package.LlamaFileType:
        header = read(File(keys=[pack_uint32("general.file_type", kind)]).pack())
        expected = None if kind.name == "GUESSED" else kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        assert header.file_type == expected


def test_bitnets_private_type_is_known_with_its_tail() -> None:
    header = read(File(tensors=[pack_tensor("t", (256, 4), 36)], data_bytes=256 + 32).pack())
    assert header.tensors == (Tensor("t", (256, 4), "I2_S", 0, 288),)


def test_vocabularies_are_counted_and_not_kept() -> None:
    words = b"".join(pack_text(f"word {number}") for number in range(200_000))
    keys = [
        pack_array("tokenizer.ggml.tokens", STRING, 200_000, words),
        pack_array("tokenizer.ggml.token_type", INT32, 200_000, bytes(800_000)),
        pack_string("note", "x" * (2**20 + 1)),
        pack_uint32("after", 7),
    ]
    header = read(File(keys=keys).pack())
    assert dict(header.metadata) == {
        "tokenizer.ggml.tokens": Skipped("string", 200_000),
        "tokenizer.ggml.token_type": Skipped("int32", 200_000),
        "note": Skipped("string", 2**20 + 1),
        "after": 7,
    }
    assert header.to_architecture().vocab_size == 200_000


def test_empty_files_of_both_versions_and_other_alignments_are_read() -> None:
    assert read(File(version=2).pack()).version == 2
    aligned = File(
        keys=[pack_uint32("general.alignment", 1)],
        tensors=[pack_tensor("a", (3,), 24, 0), pack_tensor("b", (5,), 24, 3)],
        data_bytes=8,
        alignment=1,
    )
    assert [tensor.offset for tensor in read(aligned.pack()).tensors] == [0, 3]


ARCHITECTURE = pack_string("general.architecture", "llama")
# All that llama.cpp's `tests/test-gguf.cpp` writes to be refused (HANDCRAFTED_...), and what it does not think of.
BAD_FILES = {
    "bad magic": (File(magic=b"FUGG"), "Not a GGUF file but a file of no known format"),
    "version 0": (File(version=0), "has version 0"),
    "version 1": (File(version=1), "has version 1"),
    "future version": (File(version=4), "has version 4"),
    "big endian": (File(version=3 << 24), "big-endian"),
    "too many tensors": (File(tensor_count=2**64 - 1), "claims 18,446,744,073,709,551,615 tensors"),
    "more tensors than bytes": (File(tensor_count=2), "claims 2 tensors"),
    "too many keys": (File(key_count=2**63), "claims 9,223,372,036,854,775,808 metadata keys"),
    "keys missing": (File(keys=[pack_uint32("a" * 20, 1)], key_count=2), "the length of metadata key 1"),
    "key length beyond everything": (File(keys=[struct.pack("<Q", 2**64 - 1) + bytes(30)]), "claims a length of"),
    "key length beyond the file": (File(keys=[struct.pack("<Q", 9999) + bytes(30)]), "claims 9,999 bytes where"),
    "empty key": (File(keys=[pack_uint32("", 1)]), "claims a length of 0 bytes"),
    "key is not text": (File(keys=[pack_text(b"\xff\xfe") + bytes(12)]), "metadata key 0 is not text"),
    "duplicate key": (File(keys=[pack_uint32("k", 1), pack_uint32("k", 2)]), "`k` occurs twice"),
    "unknown value type": (File(keys=[pack_key("k", 13, bytes(9))]), "`k` has the unknown type 13"),
    "value cut off": (File(keys=[pack_key("k", UINT64, bytes(4))], alignment=1), "claims 8 bytes where 4 are left"),
    "string beyond the file": (File(keys=[pack_key("k", STRING, struct.pack("<Q", 2**62))]), "`k` claims 4,6"),
    "bool of 2": (File(keys=[pack_key("k", BOOL, b"\x02")]), "`k` is neither true nor false"),
    "array beyond the file": (File(keys=[pack_array("k", UINT32, 2**62, b"")]), "`k` claims 18,446"),
    "strings beyond the file": (File(keys=[pack_array("k", STRING, 2**61, b"")]), "`k` claims 18,446"),
    "a string of a list beyond the file": (
        File(keys=[pack_array("k", STRING, 5000, bytes(40_000 - 8) + struct.pack("<Q", 2**40))], alignment=1),
        "a string of `k` claims",
    ),
    "more strings than any vocabulary": (
        File(keys=[pack_array("k", STRING, 2**24 + 1, bytes(2**27 + 8))]),
        "`k` claims 16,777,217 strings, too many",
    ),
    "array of arrays": (File(keys=[pack_array("k", ARRAY, 1, bytes(20))]), "items of `k` have the unknown type 9"),
    "alignment of 13": (File(keys=[pack_uint32("general.alignment", 13)]), "is 13, not a power of two"),
    "alignment of 0": (File(keys=[pack_uint32("general.alignment", 0)]), "is 0, not a power of two"),
    "alignment of another type": (
        File(keys=[pack_key("general.alignment", INT32, struct.pack("<i", 32))]),
        "`general.alignment` is not a uint32",
    ),
    "layers beyond sense": (
        File(keys=[pack_string("general.architecture", "llama"), pack_uint32("llama.block_count", 2**32 - 1)]),
        "`llama.block_count` is not a number between 1 and 4,096",
    ),
    "embedding of no width": (
        File(keys=[pack_string("general.architecture", "llama"), pack_uint32("llama.embedding_length", 0)]),
        "`llama.embedding_length` is not a number",
    ),
    "layers that are text": (
        File(keys=[pack_string("general.architecture", "llama"), pack_string("llama.block_count", "many")]),
        "`llama.block_count` is not a number",
    ),
    "heads beyond sense, for one layer": (
        File(keys=[ARCHITECTURE, pack_array("llama.attention.head_count", UINT32, 2, struct.pack("<II", 8, 2**17))]),
        "`llama.attention.head_count` is not a number between 0 and 65,536",
    ),
    "heads of no whole number": (
        File(keys=[ARCHITECTURE, pack_key("llama.attention.head_count_kv", FLOAT32, struct.pack("<f", 8))]),
        "`llama.attention.head_count_kv` is not a number",
    ),
    "context of nothing": (File(keys=[ARCHITECTURE, pack_uint32("llama.context_length", 0)]), "`llama.context_length`"),
    "vocabulary beyond sense": (
        File(keys=[ARCHITECTURE, pack_key("llama.vocab_size", UINT64, struct.pack("<Q", 2**40))]),
        "`llama.vocab_size` is not a number between 1 and 2,147,483,648",
    ),
    "negative layers": (
        File(keys=[ARCHITECTURE, pack_key("llama.block_count", INT32, struct.pack("<i", -1))]),
        "`llama.block_count` is not a number",
    ),
    "rotation by no number": (
        File(keys=[ARCHITECTURE, pack_key("llama.rope.freq_base", FLOAT32, struct.pack("<f", float("nan")))]),
        "`llama.rope.freq_base` is not a number",
    ),
    "rotation without end": (
        File(keys=[ARCHITECTURE, pack_key("llama.rope.scaling.factor", FLOAT32, struct.pack("<f", float("inf")))]),
        "`llama.rope.scaling.factor` is not a number",
    ),
    "rotation of too many dimensions": (
        File(keys=[ARCHITECTURE, pack_uint32("llama.rope.dimension_count", 2**31)]),
        "`llama.rope.dimension_count` is not a number",
    ),
    "token beyond 32 bits": (
        File(keys=[pack_key("tokenizer.ggml.eos_token_id", UINT64, struct.pack("<Q", 2**32))]),
        "`tokenizer.ggml.eos_token_id` is not a number between -1 and 4,294,967,295",
    ),
    "token that is text": (File(keys=[pack_string("tokenizer.ggml.bos_token_id", "1")]), "is not a number between -1"),
    "padded size wraps (NBYTES_PAD_WRAP)": (
        File(tensors=[pack_tensor("t", (2**63 - 1,), 24)], data_bytes=64),
        "beyond the end of the file",
    ),
    "tensor name too long": (File(tensors=[pack_tensor("n" * 64, (1,))], data_bytes=4), "claims a length of 64 bytes"),
    "tensor name is not text": (File(tensors=[pack_tensor(b"\xc3\x28", (1,))], data_bytes=4), "is not text"),
    "no dimensions": (File(tensors=[pack_tensor("t", ())], data_bytes=64), "`t` claims 0 dimensions"),
    "five dimensions": (File(tensors=[pack_tensor("t", (1,) * 5)], data_bytes=64), "`t` claims 5 dimensions"),
    "zero dimension": (File(tensors=[pack_tensor("t", (4, 0))], data_bytes=64), "`t` claims the shape 4 x 0"),
    "negative dimension": (File(tensors=[pack_tensor("t", (2**64 - 1,))], data_bytes=64), "`t` claims the shape"),
    "elements overflow": (File(tensors=[pack_tensor("t", (2**32,) * 4)], data_bytes=64), "`t` claims the shape"),
    "elements wrap to few": (File(tensors=[pack_tensor("t", (2**62, 4, 1))], data_bytes=64), "`t` claims the shape"),
    "bytes overflow": (File(tensors=[pack_tensor("t", (2**62,), 27)], data_bytes=64), "beyond the end of the file"),
    "unknown tensor type": (File(tensors=[pack_tensor("t", (4,), 99)], data_bytes=64), "has the type 99"),
    "retired tensor type": (File(tensors=[pack_tensor("t", (4,), 4)], data_bytes=64), "has the type 4"),
    "not whole blocks": (File(tensors=[pack_tensor("t", (33,), 2)], data_bytes=64), "not whole blocks of 32 (Q4_0)"),
    "duplicate tensor": (
        File(tensors=[pack_tensor("t", (8,)), pack_tensor("t", (8,), 0, 32)], data_bytes=64),
        "tensor `t` occurs twice",
    ),
    "misaligned offset": (File(tensors=[pack_tensor("t", (1,), 0, 4)], data_bytes=64), "not aligned to 32 bytes"),
    "offset beyond the file": (File(tensors=[pack_tensor("t", (1,), 0, 2**63)], data_bytes=64), "beyond the end"),
    "not enough data": (File(tensors=[pack_tensor("t", (32,))], data_bytes=127), "beyond the end of the file"),
    "no data": (File(tensors=[pack_tensor("t", (1,))]), "beyond the end of the file"),
    "sizes that add up beyond everything": (
        File(tensors=[pack_tensor("a", (2**63 - 64,), 24), pack_tensor("b", (2**63 - 64,), 24, 2**63 - 64)]),
        "beyond the end of the file",
    ),
    "tensors that overlap": (
        File(tensors=[pack_tensor("a", (32,)), pack_tensor("b", (8,), 0, 32)], data_bytes=128),
        "tensors `a` and `b` overlap",
    ),
}


@pytest.mark.parametrize(("file", "problem"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_lies_is_refused_and_the_lie_is_named(file: File, problem: str) -> None:
    with pytest.raises(ModelFileError) as raised:
        read(file.pack())
    assert problem in raised.value.message


@pytest.mark.parametrize(
    ("head", "description"),
    [
        (b"", "an empty file"),
        (bytes(64), "nothing but zero bytes"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:",
            "a Git LFS pointer, not the file it points to",
        ),
        (b"\n  <!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<html><body>404", "an HTML page"),
        (b'\x40\0\0\0\0\0\0\0{"__metadata__"', "a safetensors file"),
        (b"PK\x03\x04\x14\0", "a zip archive (PyTorch weights are stored so)"),
        (b"MZqFpD='\n", "a llamafile: a program with its model inside"),
        (b"\x7fELF\x02\x01", "a Linux program"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX model"),
        (b"\x80\x02}q\0", "a Python pickle, which is never loaded"),
        (b"tjgg\x03\0\0\0", "a GGML file of 2023, from before GGUF"),
        (b"LITERTLM\x01", "a LiteRT-LM file"),
        (b'{"error": "Unauthorized"}', "JSON text"),
        (b"Entry not found", "text that starts with 'Entry not found'"),
        (b"\x00\x01\x02\xff\x1b[2J", "a file of no known format (it starts with 00 01 02 ff 1b 5b 32 4a)"),
    ],
)
def test_what_arrived_instead_is_named(head: bytes, description: str) -> None:
    assert describe_content(head) == description
    if description != "a GGUF file":
        with pytest.raises(ModelFileError, match=r"^Not a GGUF file but"):
            read(head)


@pytest.mark.parametrize("length", [0, 3, 4, 7, 8, 20, 23, 24, 30, 100, 2000])
def test_a_file_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ModelFileError):
        read(make_model()[:length])


def test_a_file_that_is_shorter_than_it_was_said_to_be_is_refused() -> None:
    data = File(keys=[pack_string("k", "value")]).pack()
    with pytest.raises(ModelFileError, match="cut off"):
        read_header(io.BytesIO(data[:40]), len(data))


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_model_gives_a_header_or_a_refusal(data: st.DataObject) -> None:
    mutated = bytearray(make_model())
    header_bytes = len(mutated) - 38_400 - 272
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, header_bytes))
        value = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, bytes(8), b"\x7f"]))
        mutated[at : at + len(value)] = value
    mutated = mutated[: data.draw(st.integers(0, len(mutated)) | st.just(len(mutated)))]
    tracemalloc.start()
    try:
        header = read(bytes(mutated))
    except ModelFileError:
        pass
    else:
        assert header.weights_bytes <= len(mutated)
        assert header.to_architecture().layers in {header.layers, None}
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 4 * 2**20


def test_hostile_metadata_stays_within_its_memory() -> None:
    words = b"".join(pack_text("") for _ in range(4096))
    keys = [pack_string(f"text {number}", "x" * 2**20) for number in range(40)]
    keys += [pack_array(f"list {number}", STRING, 4096, words) for number in range(3)]
    data = File(keys=keys).pack()
    tracemalloc.start()
    try:
        header = read(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = {key: value for key, value in header.metadata.items() if not isinstance(value, Skipped)}
    assert kept == {**{f"text {number}": "x" * 2**20 for number in range(15)}, "list 0": ("",) * 4096}
    assert header.metadata["text 39"] == Skipped("string", 2**20)
    assert header.metadata["list 2"] == Skipped("string", 4096)
    assert peak_bytes < 24 * 2**20


def pack_architecture(name: str, **numbers: int | list[int] | list[bool]) -> bytes:
    keys = [pack_string("general.architecture", name)]
    for key, value in numbers.items():
        full = f"{name}.{key.replace('__', '.')}"
        if isinstance(value, int):
            keys.append(pack_uint32(full, value))
        elif isinstance(value[0], bool):
            keys.append(pack_array(full, BOOL, len(value), bytes(value)))
        else:
            keys.append(pack_array(full, UINT32, len(value), struct.pack(f"<{len(value)}I", *value)))
    return File(keys=keys).pack()


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        pytest.param(
            pack_architecture(
                "llama", block_count=16, embedding_length=2048, attention__head_count=32, attention__head_count_kv=8
            ),
            (KvGroup(16, 8, 64),),
            id="Llama 3.2 1B",
        ),
        pytest.param(
            pack_architecture("gpt2", block_count=12, embedding_length=768, attention__head_count=12),
            (KvGroup(12, 12, 64),),
            id="every head its own keys",
        ),
        pytest.param(
            pack_architecture(
                "gemma3",
                block_count=26,
                embedding_length=1152,
                attention__head_count=4,
                attention__head_count_kv=1,
                attention__key_length=256,
                attention__value_length=256,
                attention__sliding_window=512,
            ),
            (KvGroup(4, 1, 256), KvGroup(22, 1, 256, 512)),
            id="Gemma 3 1B, windows by llama.cpp's rule",
        ),
        pytest.param(
            pack_architecture(
                "gpt-oss",
                block_count=24,
                embedding_length=2880,
                attention__head_count=64,
                attention__head_count_kv=8,
                attention__key_length=64,
                attention__value_length=64,
                attention__sliding_window=128,
            ),
            (KvGroup(12, 8, 64), KvGroup(12, 8, 64, 128)),
            id="gpt-oss 20B",
        ),
        pytest.param(
            pack_architecture(
                "gemma4",
                block_count=6,
                embedding_length=1536,
                attention__head_count=8,
                attention__head_count_kv=[1, 1, 2, 1, 1, 2],
                attention__key_length=512,
                attention__value_length=512,
                attention__key_length_swa=256,
                attention__value_length_swa=256,
                attention__sliding_window=512,
                attention__sliding_window_pattern=[True, True, False, True, True, False],
                attention__shared_kv_layers=2,
            ),
            (KvGroup(1, 2, 512), KvGroup(3, 1, 256, 512)),
            id="pattern in the file, two widths, shared caches",
        ),
        pytest.param(
            pack_architecture(
                "qwen3next",
                block_count=8,
                embedding_length=2048,
                attention__head_count=16,
                attention__head_count_kv=2,
                attention__key_length=256,
                attention__value_length=256,
                full_attention_interval=4,
            ),
            (KvGroup(2, 2, 256),),
            id="every fourth layer attends",
        ),
        pytest.param(
            pack_architecture(
                "granitehybrid",
                block_count=4,
                embedding_length=1536,
                attention__head_count=[0, 12, 0, 12],
                attention__head_count_kv=[0, 4, 0, 4],
            ),
            (KvGroup(2, 4, 128),),
            id="recurrent layers cache nothing",
        ),
        pytest.param(
            pack_architecture(
                "llama",
                block_count=4,
                embedding_length=256,
                attention__head_count=4,
                attention__sliding_window=128,
            ),
            (KvGroup(4, 4, 64),),
            id="a window that llama.cpp does not use is not counted",
        ),
        pytest.param(pack_architecture("clip", embedding_length=1024), (), id="no layers told"),
    ],
)
def test_caches_are_grouped_as_the_engine_allocates_them(data: bytes, groups: tuple[KvGroup, ...]) -> None:
    assert read(data).to_architecture().kv_groups == groups


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        pytest.param(
            pack_architecture(
                "qwen35",
                block_count=8,
                embedding_length=1024,
                attention__head_count=8,
                attention__head_count_kv=2,
                full_attention_interval=4,
                ssm__inner_size=2048,
                ssm__state_size=128,
                ssm__group_count=16,
                ssm__conv_kernel=4,
            ),
            (RecurrentGroup(6, 2048, 128, 16, 4),),
            id="all but every fourth layer",
        ),
        pytest.param(
            pack_architecture(
                "lfm2",
                block_count=3,
                embedding_length=1024,
                attention__head_count=16,
                attention__head_count_kv=[0, 0, 8],
                shortconv__l_cache=3,
            ),
            (RecurrentGroup(2, 1024, conv_kernel=3),),
            id="short convolutions",
        ),
        pytest.param(
            pack_architecture(
                "nemotron_h",
                block_count=4,
                embedding_length=4480,
                attention__head_count=40,
                attention__head_count_kv=[0, 0, 8, 0],
                feed_forward_length=[0, 15680, 0, 15680],
                ssm__inner_size=10240,
                ssm__state_size=128,
                ssm__group_count=8,
                ssm__conv_kernel=4,
            ),
            (RecurrentGroup(1, 10240, 128, 8, 4),),
            id="layers that only feed forward keep nothing",
        ),
        pytest.param(pack_architecture("llama", block_count=4, embedding_length=256), (), id="none"),
    ],
)
def test_recurrent_layers_keep_a_state(data: bytes, groups: tuple[RecurrentGroup, ...]) -> None:
    assert read(data).to_architecture().recurrent_groups == groups


def test_a_mixture_of_experts_counts_the_experts_that_one_token_passes() -> None:
    data = pack_architecture("qwen3moe", feed_forward_length=6144, expert_used_count=8, expert_feed_forward_length=1024)
    assert read(data).to_architecture().feed_forward_size == 8192


@pytest.mark.parametrize("value", [0, 31_999, 2**31, 2**32 - 1])
def test_a_token_that_the_vocabulary_lacks_is_the_engines_to_pass_over(value: int) -> None:
    header = read(File(keys=[pack_uint32("tokenizer.ggml.padding_token_id", value)]).pack())
    assert header.metadata["tokenizer.ggml.padding_token_id"] == value

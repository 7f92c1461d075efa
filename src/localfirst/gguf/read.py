"""Read the header of a GGUF file, strictly and in bounded memory.

Engines have trusted lengths and offsets in such files and read beyond their memory (CVE-2026-7482, CVE-2026-33298,
TALOS-2024-1912 to 1916). Here every length is compared with what is left of the file before anything is read, and
every tensor has to lie inside it. Source of the format: `docs/gguf.md` in ggml-org/ggml; of the limits:
`ggml/src/gguf.cpp` in ggml-org/llama.cpp.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Protocol

from localfirst.errors import ModelFileError
from localfirst.gguf.content import describe_content
from localfirst.gguf.header import GgufHeader, Skipped, Tensor
from localfirst.gguf.tables import HYPERPARAMETERS, TENSOR_TYPES, TOKEN_IDS, TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.gguf.header import Scalar, Value

VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_KEYS = 65_536
MAX_TENSORS = 131_072
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63
"""llama.cpp's `GGML_MAX_NAME`, less the terminator."""
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**63 - 1
MAX_STRINGS = 2**24
"""Strings in all lists, some 3 s to pass over: the largest vocabularies have 300,000, their merges twice that."""
KEPT_STRING_BYTES = 2**20
KEPT_ITEMS = 4096
KEPT_BYTES = 16 * 2**20
ITEM_BYTES = 64
"""Metadata beyond the first three is counted and not kept; each item counts as its bytes and what Python adds."""
CHUNK_BYTES = 2**20
TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class ScalarType:
    """A metadata type of fixed size."""

    name: str
    layout: struct.Struct


SCALAR_TYPES = {
    0: ScalarType("uint8", struct.Struct("<B")),
    1: ScalarType("int8", struct.Struct("<b")),
    2: ScalarType("uint16", struct.Struct("<H")),
    3: ScalarType("int16", struct.Struct("<h")),
    4: ScalarType("uint32", struct.Struct("<I")),
    5: ScalarType("int32", struct.Struct("<i")),
    6: ScalarType("float32", struct.Struct("<f")),
    7: ScalarType("bool", struct.Struct("<B")),
    10: ScalarType("uint64", struct.Struct("<Q")),
    11: ScalarType("int64", struct.Struct("<q")),
    12: ScalarType("float64", struct.Struct("<d")),
}
UINT32, BOOL, STRING, ARRAY, UINT64 = 4, 7, 8, 9, 10


class Source(Protocol):
    """A file that is open for bytes, or a part of one."""

    def seek(self, position: int, /) -> int:
        """Go on from there."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer at the end."""
        ...


def read_header(file: Source, size_bytes: int) -> GgufHeader:
    """Read and check a header, from the file's beginning; the weights are not read.

    Args:
        file: the file, opened for bytes; it has to seek.
        size_bytes: the file's size, which no part of it may exceed.

    Raises:
        ModelFileError: it is something else, or it is damaged or lies; the message names what is wrong.
    """
    return _Reader(file, size_bytes).read()


def read_vocabulary(file: Source, size_bytes: int) -> tuple[bytes, ...]:
    """The tokens of a vocabulary, in the order of their ids; none where the file has none.

    Raises:
        ModelFileError: as `read_header`.
    """
    reader = _VocabularyReader(file, size_bytes)
    reader.read()
    return tuple(reader.tokens)


class _Reader:
    """A bounded view of the file: it never reads more than a chunk ahead and never trusts a length."""

    def __init__(self, file: Source, size_bytes: int) -> None:
        self._file = file
        self._size = size_bytes
        self._buffer = b""
        self._start = 0
        self._at = 0
        self._kept = 0
        self._strings = 0

    def read(self) -> GgufHeader:
        self._file.seek(0)
        head = self._file.read(min(64, max(self._size, 0)))
        if head[:4] != b"GGUF":
            raise ModelFileError(f"Not a GGUF file but {describe_content(head)}")
        self._seek(4)
        version = self._take_number(UINT32, "the version")
        if version not in VERSIONS:
            self._refuse(_explain_version(version))
        tensor_count = self._take_count("tensors", least_bytes=32, most=MAX_TENSORS)
        key_count = self._take_count("metadata keys", least_bytes=13, most=MAX_KEYS)
        metadata, alignment = self._read_metadata(key_count)
        tensors = self._read_tensors(tensor_count)
        _check_hyperparameters(metadata)
        if tensors:
            data_start = -(-self._position // alignment) * alignment
            _check_extents(tensors, alignment, self._size - data_start)
        return GgufHeader(version, MappingProxyType(metadata), tensors)

    def _read_metadata(self, count: int) -> tuple[dict[str, Value], int]:
        metadata: dict[str, Value] = {}
        alignment = DEFAULT_ALIGNMENT
        for number in range(count):
            key = self._take_name(f"metadata key {number}", MAX_KEY_BYTES)
            if key in metadata:
                self._refuse(f"metadata key `{key}` occurs twice")
            if not self._keep(1, len(key)):
                self._refuse("its metadata keys are too long")
            type_id = self._take_number(UINT32, f"the type of `{key}`")
            metadata[key] = self._take_value(key, type_id)
            if key == "general.alignment":
                alignment = self._check_alignment(type_id, metadata[key])
        return metadata, alignment

    def _check_alignment(self, type_id: int, value: Value) -> int:
        if type_id != UINT32 or not isinstance(value, int):
            self._refuse("`general.alignment` is not a uint32")
        if value <= 0 or value & (value - 1):
            self._refuse(f"`general.alignment` is {value}, not a power of two")
        return value

    def _take_value(self, key: str, type_id: int) -> Value:
        if type_id == STRING:
            return self._take_string(key)
        if type_id == ARRAY:
            return self._take_array(key)
        if type_id not in SCALAR_TYPES:
            self._refuse(f"`{key}` has the unknown type {type_id}")
        return self._take_scalars(key, type_id, 1)[0]

    def _take_string(self, key: str) -> str | Skipped:
        length = self._take_number(UINT64, f"the length of `{key}`")
        self._expect(length, f"`{key}`")
        if length > KEPT_STRING_BYTES or not self._keep(1, length):
            self._seek(self._position + length)
            return Skipped("string", length)
        return self._take(length, f"`{key}`").decode("utf-8", "replace")

    def _take_array(self, key: str) -> tuple[Scalar, ...] | Skipped:
        type_id = self._take_number(UINT32, f"the item type of `{key}`")
        count = self._take_number(UINT64, f"the number of items of `{key}`")
        if type_id == STRING:
            return self._take_strings(key, count)
        if type_id not in SCALAR_TYPES:
            self._refuse(f"the items of `{key}` have the unknown type {type_id}")
        length = count * SCALAR_TYPES[type_id].layout.size
        self._expect(length, f"`{key}`")
        if count > KEPT_ITEMS or not self._keep(count, length):
            self._seek(self._position + length)
            return Skipped(SCALAR_TYPES[type_id].name, count)
        return self._take_scalars(key, type_id, count)

    def _take_strings(self, key: str, count: int) -> tuple[str, ...] | Skipped:
        self._expect(8 * count, f"`{key}`")
        self._strings += count
        if self._strings > MAX_STRINGS:
            self._refuse(f"`{key}` claims {count:,} strings, too many to be metadata")
        kept = self._kept
        if count > KEPT_ITEMS or not self._keep(count, 0):
            self._skip_strings(key, count)
            return Skipped("string", count)
        items = [self._take_string(key) for _ in range(count)]
        texts = tuple(item for item in items if isinstance(item, str))
        if len(texts) == count:
            return texts
        self._kept = kept
        return Skipped("string", count)

    def _skip_strings(self, key: str, count: int) -> None:
        """Pass over a vocabulary: 300,000 strings in some 50 ms, a chunk in memory at a time."""
        unpack_from = SCALAR_TYPES[UINT64].layout.unpack_from
        for _ in range(count):
            if self._at + 8 > len(self._buffer):
                self._fill(8, f"`{key}`")
            (length,) = unpack_from(self._buffer, self._at)
            self._at += 8
            if length > len(self._buffer) - self._at:
                self._expect(length, f"a string of `{key}`")
                self._seek(self._position + length)
            else:
                self._at += length

    def _take_scalars(self, key: str, type_id: int, count: int) -> tuple[Scalar, ...]:
        layout = SCALAR_TYPES[type_id].layout
        data = self._take(count * layout.size, f"`{key}`")
        values: tuple[Scalar, ...] = tuple(value for (value,) in layout.iter_unpack(data))
        if type_id != BOOL:
            return values
        if not set(values) <= {0, 1}:
            self._refuse(f"`{key}` is neither true nor false")
        return tuple(map(bool, values))

    def _keep(self, items: int, length: int) -> bool:
        """Whether there is room for so many items of so many bytes in all; takes the room."""
        cost = items * ITEM_BYTES + length
        if self._kept + cost > KEPT_BYTES:
            return False
        self._kept += cost
        return True

    def _read_tensors(self, count: int) -> tuple[Tensor, ...]:
        tensors: dict[str, Tensor] = {}
        for number in range(count):
            tensor = self._take_tensor(number)
            if tensor.name in tensors:
                self._refuse(f"tensor `{tensor.name}` occurs twice")
            tensors[tensor.name] = tensor
        return tuple(tensors.values())

    def _take_tensor(self, number: int) -> Tensor:
        name = self._take_name(f"the name of tensor {number}", MAX_NAME_BYTES)
        what = f"tensor `{name}`"
        dimensions = self._take_number(UINT32, what)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self._refuse(f"{what} claims {dimensions:,} dimensions")
        shape = tuple(self._take_number(UINT64, what) for _ in range(dimensions))
        elements = prod(shape)
        if not 0 < elements <= MAX_ELEMENTS:
            self._refuse(f"{what} claims the shape {' x '.join(map(str, shape))}")
        type_id = self._take_number(UINT32, what)
        kind = TENSOR_TYPES.get(type_id)
        if kind is None:
            self._refuse(f"{what} has the type {type_id}, which is unknown or retired")
        if shape[0] % kind.block_elements:
            self._refuse(f"{what} has rows of {shape[0]:,}, not whole blocks of {kind.block_elements} ({kind.name})")
        offset = self._take_number(UINT64, what)
        return Tensor(name, shape, kind.name, offset, _find_size(kind, elements))

    def _take_name(self, what: str, most_bytes: int) -> str:
        length = self._take_number(UINT64, f"the length of {what}")
        if not 1 <= length <= most_bytes:
            self._refuse(f"{what} claims a length of {length:,} bytes; 1 to {most_bytes:,} are allowed")
        try:
            return self._take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(f"{what} is not text")

    def _take_count(self, what: str, *, least_bytes: int, most: int) -> int:
        count = self._take_number(UINT64, f"the number of {what}")
        if count > most or count * least_bytes > self._size:
            self._refuse(f"it claims {count:,} {what}, too many for a file of {self._size:,} bytes")
        return count

    def _take_number(self, type_id: int, what: str) -> int:
        layout = SCALAR_TYPES[type_id].layout
        number: int = layout.unpack(self._take(layout.size, what))[0]
        return number

    @property
    def _position(self) -> int:
        return self._start + self._at

    def _take(self, length: int, what: str) -> bytes:
        if self._at + length > len(self._buffer):
            self._fill(length, what)
        data = self._buffer[self._at : self._at + length]
        self._at += length
        return data

    def _fill(self, length: int, what: str) -> None:
        """Have `length` bytes in the buffer; refuse where the file is shorter."""
        self._expect(length, what)
        start = self._position
        rest = self._buffer[self._at :]
        more = self._file.read(max(length - len(rest), min(CHUNK_BYTES, self._size - start - len(rest))))
        self._buffer, self._start, self._at = rest + more, start, 0
        if len(self._buffer) < length:
            self._refuse(f"{what} is cut off")

    def _seek(self, position: int) -> None:
        self._file.seek(position)
        self._buffer, self._start, self._at = b"", position, 0

    def _expect(self, length: int, what: str) -> None:
        left = self._size - self._position
        if length > left:
            self._refuse(f"{what} claims {length:,} bytes where {max(left, 0):,} are left")

    def _refuse(self, problem: str) -> NoReturn:
        raise _make_error(problem, f"at byte {self._position:,} of {self._size:,}")


class _VocabularyReader(_Reader):
    """Keeps the tokens, however many they are: 300,000 take 30 MB."""

    def __init__(self, file: Source, size_bytes: int) -> None:
        super().__init__(file, size_bytes)
        self.tokens: list[bytes] = []

    def _take_strings(self, key: str, count: int) -> tuple[str, ...] | Skipped:
        if key != TOKENS:
            return super()._take_strings(key, count)
        self._expect(8 * count, f"`{key}`")
        for number in range(count):
            length = self._take_number(UINT64, f"the length of token {number}")
            self.tokens.append(self._take(length, f"token {number}"))
        return Skipped("string", count)


def _make_error(problem: str, detail: str) -> ModelFileError:
    return ModelFileError(f"Damaged GGUF file: {problem}", detail=detail)


def _explain_version(version: int) -> str:
    if version & 0xFFFF == 0 and version:
        return "it was written for big-endian machines"
    return f"it has version {version}; {' and '.join(map(str, VERSIONS))} are known"


def _find_size(kind: TensorType, elements: int) -> int:
    return elements // kind.block_elements * kind.block_bytes + kind.tail_bytes


def _check_extents(tensors: Sequence[Tensor], alignment: int, data_bytes: int) -> None:
    end, previous = 0, ""
    for tensor in sorted(tensors, key=lambda one: (one.offset, one.name)):
        place = f"{tensor.size_bytes:,} bytes from {tensor.offset:,}, of {max(data_bytes, 0):,} bytes of data"
        if tensor.offset % alignment:
            raise _make_error(f"tensor `{tensor.name}` is not aligned to {alignment} bytes", place)
        if tensor.offset + tensor.size_bytes > data_bytes:
            raise _make_error(f"tensor `{tensor.name}` reaches beyond the end of the file", place)
        if tensor.offset < end:
            raise _make_error(f"tensors `{previous}` and `{tensor.name}` overlap", place)
        end, previous = tensor.offset + tensor.size_bytes, tensor.name


def _check_hyperparameters(metadata: Mapping[str, Value]) -> None:
    architecture = metadata.get("general.architecture")
    for suffix, bounds in HYPERPARAMETERS.items():
        key = f"{architecture}{suffix}"
        _check_range(key, metadata.get(key, bounds[0]), bounds)
    for key, value in metadata.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
            _check_range(key, value, TOKEN_IDS)


def _check_range(key: str, value: Value, bounds: tuple[float, float]) -> None:
    """Refuse a number, or one of a list, that is none or out of bounds. NaN is out of any."""
    least, most = bounds
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, bool) or not isinstance(one, type(least)) or not least <= one <= most:
            raise _make_error(f"`{key}` is not a number between {least:,} and {most:,}", f"{one!r}"[:80])

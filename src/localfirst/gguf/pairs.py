"""The metadata of a GGUF file as it is stored, so that it can be written again without being understood.

For files whose header `read_header` has taken: no length is doubted here. Source: `docs/gguf.md` in ggml-org/ggml.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from localfirst.gguf.read import ARRAY, SCALAR_TYPES, STRING
from localfirst.gguf.tables import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.gguf.header import Tensor
    from localfirst.gguf.read import Source

VERSION = 3
START = struct.Struct("<4sIQQ")
"""Magic, version, number of tensors, number of pairs."""
UINT32 = 4
_LENGTH = struct.Struct("<Q")
_TYPE = struct.Struct("<I")
_ARRAY = struct.Struct("<IQ")


class Pair(NamedTuple):
    """A key, the number of its type, and its value as it is stored."""

    key: str
    type_id: int
    value: bytes


class Stored(NamedTuple):
    """A file's metadata, and where its tensors' data begins, in bytes from the file's start."""

    pairs: tuple[Pair, ...]
    data_start: int


def read_pairs(file: Source, tensors: Iterable[Tensor], alignment: int) -> Stored:
    """The metadata of a file whose header has these tensors."""
    file.seek(0)
    _, _, _, count = START.unpack(file.read(START.size))
    end, pairs = START.size, []
    for _ in range(count):
        key = _read_string(file)
        (type_id,) = _TYPE.unpack(file.read(_TYPE.size))
        pair = Pair(key[_LENGTH.size :].decode(), type_id, _read_value(file, type_id))
        pairs.append(pair)
        end += len(key) + _TYPE.size + len(pair.value)
    end += sum(len(pack_tensor(tensor, 0)) for tensor in tensors)
    return Stored(tuple(pairs), pad(end, alignment))


def make_text(key: str, text: str) -> Pair:
    """A pair with a text."""
    return Pair(key, STRING, pack_string(text))


def make_number(key: str, number: int) -> Pair:
    """A pair with an unsigned number of 32 bits."""
    return Pair(key, UINT32, struct.pack("<I", number))


def pack_pair(pair: Pair) -> bytes:
    """A pair as it is stored."""
    return pack_string(pair.key) + _TYPE.pack(pair.type_id) + pair.value


def pack_tensor(tensor: Tensor, offset: int) -> bytes:
    """A tensor's description as it is stored, with its data at this offset."""
    sizes = tensor.shape
    type_id = next(number for number, kind in TENSOR_TYPES.items() if kind.name == tensor.type)
    return pack_string(tensor.name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, type_id, offset)


def pack_string(text: str) -> bytes:
    """A text as it is stored: its length in bytes, then those."""
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw


def pad(size: int, alignment: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // alignment) * alignment


def _read_string(file: Source) -> bytes:
    head = file.read(_LENGTH.size)
    return head + file.read(_LENGTH.unpack(head)[0])


def _read_value(file: Source, type_id: int) -> bytes:
    if type_id == STRING:
        return _read_string(file)
    if type_id != ARRAY:
        return file.read(SCALAR_TYPES[type_id].layout.size)
    head = file.read(_ARRAY.size)
    item_id, count = _ARRAY.unpack(head)
    if item_id == STRING:
        return head + b"".join(_read_string(file) for _ in range(count))
    return head + file.read(count * SCALAR_TYPES[item_id].layout.size)

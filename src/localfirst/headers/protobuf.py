"""Walk over protobuf messages in place. Source of the encoding: protobuf.dev, "Encoding"."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.headers.extent import Extent

_FIXED = {1: Struct("<Q"), 5: Struct("<I")}
_LENGTH_DELIMITED = 2
_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field: a number, or the place of its bytes."""

    number: int
    value: int
    """Of a number its value; of bytes their position in the message."""
    length: int | None
    """Of bytes; `None` for a number."""


def walk(message: Extent) -> Iterator[Field]:
    """The fields of a message, in the file's order; what is in them is not read.

    Raises:
        ModelFileError: it is no message.
    """
    at = 0
    while at < message.size_bytes:
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _read_varint(message, at)
            yield Field(number, value, None)
        elif wire == _LENGTH_DELIMITED:
            length, at = _read_varint(message, at)
            if length > message.size_bytes - at:
                message.refuse(f"a field of {length:,} bytes lies beyond its end", at)
            yield Field(number, at, length)
            at += length
        elif wire in _FIXED:
            yield Field(number, message.read_number(at, _FIXED[wire]), None)
            at += _FIXED[wire].size
        else:
            message.refuse(f"a field has the unknown kind {wire}", at)


def read_text(message: Extent, field: Field) -> str:
    """A field's text.

    Raises:
        ModelFileError: it is a number, or too long.
    """
    if field.length is None:
        message.refuse(f"field {field.number} is no text", 0)
    return message.read(field.value, field.length, "a text").decode("utf-8", "replace")


def find_message(message: Extent, field: Field) -> Extent:
    """The message in a field.

    Raises:
        ModelFileError: it is a number.
    """
    if field.length is None:
        message.refuse(f"field {field.number} is no message", 0)
    return message.part(field.value, field.length)


def read_numbers(message: Extent, field: Field) -> list[int]:
    """The numbers of a repeated field, packed or one by one.

    Raises:
        ModelFileError: they are cut off.
    """
    if field.length is None:
        return [field.value]
    packed, at, numbers = find_message(message, field), 0, []
    while at < packed.size_bytes:
        number, at = _read_varint(packed, at)
        numbers.append(number)
    return numbers


def _read_varint(message: Extent, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    data = message.read(at, min(_VARINT_BYTES, message.size_bytes - at))
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            break
    else:
        message.refuse("a number is cut off", at)
    return value & (2**64 - 1), at + index + 1

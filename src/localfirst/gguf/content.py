"""Say what a file is from its first bytes, so that an error can name what arrived instead of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file it points to"),
    (b"lmgg", "a GGML file of 2023, from before GGUF"),
    (b"fmgg", "a GGML file of 2023, from before GGUF"),
    (b"tjgg", "a GGML file of 2023, from before GGUF"),
    (b"LITERTLM", "a LiteRT-LM file"),
    (b"MZqFpD", "a llamafile: a program with its model inside"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"PK\x03\x04", "a zip archive (PyTorch weights are stored so)"),
    (b"\x80\x02", "a Python pickle, which is never loaded"),
    (b"\x80\x04", "a Python pickle, which is never loaded"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
)
MARKUP = (b"<!doctype html", b"<html", b"<head")
SAFETENSORS_HEADER_BYTES = 100_000_000
"""The largest header that the safetensors library accepts."""
ONNX_SECOND_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
"""What may follow `ir_version` in ONNX's `ModelProto`: a protobuf tag each, in the order of its fields."""
SHOWN_BYTES = 24


def describe_content(head: bytes) -> str:
    """What a file is, as it would stand after "is": `an HTML page`, `a Git LFS pointer, ...`.

    Args:
        head: its first bytes; 64 are enough.
    """
    for signature, text in SIGNATURES:
        if head.startswith(signature):
            return text
    for is_such, text in SHAPES:
        if is_such(head):
            return text
    start = head[:SHOWN_BYTES]
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return f"text that starts with {start.decode('ascii')!r}"
    return f"a file of no known format (it starts with {start[:8].hex(' ')})"


def _is_onnx(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in ONNX_SECOND_FIELDS


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= SAFETENSORS_HEADER_BYTES


SHAPES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: not head, "an empty file"),
    (lambda head: not head.strip(b"\0"), "nothing but zero bytes"),
    (lambda head: head.lstrip().lower().startswith(MARKUP), "an HTML page"),
    (lambda head: head.lstrip().startswith((b"{", b"[")), "JSON text"),
    (_is_safetensors, "a safetensors file"),
    (_is_onnx, "an ONNX model"),
)

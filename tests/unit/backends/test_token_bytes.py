from __future__ import annotations

import pytest

from localfirst.backends.token_bytes import read_token_bytes

ADDED = [
    {"id": 3, "content": "<|end|>", "special": True},
    {"id": 4, "content": "<think>", "special": False},
]


def tokenizer(decoder: object, vocabulary: object) -> dict[str, object]:
    return {"decoder": decoder, "added_tokens": ADDED, "model": {"vocab": vocabulary}}


BYTE_LEVEL = {"type": "ByteLevel"}
SENTENCEPIECE = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}


@pytest.mark.parametrize(
    ("decoder", "vocabulary", "expected"),
    [
        (BYTE_LEVEL, {"Ġhi": 0, "ÃŁ": 1, "Ċ": 2}, {0: b" hi", 1: b"\xc3\x9f", 2: b"\n"}),
        ({"type": "Sequence", "decoders": [BYTE_LEVEL]}, {"Ġ": 0}, {0: b" "}),
        (BYTE_LEVEL, {"漢": 0}, {0: "漢".encode()}),
        (SENTENCEPIECE, {"\u2581hi": 0, "<0x0A>": 1, "<0x0a": 2}, {0: b" hi", 1: b"\n", 2: b"<0x0a"}),
        ({"type": "Metaspace"}, [["\u2581a", -1.5], ["b", -2]], {0: b" a", 1: b"b"}),
    ],
    ids=["byte-level", "in a sequence", "no such byte", "SentencePiece", "Unigram"],
)
def test_tokens_stand_for_bytes(decoder: object, vocabulary: object, expected: dict[int, bytes]) -> None:
    assert read_token_bytes(tokenizer(decoder, vocabulary)) == expected | {3: b"", 4: b"<think>"}


@pytest.mark.parametrize("decoder", [None, {"type": "WordPiece"}])
def test_another_way_of_decoding_is_left_to_the_engine(decoder: object) -> None:
    assert read_token_bytes(tokenizer(decoder, {"a": 0})) is None

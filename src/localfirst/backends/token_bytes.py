"""The bytes that each token stands for, from a `tokenizer.json` of Hugging Face's tokenizers.

With them an answer is assembled byte by byte and no character is ever cut or lost: ONNX Runtime GenAI's own stream
drops up to three good characters after a byte that is not UTF-8.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SPACE = "\u2581"
"""How SentencePiece writes a space."""
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_DECODERS = frozenset({"ByteFallback", "Metaspace", "Replace"})


class Decoder(Protocol):
    """Turns tokens into text, whole characters at a time."""

    def feed(self, token: int) -> str:
        """The text that is complete with this token."""
        ...


class ByteDecoder:
    """Assembles characters from the bytes of the tokens.

    What is no UTF-8 becomes U+FFFD; a character that the end cuts off is left out, as llama.cpp does.
    """

    def __init__(self, token_bytes: Mapping[int, bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that is complete with this token."""
        return self._decoder.decode(self._token_bytes.get(token, b""))


class _SpecialDecoder:
    """Writes some special tokens out, and leaves the others to another decoder, which drops them."""

    def __init__(self, plain: Decoder, texts: Mapping[int, str]) -> None:
        self._plain, self._texts = plain, texts

    def feed(self, token: int) -> str:
        """The text that is complete with this token."""
        return self._texts.get(token) or self._plain.feed(token)


def find_special(special: Sequence[str], tokenize: Callable[[str], list[int]]) -> dict[int, str]:
    """The ids of those texts that are one token each."""
    tokens = {text: tokenize(text) for text in special}
    return {found[0]: text for text, found in tokens.items() if len(found) == 1}


def show_special(plain: Decoder, special: Sequence[str], tokenize: Callable[[str], list[int]]) -> Decoder:
    """A decoder that writes out those of `special` that are one token each."""
    texts = find_special(special, tokenize)
    return _SpecialDecoder(plain, texts) if texts else plain


def read_token_bytes(tokenizer: Mapping[str, Any]) -> dict[int, bytes] | None:
    """Token id -> bytes, special tokens standing for none; `None` for a way of decoding that is not known here.

    Two are in use: byte-level (GPT-2, Llama 3, Qwen, Phi-4) and SentencePiece with byte tokens (Llama 2, Phi-3,
    Gemma). Source: huggingface/tokenizers, `tokenizers/src/decoders`.
    """
    kinds = set(_find_decoders(tokenizer.get("decoder") or {}))
    if "ByteLevel" in kinds:
        alphabet = _make_alphabet()
        table = {number: _unspell(token, alphabet) for token, number in _find_vocabulary(tokenizer)}
    elif kinds & SPACE_DECODERS:
        table = {number: _unescape(token) for token, number in _find_vocabulary(tokenizer)}
    else:
        return None
    for token in tokenizer.get("added_tokens") or ():
        table[token["id"]] = b"" if token.get("special") else token["content"].encode()
    return table


def read_names(tokenizer: Mapping[str, Any]) -> dict[int, str]:
    """The special tokens by their ids."""
    return {token["id"]: token["content"] for token in tokenizer.get("added_tokens") or () if token.get("special")}


def make_speller(
    token_bytes: Mapping[int, bytes] | None, names: Mapping[int, str], decode: Callable[[list[int]], str]
) -> Callable[[int], bytes]:
    """What spells single tokens: special ones by their names, all others by their bytes.

    `decode` gives the text of tokens, where nobody knows the bytes.
    """

    def spell(token: int) -> bytes:
        if (name := names.get(token)) is not None:
            return name.encode()
        return decode([token]).encode() if token_bytes is None else token_bytes.get(token, b"")

    return spell


def _find_decoders(decoder: Mapping[str, Any]) -> Iterator[str]:
    if decoder.get("type") != "Sequence":
        yield str(decoder.get("type"))
    for part in decoder.get("decoders") or ():
        yield from _find_decoders(part)


def _find_vocabulary(tokenizer: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Tokens with their ids: a table (BPE), or a list of token and score (Unigram)."""
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    else:
        yield from ((token, number) for number, (token, _score) in enumerate(vocabulary))


def _make_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for.

    Source: `bytes_to_unicode` in openai/gpt-2, `src/encoder.py`: printable bytes are themselves, the others follow
    from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def _unspell(token: str, alphabet: Mapping[str, int]) -> bytes:
    try:
        return bytes([alphabet[character] for character in token])
    except KeyError:
        return token.encode()


def _unescape(token: str) -> bytes:
    if (match := BYTE_TOKEN.fullmatch(token)) is not None:
        return bytes.fromhex(match[1])
    return token.replace(SPACE, " ").encode()

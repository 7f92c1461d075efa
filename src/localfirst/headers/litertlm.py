"""LiteRT-LM files: a header that says which part of the file is what, then TFLite graphs, tokenizer and description.

Sources: google-ai-edge/LiteRT-LM, `schema/core/litertlm_header_schema.fbs`, `schema/core/litertlm_read.cc` and
`runtime/proto/llm_metadata.proto`; tensorflow, `compiler/mlir/lite/schema/schema.fbs`, for fields by their index.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.headers.flatbuffer import I32, U8, U32, U64, Table, read_root
from localfirst.headers.protobuf import find_message, read_numbers, read_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.headers.extent import Extent

MAGIC = b"LITERTLM"
MAJOR_VERSION = 1
MOST_HEADER_BYTES = 2**20
"""Headers have a few KB."""
MOST_SIZE = 2**31
MOST_SPECIALS_BYTES = 4 * 2**20
"""Special tokens stand first in a `tokenizer.json`; Gemma's 6,400 take 1.5 MB."""
CACHE = "kv_cache_k_"
PREFILL = "prefill"
_HEADER_START = 32
_PART_BYTES = 2**16
_TFLITE, _SENTENCEPIECE, _DESCRIPTION, _TOKENIZER_JSON = 3, 4, 5, 6
_MAIN_GRAPHS = ("tf_lite_prefill_decode", "tf_lite_decode", "tf_lite_prefill")


class Section(NamedTuple):
    """A part of the file."""

    kind: int
    begin: int
    end: int
    items: Mapping[str, str]
    """What the header says of it, as far as it is text."""


class Description(NamedTuple):
    """What a file says of prompts. Tokens are ids."""

    limit: int | None = None
    """Tokens that prompt and answer may have together."""
    template: str | None = None
    """The chat template, Jinja source."""
    start: int | None = None
    """The token before every prompt."""
    stops: tuple[int, ...] = ()
    """Tokens that end an answer, each by itself."""


def read_sections(file: Extent) -> tuple[Section, ...]:
    """The parts that the header names, each within the file.

    Raises:
        ModelFileError: the header is damaged, or of another version.
    """
    if file.read(0, len(MAGIC), "the magic number") != MAGIC:
        file.refuse("it does not begin with LITERTLM")
    version = file.read_number(8, U32, "the version")
    if version != MAJOR_VERSION:
        file.refuse(f"it has version {version}; {MAJOR_VERSION} is known", 8)
    end = file.read_number(24, U64, "the header's end")
    if not 0 < end - _HEADER_START <= MOST_HEADER_BYTES:
        file.refuse(f"its header claims to end at {end:,}", 24)
    parts = read_root(file.part(_HEADER_START, end - _HEADER_START, "the header")).table(1)
    sections = tuple(map(_parse_section, parts.tables(0))) if parts else ()
    for section in sections:
        if not end <= section.begin < section.end <= file.size_bytes:
            file.refuse(f"a section from {section.begin:,} to {section.end:,} is not within {file.size_bytes:,} bytes")
    return sections


def _parse_section(table: Table) -> Section:
    items = {pair.text(0) or "": value for pair in table.tables(0) if (value := _find_text(pair)) is not None}
    return Section(table.number(3, U8) or 0, table.number(1, U64) or 0, table.number(2, U64) or 0, items)


def _find_text(pair: Table) -> str | None:
    """The value of a KeyValuePair where it is text: a union's member 9, StringValue."""
    value = pair.table(2) if pair.number(1, U8) == 9 else None
    return value.text(0) if value else None


def read_graphs(file: Extent, sections: Sequence[Section]) -> tuple[TfLite, ...]:
    """The graphs, the one that answers first.

    Raises:
        ModelFileError: there is none, or one is damaged.
    """
    graphs = [section for section in sections if section.kind == _TFLITE]
    if not graphs:
        file.refuse("it has no graph")
    graphs.sort(key=lambda section: section.items.get("model_type") not in _MAIN_GRAPHS)
    return tuple(TfLite(file.part(one.begin, one.end - one.begin, "a graph")) for one in graphs)


def read_tokenizer(file: Extent, sections: Sequence[Section]) -> bytes:
    """The beginning of its `tokenizer.json`, as far as special tokens reach; empty for one of SentencePiece.

    Raises:
        ModelFileError: there is no tokenizer, or one that does not unpack: engines die of it.
    """
    if not {section.kind for section in sections} & {_SENTENCEPIECE, _TOKENIZER_JSON}:
        file.refuse("it has no tokenizer")
    texts = [
        _unpack(file.part(section.begin, section.end - section.begin, "the tokenizer"))
        for section in sections
        if section.kind == _TOKENIZER_JSON
    ]
    return b"".join(texts[:1])


def _unpack(section: Extent) -> bytes:
    """A length, then so many bytes, packed by zlib with their checksum. Of the bytes the first are kept."""
    left, unpacker = section.read_number(0, U64, "the tokenizer's length"), zlib.decompressobj()
    at, kept = U64.size, bytearray()
    try:
        while not unpacker.eof and at < section.size_bytes:
            data = section.read(at, min(_PART_BYTES, section.size_bytes - at), "the tokenizer")
            at += len(data)
            while data and left >= 0:
                part = unpacker.decompress(data, _PART_BYTES)
                kept += part[: MOST_SPECIALS_BYTES - len(kept)]
                left -= len(part)
                data = unpacker.unconsumed_tail
    except zlib.error as error:
        section.refuse(f"its tokenizer does not unpack: {error}")
    if not unpacker.eof or left:
        section.refuse("its tokenizer does not unpack to the length that it says")
    return bytes(kept)


def find_cells(graph: TfLite) -> int | None:
    """Tokens of the cache that a graph was exported with."""
    shapes = [shape for name, shape in graph.named.items() if name.startswith(CACHE) and len(shape) == 4]
    return max((max(shape) for shape in shapes), default=0) or None


def find_prefills(graph: TfLite) -> tuple[int, ...]:
    """The lengths of the pieces that a graph can read a prompt in, shortest first."""
    lengths = {
        shape[1]
        for key, named in graph.signatures.items()
        if key.startswith(PREFILL)
        for name, shape in named.items()
        if name in {"tokens", "embeddings"} and len(shape) > 1 and shape[1] > 0
    }
    return tuple(sorted(lengths))


def read_description(file: Extent, sections: Sequence[Section]) -> Description:
    """The description; nothing is known where there is none.

    Raises:
        ModelFileError: it is damaged.
    """
    for section in sections:
        if section.kind == _DESCRIPTION:
            return _parse_description(file.part(section.begin, section.end - section.begin, "the description"))
    return Description()


def _parse_description(message: Extent) -> Description:
    told, affixes, stops = Description(), None, list[int]()
    for field in walk(message):
        if field.number == 5 and field.length is None and 0 < field.value < MOST_SIZE:
            told = told._replace(limit=field.value)
        elif field.length is None:
            continue
        elif field.number == 1:
            told = told._replace(start=_find_token(find_message(message, field)))
        elif field.number == 2 and (stop := _find_token(find_message(message, field))) is not None:
            stops.append(stop)
        elif field.number == 3:
            affixes = find_message(message, field)
        elif field.number == 7:
            told = told._replace(template=read_text(message, field))
    if told.template is None and affixes is not None:
        told = told._replace(template=_write_template(affixes))
    return told._replace(stops=tuple(stops))


def _find_token(union: Extent) -> int | None:
    """The token of a TokenUnion, where it is one id; a text or several ids are known to the engine alone."""
    for field in walk(union):
        if field.number == 1:
            ids = find_message(union, field)
            numbers = [number for one in walk(ids) if one.number == 1 for number in read_numbers(ids, one)]
            return numbers[0] if len(numbers) == 1 else None
    return None


def _write_template(affixes: Extent) -> str:
    """The Jinja template of an older file, which has only what stands before and after each role's text."""
    texts = {role: _read_affixes(affixes, number) for role, number in (("user", 1), ("assistant", 2), ("system", 3))}
    cases = "".join(
        f"{{% elif message['role'] == {role!r} %}}{{{{ {prefix!r} + message['content'] + {suffix!r} }}}}"
        for role, (prefix, suffix) in texts.items()
    )
    turns = f"{{% for message in messages %}}{cases.replace('elif', 'if', 1)}{{% endif %}}{{% endfor %}}"
    return turns + f"{{% if add_generation_prompt %}}{{{{ {texts['assistant'][0]!r} }}}}{{% endif %}}"


def _read_affixes(affixes: Extent, role: int) -> tuple[str, str]:
    found = {1: "", 2: ""}
    for field in walk(affixes):
        if field.number == role:
            pair = find_message(affixes, field)
            found |= {one.number: read_text(pair, one) for one in walk(pair) if one.number in found}
    return found[1], found[2]


class Tensor(NamedTuple):
    """What a graph says of a tensor: its shape, its `TensorType`, and which buffer has its numbers."""

    shape: tuple[int, ...]
    kind: int
    buffer: int


class TfLite:
    """A TFLite model: its signatures' inputs and outputs, and the shapes of its weights.

    `signatures` has the shapes of each, by name; `named` those of all together.
    """

    def __init__(self, model: Extent) -> None:
        self._model = model
        root = read_root(model)
        full = [self._has_data(buffer) for buffer in root.tables(4)]
        graphs = [[self._parse_tensor(one) for one in graph.tables(0)] for graph in root.tables(2)]
        tensors = {one.buffer: one for graph in graphs for one in graph if one.buffer < len(full)}
        self.weights = [tensor for buffer, tensor in tensors.items() if full[buffer]]
        if any(prod(tensor.shape) > 8 * model.size_bytes for tensor in self.weights):
            model.refuse("a tensor has more numbers than its section has bits")
        self.signatures = {key: dict(named) for key, named in self._find_signatures(root, graphs)}
        self.named = {name: shape for named in self.signatures.values() for name, shape in named.items()}

    def _has_data(self, buffer: Table) -> bool:
        """Whether it has weights: in the graph, or (`offset` and `size`) behind it. Their places are checked."""
        inside = buffer.length(0)
        offset, size = buffer.number(1, U64) or 0, buffer.number(2, U64) or 0
        if max(inside, offset + size) > self._model.size_bytes:
            self._model.refuse(f"weights of {inside or size:,} bytes from {offset:,} lie beyond their section")
        return bool(inside or size > 1)  # an offset and a size of 1 stand for none

    def _parse_tensor(self, table: Table) -> Tensor:
        shape = table.numbers(0, I32)
        if len(shape) > 16:
            self._model.refuse(f"a tensor has {len(shape):,} dimensions")
        return Tensor(tuple(max(0, size) for size in shape), table.number(1, U8) or 0, table.number(2, U32) or 0)

    def _find_signatures(
        self, root: Table, graphs: list[list[Tensor]]
    ) -> Iterator[tuple[str, Iterator[tuple[str, tuple[int, ...]]]]]:
        for signature in root.tables(7):
            number = signature.number(4, U32) or 0
            graph = graphs[number] if number < len(graphs) else []
            yield signature.text(2) or "", self._find_named(signature, graph)

    def _find_named(self, signature: Table, graph: list[Tensor]) -> Iterator[tuple[str, tuple[int, ...]]]:
        for field in (0, 1):
            for entry in signature.tables(field):
                index = entry.number(1, U32) or 0
                if index < len(graph):
                    yield entry.text(0) or "", graph[index].shape

"""LiteRT-LM files: a header that says which part of the file is what, then TFLite graphs, tokenizer and description.

Sources: google-ai-edge/LiteRT-LM, `schema/core/litertlm_header_schema.fbs`, `schema/core/litertlm_read.cc` and
`runtime/proto/llm_metadata.proto`; tensorflow, `compiler/mlir/lite/schema/schema.fbs`, for fields by their index.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.store.builds import find_precision
from localfirst.store.formats.extent import Extent, open_extent
from localfirst.store.formats.flatbuffer import I32, U8, U32, U64, Table, read_root
from localfirst.store.formats.found import Found, Told, read_head
from localfirst.store.formats.protobuf import walk
from localfirst.types import Architecture, KvGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MAGIC = b"LITERTLM"
MAJOR_VERSION = 1
MOST_HEADER_BYTES = 2**20
"""Headers have a few KB."""
MOST_SIZE = 2**31
_HEADER_START = 32
_TFLITE, _SENTENCEPIECE, _DESCRIPTION, _TOKENIZER_JSON = 3, 4, 5, 6
_MAIN_GRAPHS = ("tf_lite_prefill_decode", "tf_lite_decode", "tf_lite_prefill")
_CACHE = "kv_cache_k_"
# Of `TensorType`, what weights are.
_PRECISIONS = {0: "fp32", 1: "fp16", 3: "int8", 9: "int8", 17: "int4"}


class Section(NamedTuple):
    """A part of the file."""

    kind: int
    begin: int
    end: int
    items: Mapping[str, str]
    """What the header says of it, as far as it is text."""


class Graph(NamedTuple):
    """What a TFLite graph says of the model."""

    parameters: int
    precision: str | None
    architecture: Architecture
    cells: int | None
    """Tokens of the cache that it was exported with."""


def find(path: Path) -> Found:
    """The model that a file is.

    Raises:
        ModelFileError: damaged, or no language model.
        OSError: it cannot be read.
    """
    read_head(path)
    with open_extent(path, "LiteRT-LM file") as file:
        sections = read_sections(file)
        kinds = {section.kind for section in sections}
        if _TFLITE not in kinds:
            file.refuse("it has no graph")
        if not kinds & {_SENTENCEPIECE, _TOKENIZER_JSON}:
            file.refuse("it has no tokenizer")
        precision = _read_graph(file, sections).precision
    return Found("litertlm", path.parent, (path.name,), precision or find_precision(path.name))


def tell(main: Path, _: Sequence[Path]) -> Told:
    """What header, description and graph tell.

    Raises:
        ModelFileError: it is damaged.
        OSError: it cannot be read.
    """
    with open_extent(main, "LiteRT-LM file") as file:
        sections = read_sections(file)
        graph = _read_graph(file, sections)
        limit = _read_limit(file, sections)
    cells = graph.cells or limit
    return Told(graph.architecture._replace(context_tokens=cells), parameters=graph.parameters, context_tokens=cells)


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


def _read_limit(file: Extent, sections: Sequence[Section]) -> int | None:
    """`max_num_tokens` of the description."""
    for section in sections:
        if section.kind == _DESCRIPTION:
            for field in walk(file.part(section.begin, section.end - section.begin, "the description")):
                if field.number == 5 and field.length is None and 0 < field.value < MOST_SIZE:
                    return field.value
    return None


def _read_graph(file: Extent, sections: Sequence[Section]) -> Graph:
    """The graph that answers, with the weights of all graphs."""
    graphs = [section for section in sections if section.kind == _TFLITE]
    graphs.sort(key=lambda section: section.items.get("model_type") not in _MAIN_GRAPHS)
    read = [_TfLite(file.part(one.begin, one.end - one.begin, "a graph")) for one in graphs]
    weights = [tensor for graph in read for tensor in graph.weights]
    return _describe(read[0], weights)


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    buffer: int


class _TfLite:
    """A TFLite model: its signatures' inputs and outputs, and the shapes of its weights."""

    def __init__(self, model: Extent) -> None:
        self._model = model
        root = read_root(model)
        full = [self._has_data(buffer) for buffer in root.tables(4)]
        graphs = [[self._parse_tensor(one) for one in graph.tables(0)] for graph in root.tables(2)]
        tensors = {one.buffer: one for graph in graphs for one in graph if one.buffer < len(full)}
        self.weights = [tensor for buffer, tensor in tensors.items() if full[buffer]]
        if any(prod(tensor.shape) > 8 * model.size_bytes for tensor in self.weights):
            model.refuse("a tensor has more numbers than its section has bits")
        self.named = dict(self._find_named(root, graphs))

    def _has_data(self, buffer: Table) -> bool:
        """Whether it has weights: in the graph, or (`offset` and `size`) behind it. Their places are checked."""
        inside = buffer.length(0)
        offset, size = buffer.number(1, U64) or 0, buffer.number(2, U64) or 0
        if max(inside, offset + size) > self._model.size_bytes:
            self._model.refuse(f"weights of {inside or size:,} bytes from {offset:,} lie beyond their section")
        return bool(inside or size > 1)  # an offset and a size of 1 stand for none

    def _parse_tensor(self, table: Table) -> _Tensor:
        shape = table.numbers(0, I32)
        if len(shape) > 16:
            self._model.refuse(f"a tensor has {len(shape):,} dimensions")
        return _Tensor(tuple(max(0, size) for size in shape), table.number(1, U8) or 0, table.number(2, U32) or 0)

    def _find_named(self, root: Table, graphs: list[list[_Tensor]]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Shapes of the inputs and outputs of all signatures, by name."""
        for signature in root.tables(7):
            number = signature.number(4, U32) or 0
            graph = graphs[number] if number < len(graphs) else []
            for field in (0, 1):
                for entry in signature.tables(field):
                    index = entry.number(1, U32) or 0
                    if index < len(graph):
                        yield entry.text(0) or "", graph[index].shape


def _describe(graph: _TfLite, tensors: Sequence[_Tensor]) -> Graph:
    weights = [tensor.shape for tensor in tensors]
    kinds = Counter[int]()
    for tensor in tensors:
        kinds[tensor.kind] += prod(tensor.shape)
    caches = [shape for name, shape in graph.named.items() if name.startswith(_CACHE) and len(shape) == 4]
    cells = max((max(shape) for shape in caches), default=0)
    groups = Counter(_find_heads(shape, cells) for shape in caches)
    head_dim = max((width for _, width in groups), default=0)
    vocabulary = graph.named.get("logits", (0,))[-1:]
    hidden = _find_hidden(graph, weights, vocabulary[0] if vocabulary else 0)
    attention, feed_forward = _find_widths(weights, hidden, len(caches))
    return Graph(
        kinds.total(),
        _PRECISIONS.get(max(kinds, key=lambda kind: kinds[kind], default=-1)),
        Architecture(
            layers=len(caches) or None,
            hidden_size=hidden or None,
            heads=attention // head_dim or None if head_dim else None,
            vocab_size=(vocabulary[0] if vocabulary else 0) or None,
            kv_groups=tuple(KvGroup(layers, *shape) for shape, layers in sorted(groups.items())),
            feed_forward_size=feed_forward or None,
        ),
        cells or None,
    )


def _find_heads(shape: tuple[int, ...], cells: int) -> tuple[int, int]:
    """Heads and their width, from what is left of a cache's shape without the batch and the cells."""
    left = list(shape[1:])
    if cells not in left:
        return left[0], left[-1]
    left.remove(cells)
    return left[0], left[1]


def _find_hidden(graph: _TfLite, weights: Sequence[tuple[int, ...]], vocabulary: int) -> int:
    """Width of the layers: of the embedding, a table of `vocabulary` rows, or of the input that stands for it."""
    tables = [shape[1] for shape in weights if len(shape) == 2 and shape[0] == vocabulary]
    inputs = graph.named.get("embeddings", ())
    return max(tables, default=0) or (inputs[-1] if inputs else 0)


def _find_widths(weights: Sequence[tuple[int, ...]], hidden: int, layers: int) -> tuple[int, int]:
    """Widths of attention and of the feed-forward layer: what each layer has a matrix back to `hidden` from.

    The feed-forward layer is the wider one in every published model of this format.
    """
    counts = Counter(shape[1] for shape in weights if len(shape) == 2 and shape[0] == hidden)
    widths = sorted(width for width, count in counts.items() if layers and count >= layers)
    return (widths[0], widths[-1]) if len(widths) > 1 else (0, 0)

"""LiteRT-LM files in the store: which model one is, and what it tells of itself."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.headers.extent import Extent, open_extent
from localfirst.headers.litertlm import (
    CACHE,
    MAGIC,
    Section,
    Tensor,
    TfLite,
    find_cells,
    read_description,
    read_graphs,
    read_sections,
    read_tokenizer,
)
from localfirst.store.builds import find_precision
from localfirst.store.formats.found import Found, Told, read_head
from localfirst.types import Architecture, KvGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MAGIC", "find", "tell"]

# Of `TensorType`, what weights are.
_PRECISIONS = {0: "fp32", 1: "fp16", 3: "int8", 9: "int8", 17: "int4"}


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
        precision = _read_graph(file, sections).precision
        read_tokenizer(file, sections)
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
        limit = read_description(file, sections).limit
    cells = graph.cells or limit
    return Told(graph.architecture._replace(context_tokens=cells), parameters=graph.parameters, context_tokens=cells)


def _read_graph(file: Extent, sections: Sequence[Section]) -> Graph:
    """The graph that answers, with the weights of all graphs."""
    graphs = read_graphs(file, sections)
    return _describe(graphs[0], [tensor for graph in graphs for tensor in graph.weights])


def _describe(graph: TfLite, tensors: Sequence[Tensor]) -> Graph:
    weights = [tensor.shape for tensor in tensors]
    kinds = Counter[int]()
    for tensor in tensors:
        kinds[tensor.kind] += prod(tensor.shape)
    caches = [shape for name, shape in graph.named.items() if name.startswith(CACHE) and len(shape) == 4]
    cells = find_cells(graph) or 0
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


def _find_hidden(graph: TfLite, weights: Sequence[tuple[int, ...]], vocabulary: int) -> int:
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

"""Folders for ONNX Runtime GenAI: `genai_config.json`, the graphs that it names, and the files of their weights.

Sources: onnxruntime-genai's configuration reference; onnx, `onnx/onnx.proto`, for the numbers of fields.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.headers.extent import Extent, open_extent
from localfirst.headers.protobuf import Field, find_message, read_numbers, read_text, walk
from localfirst.store.builds import find_precision
from localfirst.store.formats.found import Found, Told, check_named, keep_inert, read_head, read_json
from localfirst.types import Architecture, KvGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MARKER = "genai_config.json"
_PROVIDERS = {
    "cuda": ("cuda",),
    "dml": ("directml",),
    "nvtensorrtrtx": ("trt-rtx",),
    "openvino": ("openvino-gpu", "openvino-npu"),
    "qnn": ("qnn-npu",),
    "vitisai": ("vitis-npu",),
    "webgpu": ("webgpu",),
}
"""Execution providers, by what a catalog calls the devices that they are for. A folder for CPUs names none. Source:
microsoft/onnxruntime-genai, `src/python/py/models/builders/base.py`, `make_genai_config`."""
MOST_DEPTH = 24
"""Messages within messages: a graph within a graph is three deeper, and exporters make two at most."""
MOST = 2**31
MOST_DIMENSIONS = 32
DEFAULT_BITS = 4
MOST_ELEMENTS = 2**63
# Where a graph's tensors are, from each kind of message: {field: kind of the message in it}.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION = range(7)
_INSIDE: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
}
_OPERATOR, _INPUT, _ATTRIBUTES = 4, 1, 5
_BLOCKS = "MatMulNBits"
# Inputs that are no parameters: scales and zero points, tables of angles. Source: microsoft/onnxruntime,
# `docs/ContribOperators.md`, as for the attributes K, N and bits of a matrix in blocks.
_COMPANIONS = {_BLOCKS: slice(2, 4), "GroupQueryAttention": slice(7, 9), "RotaryEmbedding": slice(2, 4)}


class External(NamedTuple):
    """A tensor's place in a file beside the graph."""

    location: str
    offset: int
    length: int


class Graph(NamedTuple):
    """What a graph says of its weights."""

    external: tuple[External, ...]
    parameters: int
    bits: int | None
    """Of most numbers in matrices that are stored in blocks; `None` where there are none such."""


def find(folder: Path, names: frozenset[str]) -> Found:
    """The model in a folder that has these files.

    Raises:
        ModelFileError: damaged, incomplete, or it names files elsewhere.
        OSError: it cannot be read.
    """
    config = read_json(folder / MARKER)
    graphs = set(_find_filenames(config.get("model")))
    if not graphs:
        raise ModelFileError("genai_config.json names no model file", detail=str(folder))
    check_named(folder, graphs | {"tokenizer.json"}, names)
    read = [read_graph(folder / name) for name in sorted(graphs) if name.endswith(".onnx")]
    external = [one for graph in read for one in graph.external]
    data = {one.location for one in external}
    check_named(folder, data, names)
    files = tuple(sorted({*keep_inert(names, "onnx"), *data}))
    for name in files:
        read_head(folder / name)
    _check_external(folder, external)
    precision = next((f"int{graph.bits}" for graph in read if graph.bits), None)
    return Found("onnx", folder, files, precision or find_precision(str(folder)))


def tell(main: Path, files: Sequence[Path]) -> Told:
    """What configuration and graphs tell.

    Raises:
        ModelFileError: they are damaged, or the configuration lacks what such a model needs.
        OSError: they cannot be read.
    """
    config = read_json(main / MARKER)
    graphs = [read_graph(file) for file in files if file.name.endswith(".onnx")]
    return Told(
        parse_genai_config(config),
        parameters=sum(graph.parameters for graph in graphs) or None,
        devices=tuple(sorted(_find_devices(config)) or ("cpu",)),
    )


def _find_devices(value: object) -> set[str]:
    """What the execution providers compute on that a configuration names, of the model or of a stage of it."""
    if isinstance(value, list):
        return {device for item in value for device in _find_devices(item)}
    if not isinstance(value, dict):
        return set()
    named = value.get("provider_options")
    providers = [name for one in named if isinstance(one, dict) for name in one] if isinstance(named, list) else []
    own = {device for name in providers for device in _PROVIDERS.get(name.lower(), ())}
    return own | {device for item in value.values() for device in _find_devices(item)}


def parse_genai_config(config: Mapping[str, object]) -> Architecture:
    """The architecture in a `genai_config.json`.

    Raises:
        ModelFileError: it is no such configuration.
    """
    try:
        model = _Section(config["model"])
        decoder = _Section(model.values["decoder"])
        return Architecture(
            layers=decoder.number("num_hidden_layers"),
            hidden_size=decoder.number("hidden_size"),
            heads=decoder.number("num_attention_heads"),
            vocab_size=model.number("vocab_size"),
            context_tokens=model.number("context_length"),
            kv_groups=(
                KvGroup(
                    decoder.number("num_hidden_layers"),
                    decoder.number("num_key_value_heads"),
                    decoder.number("head_size"),
                ),
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            "`genai_config.json` lacks what an ONNX Runtime GenAI model needs", detail=repr(error)[:200]
        ) from error


class _Section:
    def __init__(self, values: object) -> None:
        if not isinstance(values, dict):
            raise TypeError("a section is no object")
        self.values = values

    def number(self, key: str) -> int:
        value = self.values[key]
        if type(value) is not int or not 0 < value <= MOST:
            raise ValueError(f"`{key}` is not a number between 1 and {MOST:,}")
        return value


def _find_filenames(value: object, depth: int = 0) -> Iterator[str]:
    """The files that genai_config.json names: every `filename` and `config_filename` under `model`."""
    if depth > MOST_DEPTH:
        raise ModelFileError("genai_config.json is nested too deeply")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if key in {"filename", "config_filename"} and isinstance(one, str):
            yield one
        else:
            yield from _find_filenames(one, depth + 1)


def _check_external(folder: Path, external: Sequence[External]) -> None:
    """Refuse tensors beyond the end of their file, and a file that has another name elsewhere.

    Engines that read the graph would be made to read any file of the user's (CVE-2026-34446); `onnx.load` refuses hard
    links too, ONNX Runtime does not.
    """
    places = {one.location: (folder / one.location).stat() for one in external}
    for location, place in places.items():
        if place.st_nlink > 1:
            raise ModelFileError(
                f"{location} is a hard link: the same file has another name elsewhere",
                detail=str(folder / location),
                hint="Copy the folder with `cp -r`, then import the copy.",
            )
    for one in external:
        size = places[one.location].st_size
        if one.offset + one.length > size:
            raise ModelFileError(
                f"{one.location} is truncated, or its graph lies",
                detail=f"{one.length:,} bytes from {one.offset:,}, of {size:,}",
                hint="Download the file again.",
            )


def read_graph(path: Path) -> Graph:
    """Walk over a graph; weights in it are passed over.

    Raises:
        ModelFileError: it is no graph, or damaged.
        OSError: it cannot be read.
    """
    read_head(path)
    with open_extent(path, "ONNX graph") as file:
        walker = _Walker()
        walker.visit(file, _MODEL, 0)
    return Graph(tuple(walker.external), walker.count(), walker.find_bits())


class _Walker:
    """Collects the tensors of a graph and of those within it."""

    def __init__(self) -> None:
        self.external: list[External] = []
        self._elements: dict[str, int] = {}
        self._packed: dict[str, int] = {}
        self._companions: set[str] = set()
        self._bits = Counter[int]()

    def count(self) -> int:
        """Parameters: of a matrix in blocks what it stands for, without the scales beside it."""
        others = self._packed.keys() | self._companions
        plain = (count for name, count in self._elements.items() if name not in others)
        return sum(plain) + sum(self._packed.values())

    def find_bits(self) -> int | None:
        """Bits of most numbers in blocks."""
        bits = max(self._bits, key=lambda one: self._bits[one], default=0)
        return bits if 0 < bits <= 8 else None

    def visit(self, message: Extent, kind: int, depth: int) -> None:
        """Go through a message of this kind, and through those in it that may have tensors."""
        if depth > MOST_DEPTH:
            message.refuse("graphs are nested too deeply")
        fields = list(walk(message)) if kind == _NODE else walk(message)
        if isinstance(fields, list):
            self._note_node(message, fields)
        for field in fields:
            inner = _INSIDE[kind].get(field.number)
            if inner == _TENSOR:
                self._visit_tensor(find_message(message, field))
            elif inner is not None:
                self.visit(find_message(message, field), inner, depth + 1)

    def _visit_tensor(self, tensor: Extent) -> None:
        place: dict[str, str] = {}
        shape: list[int] = []
        name = ""
        for field in walk(tensor):
            if field.number == 1:
                shape += read_numbers(tensor, field)
            elif field.number == 8:
                name = read_text(tensor, field)
            elif field.number == 13:
                place.update([_read_entry(find_message(tensor, field))])
        if len(shape) > MOST_DIMENSIONS or prod(shape) > MOST_ELEMENTS:
            tensor.refuse("a tensor claims a size that no memory has")
        if len(shape) > 1:
            self._elements[name] = prod(shape)
        if place:
            self.external.append(_parse_external(tensor, place))

    def _note_node(self, node: Extent, fields: list[Field]) -> None:
        """Remember which constants of a node are no parameters, and what a matrix in blocks stands for."""
        operator = next((read_text(node, field) for field in fields if field.number == _OPERATOR), "")
        if operator not in _COMPANIONS:
            return
        inputs = [read_text(node, field) for field in fields if field.number == _INPUT]
        self._companions.update(inputs[_COMPANIONS[operator]])
        if operator == _BLOCKS and len(inputs) > 1:
            sizes = dict(_read_size(find_message(node, field)) for field in fields if field.number == _ATTRIBUTES)
            self._packed[inputs[1]] = sizes.get("K", 0) * sizes.get("N", 0)
            self._bits[sizes.get("bits", DEFAULT_BITS)] += self._packed[inputs[1]]


def _read_entry(entry: Extent) -> tuple[str, str]:
    """StringStringEntryProto."""
    texts = {field.number: read_text(entry, field) for field in walk(entry) if field.number in {1, 2}}
    return texts.get(1, ""), texts.get(2, "")


def _read_size(attribute: Extent) -> tuple[str, int]:
    """AttributeProto with an integer."""
    name, value = "", 0
    for field in walk(attribute):
        if field.number == 1:
            name = read_text(attribute, field)
        elif field.number == 3 and field.length is None:
            value = field.value
    return name, min(value, MOST)


def _parse_external(tensor: Extent, place: Mapping[str, str]) -> External:
    offset, length = place.get("offset", "0"), place.get("length", "0")
    if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in (offset, length)):
        tensor.refuse("a tensor's place in a file is no number")
    return External(place.get("location", ""), int(offset), int(length))

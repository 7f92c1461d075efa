"""Folders for OpenVINO GenAI: graphs as XML, each with a file of its weights.

Source: openvino, "OpenVINO IR format": `layers` of `layer`, constants with `offset` and `size` in the `.bin` file.
"""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from xml.parsers import expat

from localfirst.errors import ModelFileError
from localfirst.store.builds import find_precision
from localfirst.store.formats.configuration import parse_architecture
from localfirst.store.formats.found import Found, Told, check_named, keep_inert, read_head, read_json
from localfirst.types import Architecture, KvGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MARKER = "openvino_model.xml"
TOKENIZERS = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
MOST_XML_BYTES = 128 * 2**20
"""Graphs of 80 layers have 20 MB."""
MOST_DEPTH = 64
_CHUNK_BYTES = 2**16
_BITS = {
    **dict.fromkeys(("i64", "u64", "f64"), 64),
    **dict.fromkeys(("i32", "u32", "f32"), 32),
    **dict.fromkeys(("i16", "u16", "f16", "bf16"), 16),
    **dict.fromkeys(("i8", "u8", "boolean", "f8e4m3", "f8e5m2", "f8e8m0"), 8),
    **dict.fromkeys(("i4", "u4", "nf4", "f4e2m1"), 4),
    **dict.fromkeys(("u1",), 1),
    **dict.fromkeys(("u2",), 2),
    **dict.fromkeys(("u3",), 3),
    **dict.fromkeys(("u6",), 6),
}
_PRECISIONS = {"i4": "int4", "u4": "int4", "nf4": "nf4", "f4e2m1": "mxfp4", "i8": "int8", "u8": "int8"}
_PRECISIONS |= {"f16": "fp16", "bf16": "bf16", "f32": "fp32"}
# Keys and values that a graph keeps between tokens. Source: optimum-intel, `past_key_values.0.key...`.
_CACHE = re.compile(r"past_key_values\.(\d{1,4})\.(?:decoder\.)?key")


class Graph(NamedTuple):
    """What a graph says of its weights and of its cache."""

    weights_end: int
    """Bytes of the `.bin` file that it refers to."""
    parameters: int
    precision: str | None
    kv_groups: tuple[KvGroup, ...]


def find(folder: Path, names: frozenset[str]) -> Found:
    """The model in a folder that has these files.

    Raises:
        ModelFileError: damaged or incomplete.
        OSError: it cannot be read.
    """
    graphs = sorted(name for name in names if name.startswith("openvino_") and name.endswith(".xml"))
    weights = {f"{name.removesuffix('.xml')}.bin" for name in graphs}
    check_named(folder, {*weights, *graphs, *TOKENIZERS}, names)
    found = {name: read_graph(folder / name) for name in graphs}
    files = keep_inert(names - {name for name in names if name.endswith(".bin")} | weights, "openvino")
    for name in files:
        if name not in weights or found[f"{name.removesuffix('.bin')}.xml"].weights_end:
            read_head(folder / name)
    for name, graph in found.items():
        _check_weights(folder / f"{name.removesuffix('.xml')}.bin", graph.weights_end)
    return Found("openvino", folder, files, found[MARKER].precision or find_precision(folder.name))


def tell(main: Path, _: Sequence[Path]) -> Told:
    """What the graph and the configuration beside it tell.

    Raises:
        ModelFileError: they are damaged.
        OSError: they cannot be read.
    """
    graph = read_graph(main / MARKER)
    config = main / "config.json"
    told = parse_architecture(read_json(config)) if config.is_file() else Architecture()
    if graph.kv_groups and not told.kv_groups:
        layers = sum(group.layers for group in graph.kv_groups)
        told = told._replace(layers=told.layers or layers, kv_groups=graph.kv_groups)
    return Told(told, parameters=graph.parameters or None)


def _check_weights(path: Path, end: int) -> None:
    size = path.stat().st_size
    if end > size:
        raise ModelFileError(
            f"{path.name} is truncated, or its graph lies",
            detail=f"{path}\nthe graph refers to {end:,} bytes, the file has {size:,}",
            hint="Download the file again.",
        )


def read_graph(path: Path) -> Graph:
    """Read a graph, a chunk at a time.

    Raises:
        ModelFileError: it is no graph, damaged, or declares entities.
        OSError: it cannot be read.
    """
    read_head(path)
    if path.stat().st_size > MOST_XML_BYTES:
        raise ModelFileError(f"{path.name} is too long to be a graph", detail=str(path))
    reader = _Reader(path.name)
    parser = expat.ParserCreate("utf-8")  # whatever it says of itself: names of encodings are looked up as modules
    parser.StartDoctypeDeclHandler = reader.refuse_declaration
    parser.EntityDeclHandler = reader.refuse_declaration
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise ModelFileError(
            f"{path.name} is no sound XML", detail=f"{path}\n{error}", hint="Download the file again."
        ) from error
    return reader.finish()


class _Reader:
    """Takes the elements of a graph as they come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path: list[str] = []
        self._kind = ""
        self._end = 0
        self._parameters = 0
        self._bytes = Counter[str]()
        self._caches: dict[int, tuple[int, int]] = {}

    def refuse_declaration(self, *_: object) -> None:
        """Entities make a small text a huge one, or read other files; graphs have none."""
        raise ModelFileError(f"{self._name} declares a document type, which no graph does")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if not self._path and tag != "net":
            self._refuse(f"it begins with <{tag[:40]}>, not with <net>")
        if len(self._path) >= MOST_DEPTH:
            self._refuse("it is nested too deeply")
        if tag == "layer":
            self._kind = attributes.get("type", "")
        elif tag == "data" and self._path[-1:] == ["layer"]:
            if self._kind == "Const":
                self._take_constant(attributes)
            elif self._kind == "ReadValue":
                self._take_cache(attributes)
        self._path.append(tag)

    def end(self, _: str) -> None:
        self._path.pop()

    def finish(self) -> Graph:
        precision = max(self._bytes, key=lambda kind: self._bytes[kind], default="")
        groups = Counter(self._caches.values())
        return Graph(
            self._end,
            self._parameters,
            _PRECISIONS.get(precision),
            tuple(KvGroup(layers, *shape) for shape, layers in sorted(groups.items())),
        )

    def _take_constant(self, attributes: Mapping[str, str]) -> None:
        offset, size = self._number(attributes, "offset"), self._number(attributes, "size")
        self._end = max(self._end, offset + size)
        kind, shape = attributes.get("element_type", ""), self._sizes(attributes.get("shape", ""))
        bits, elements = _BITS.get(kind), prod(shape)
        if bits is None:  # texts, of which each has its own length
            return
        if size < -(-elements * bits // 8):
            self._refuse(f"a constant of shape {shape} has {size:,} bytes")
        if len(shape) > 1 and shape[-1] > 1:  # weights; scales and zero points of their groups end in 1
            self._parameters += elements
            self._bytes[kind] += size

    def _take_cache(self, attributes: Mapping[str, str]) -> None:
        layer = _CACHE.match(attributes.get("variable_id", ""))
        shape = attributes.get("variable_shape", "").split(",")
        if layer and len(shape) == 4 and shape[1].isdecimal() and shape[3].isdecimal():
            self._caches[int(layer[1])] = (int(shape[1][:9]), int(shape[3][:9]))

    def _number(self, attributes: Mapping[str, str], key: str) -> int:
        text = attributes.get(key, "")
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            self._refuse(f"a constant's {key} is no number")
        return int(text)

    def _sizes(self, text: str) -> list[int]:
        sizes = [size.strip() for size in text.split(",")] if text.strip() else []
        if len(sizes) > 16 or not all(size.isascii() and size.isdigit() and len(size) < 20 for size in sizes):
            self._refuse("a constant's shape is no list of sizes")
        return [int(size) for size in sizes]

    def _refuse(self, problem: str) -> NoReturn:
        raise ModelFileError(f"{self._name} is no sound graph: {problem}", hint="Download the file again.")

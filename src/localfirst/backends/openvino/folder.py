"""Reads what an OpenVINO folder says about itself, and refuses one that is incomplete, before native code.

Source of the layout: huggingface/optimum-intel, `optimum/exporters/openvino`; openvinotoolkit/openvino.genai,
`src/cpp/src/tokenizer/tokenizer_impl.cpp`. Only the three graphs have to be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.backends.model_folder import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    check_exists,
    describe_file,
    find_context,
    find_ends,
    find_pooling,
    find_template,
    find_token_text,
    read_optional_json,
)
from localfirst.backends.token_bytes import read_names, read_token_bytes
from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localfirst.types import Pooling

MODEL, TOKENIZER_GRAPH, DETOKENIZER_GRAPH = "openvino_model", "openvino_tokenizer", "openvino_detokenizer"
PICTURES = "openvino_language_model.xml"
"""What a model that sees pictures has instead of `openvino_model.xml`."""
GRAPH_STARTS = (b"<?xml", b"<net")
NO_WEIGHTS = ("an HTML page", "a Git LFS pointer", "JSON text", "nothing but zero bytes")


@dataclass(frozen=True, slots=True)
class OpenVinoFolder:
    """A folder whose files are there and look like what they are named."""

    weights_bytes: int
    context_tokens: int | None
    """`None` where nothing in it says how long its context is."""
    template: str | None
    bos_token: str
    eos_token: str
    ends: frozenset[int]
    """Tokens that end an answer; empty where only the graph of the tokenizer says."""
    token_bytes: Mapping[int, bytes] | None
    """What each token stands for, or `None` where only the engine knows."""
    names: Mapping[int, str]
    """The special tokens."""
    pooling: Pooling | None = None
    """How an embedding model makes one vector of a text; `None`: its files do not say."""


def read_folder(folder: Path) -> OpenVinoFolder:
    """Check the files of a folder and read the texts that we need of it.

    Raises:
        ModelFileError: a file is missing or not what its name says; the message names it.
    """
    if (folder / PICTURES).is_file():
        raise ModelFileError(
            f"{folder.name} holds a model that sees pictures, in several graphs; only ones for text are run",
            detail=f"{PICTURES} instead of {MODEL}.xml",
        )
    for name in (MODEL, TOKENIZER_GRAPH, DETOKENIZER_GRAPH):
        _check_graph(folder / f"{name}.xml")
        _check_weights(folder / f"{name}.bin")
    config = read_optional_json(folder / CONFIG)
    generation = read_optional_json(folder / GENERATION_CONFIG)
    tokenizer = read_optional_json(folder / TOKENIZER)
    described = read_optional_json(folder / TOKENIZER_CONFIG)
    try:
        token_bytes, names = read_token_bytes(tokenizer) if tokenizer else None, read_names(tokenizer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{TOKENIZER} lacks what a tokenizer needs", detail=f"{error!r}") from error
    return OpenVinoFolder(
        (folder / f"{MODEL}.bin").stat().st_size,
        find_context(config),
        find_template(folder, described),
        find_token_text(described.get("bos_token")),
        find_token_text(described.get("eos_token")),
        find_ends(generation, config),
        token_bytes,
        names,
        find_pooling(folder),
    )


def _check_graph(path: Path) -> None:
    content = describe_file(path)
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(GRAPH_STARTS):
        raise ModelFileError(f"{path.name} is {content}, not a graph", detail=str(path))


def _check_weights(path: Path) -> None:
    check_exists(path)
    content = describe_file(path)
    if content.startswith(NO_WEIGHTS):
        raise ModelFileError(f"{path.name} is {content}, not a graph's weights", detail=str(path))

"""Reads what a LiteRT-LM file says about itself, and refuses a damaged one: the engine dies of a damaged header."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.gguf import describe_content
from localfirst.headers import litertlm
from localfirst.headers.extent import open_extent

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 64
SUFFIX = ".litertlm"
ADDED_TOKENS = re.compile(r'"added_tokens"\s*:\s*(?=\[)')


class LitertFile(NamedTuple):
    """A file whose parts are there and within it."""

    context_tokens: int
    """Tokens that its cache has room for, whatever is asked for."""
    piece_tokens: int | None
    """The most tokens of a prompt that are computed at once; `None` where the file leaves it to the engine."""
    vocabulary: int | None
    template: str | None
    start: int | None
    """The token before every prompt, where there is one."""
    stops: tuple[int, ...]
    specials: frozenset[str]
    """Texts of the tokens that are not shown."""


def read_file(path: Path) -> LitertFile:
    """Check header, graphs and description.

    Raises:
        ModelFileError: the file is missing, damaged, or no LiteRT-LM file; the message names it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head.startswith(litertlm.MAGIC):
            raise ModelFileError(f"{path.name} is {describe_content(head)}, not a LiteRT-LM file", detail=str(path))
        if path.suffix != SUFFIX:
            raise ModelFileError(
                f"{path.name} is a LiteRT-LM file under another name",
                detail=f"the engine goes by the end of the name, `{SUFFIX}`",
                hint=f"Rename it to `{path.stem}{SUFFIX}`",
            )
        return _read(path)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error


def _read(path: Path) -> LitertFile:
    with open_extent(path, "LiteRT-LM file") as file:
        sections = litertlm.read_sections(file)
        graph, *_ = litertlm.read_graphs(file, sections)
        tokenizer = litertlm.read_tokenizer(file, sections)
        told = litertlm.read_description(file, sections)
    context_tokens = min(filter(None, (litertlm.find_cells(graph), told.limit)), default=None)
    if context_tokens is None:
        raise ModelFileError(f"{path.name} does not say how long its context is")
    return LitertFile(
        context_tokens,
        max(litertlm.find_prefills(graph), default=None),
        (graph.named.get("logits", ()) or (None,))[-1],
        told.template,
        told.start,
        told.stops,
        _find_specials(tokenizer.decode("utf-8", "replace")),
    )


def _find_specials(tokenizer: str) -> frozenset[str]:
    """The special tokens of a `tokenizer.json`, of which the beginning is enough."""
    if (begin := ADDED_TOKENS.search(tokenizer)) is None:
        return frozenset()
    try:
        added, _ = json.JSONDecoder().raw_decode(tokenizer, begin.end())
        return frozenset(token["content"] for token in added if token.get("special"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return frozenset()  # the engine says what is wrong with it

"""Reads what an ONNX Runtime GenAI folder says about itself, and refuses one that is incomplete, before native code.

Source of the layout: microsoft/onnxruntime-genai, `src/config.cpp` and `src/python/py/models/builder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.backends.model_folder import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    describe_file,
    find_template,
    find_token_text,
    read_json,
)
from localfirst.backends.token_bytes import read_names, read_token_bytes
from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG = "genai_config.json"
ONNX, UNKNOWN = "an ONNX model", "of no known format"


@dataclass(frozen=True, slots=True)
class OnnxFolder:
    """A folder whose files are there and look like what they are named."""

    context_tokens: int
    template: str | None
    bos_token: str
    eos_token: str
    token_bytes: Mapping[int, bytes] | None
    """What each token stands for, or `None` where only the engine knows."""
    names: Mapping[int, str]
    """The special tokens."""
    vocabulary_size: int
    """The logits that the model computes."""


def read_folder(folder: Path) -> OnnxFolder:
    """Check the files of a folder and read the texts that we need of it.

    Raises:
        ModelFileError: a file is missing or not what its name says; the message names it.
    """
    config = read_json(folder / CONFIG)
    for name in _find_file_names(config.get("model")):
        _check_model_file(folder / name)
    tokenizer = read_json(folder / TOKENIZER)
    described = read_json(folder / TOKENIZER_CONFIG)
    try:
        context_tokens, vocabulary_size = (int(config["model"][name]) for name in ("context_length", "vocab_size"))
        token_bytes, names = read_token_bytes(tokenizer), read_names(tokenizer)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ModelFileError(f"{CONFIG} or {TOKENIZER} lacks what a model needs", detail=detail) from error
    return OnnxFolder(
        context_tokens,
        find_template(folder, described),
        find_token_text(described.get("bos_token")),
        find_token_text(described.get("eos_token")),
        token_bytes,
        names,
        vocabulary_size,
    )


def _check_model_file(path: Path) -> None:
    content = describe_file(path)
    if content != ONNX and not content.startswith(UNKNOWN):
        raise ModelFileError(f"{path.name} is {content}, not an ONNX model", detail=str(path))


def _find_file_names(config: object) -> Iterator[str]:
    """Every `filename` in the configuration: of the decoder, and of an encoder or embedding where there is one.

    Raises:
        ModelFileError: one of them leads out of the folder.
    """
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if key != "filename" or not isinstance(value, str):
            yield from _find_file_names(value)
        elif not value.endswith(".onnx"):
            continue
        elif Path(value).is_absolute() or ".." in Path(value).parts:
            raise ModelFileError(f"{CONFIG} names a file outside of its folder", detail=value)
        else:
            yield value

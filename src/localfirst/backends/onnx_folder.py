"""Reads what an ONNX Runtime GenAI folder says about itself, and refuses one that is incomplete, before native code.

Source of the layout: microsoft/onnxruntime-genai, `src/config.cpp` and `src/python/py/models/builder.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst.backends.token_bytes import read_token_bytes
from localfirst.errors import ModelFileError
from localfirst.gguf import describe_content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = (
    "genai_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
HEAD_BYTES = 64
MAX_JSON_BYTES = 256 * 2**20
"""The largest vocabularies are 35 MB as JSON."""
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


def read_folder(folder: Path) -> OnnxFolder:
    """Check the files of a folder and read the texts that we need of it.

    Raises:
        ModelFileError: a file is missing or not what its name says; the message names it.
    """
    config = _read_json(folder / CONFIG)
    for name in _find_file_names(config.get("model")):
        _check_model_file(folder / name)
    tokenizer = _read_json(folder / TOKENIZER)
    described = _read_json(folder / TOKENIZER_CONFIG)
    try:
        context_tokens = int(config["model"]["context_length"])
        token_bytes = read_token_bytes(tokenizer)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ModelFileError(f"{CONFIG} or {TOKENIZER} lacks what a model needs", detail=detail) from error
    return OnnxFolder(
        context_tokens,
        _find_template(folder, described),
        _find_token_text(described.get("bos_token")),
        _find_token_text(described.get("eos_token")),
        token_bytes,
    )


def _read_json(path: Path) -> dict[str, Any]:
    _check_exists(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelFileError(f"{path.name} is too large for what it is named", detail=f"{path.stat().st_size} bytes")
    raw = path.read_bytes()
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        message = f"{path.name} is damaged: it is {describe_content(raw[:HEAD_BYTES])}, not a JSON document"
        raise ModelFileError(message, detail=str(error)) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} holds no JSON object")
    return value


def _check_model_file(path: Path) -> None:
    _check_exists(path)
    with path.open("rb") as file:
        content = describe_content(file.read(HEAD_BYTES))
    if content != ONNX and not content.startswith(UNKNOWN):
        raise ModelFileError(f"{path.name} is {content}, not an ONNX model", detail=str(path))


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise ModelFileError(f"{path.name} is missing", detail=str(path))


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


def _find_template(folder: Path, described: Mapping[str, Any]) -> str | None:
    """The chat template: a file of its own, or a text, or the one named `default` of several."""
    if (path := folder / TEMPLATE).is_file():
        return path.read_text("utf-8", errors="replace")
    template = described.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _find_token_text(token: object) -> str:
    """A token's text, written plainly or in a description."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""

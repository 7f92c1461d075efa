"""Reads the texts of a model's folder that its engine leaves to us, with an error that names the file.

The layout is that of Hugging Face's repositories, which every converter keeps. Source: huggingface/transformers,
`tokenization_utils_base.py` (`tokenizer_config.json`, `chat_template.jinja`, `chat_template.json`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.errors import ModelFileError
from localfirst.gguf import describe_content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localfirst.types import Pooling

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
TEMPLATE, OLD_TEMPLATE = "chat_template.jinja", "chat_template.json"
POOLING = "1_Pooling/config.json"
POOLING_KEYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
"""Source: huggingface/sentence-transformers, `models/Pooling.py`."""
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
HEAD_BYTES = 64
MAX_JSON_BYTES = 256 * 2**20
"""The largest vocabularies are 35 MB as JSON."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelFileError: it is missing, too large, or holds something else.
    """
    check_exists(path)
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


def read_optional_json(path: Path) -> dict[str, Any]:
    """As `read_json`, but a file that is not there is an empty object.

    Raises:
        ModelFileError: it is there, and too large or something else.
    """
    return read_json(path) if path.exists() else {}


def check_exists(path: Path) -> None:
    """Nothing where a file is there.

    Raises:
        ModelFileError: it is missing.
    """
    if not path.is_file():
        raise ModelFileError(f"{path.name} is missing", detail=str(path))


def describe_file(path: Path) -> str:
    """What a file is, from its first bytes, as it would stand after "is".

    Raises:
        ModelFileError: it is missing.
    """
    check_exists(path)
    with path.open("rb") as file:
        return describe_content(file.read(HEAD_BYTES))


def find_template(folder: Path, described: Mapping[str, Any]) -> str | None:
    """The chat template: a file of its own, or a text, or the one named `default` of several.

    Args:
        folder: where the model is.
        described: what its `tokenizer_config.json` holds.

    Raises:
        ModelFileError: `chat_template.json` is damaged.
    """
    if (path := folder / TEMPLATE).is_file():
        return path.read_text("utf-8", errors="replace")
    template = described.get("chat_template") or read_optional_json(folder / OLD_TEMPLATE).get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def find_context(config: Mapping[str, Any]) -> int | None:
    """The tokens that a model was trained for, of its text part where it has several; `None` where nobody says."""
    found = (one.get(key) for one in (config, _find_text_part(config)) for key in CONTEXT_KEYS)
    return next((value for value in found if type(value) is int and value > 0), None)


def find_pooling(folder: Path) -> Pooling | None:
    """How a model of Sentence Transformers makes one vector of a text; `None` where it does not say, or in two ways.

    Raises:
        ModelFileError: the file is damaged.
    """
    told = read_optional_json(folder / POOLING)
    found = [pooling for key, pooling in POOLING_KEYS.items() if told.get(key) is True]
    return found[0] if len(found) == 1 else None


def find_ends(generation: Mapping[str, Any], config: Mapping[str, Any]) -> frozenset[int]:
    """Every token that one of the configurations ends an answer with, alone or in a list."""
    named = [one.get("eos_token_id") for one in (generation, config, _find_text_part(config))]
    flat = [one for value in named for one in (value if isinstance(value, list) else (value,))]
    return frozenset(one for one in flat if type(one) is int)


def _find_text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = config.get("text_config")
    return part if isinstance(part, dict) else {}


def find_token_text(token: object) -> str:
    """A token's text, written plainly or in a description; empty where there is none."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""

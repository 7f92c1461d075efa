"""Reads what a folder for mlx-lm says about itself; refuses one that is incomplete, or that brings code to be run.

Source of the layout: ml-explore/mlx-lm, `mlx_lm/utils.py` (`load_config`, `load_model`). There `model_file` names a
Python file to be run, in transformers `auto_map` does: neither is ever done here, whatever an engine's default is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localfirst.backends.model_folder import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    describe_file,
    find_context,
    find_ends,
    find_template,
    find_token_text,
    read_json,
    read_optional_json,
)
from localfirst.backends.token_bytes import read_names, read_token_bytes
from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INDEX = "model.safetensors.index.json"
WEIGHTS = "model*.safetensors"
"""What mlx-lm loads, whatever the index names."""
CODE_KEYS = ("auto_map", "model_file")
SAFETENSORS = "a safetensors file"


@dataclass(frozen=True, slots=True)
class MlxFolder:
    """A folder whose files are there and look like what they are named."""

    context_tokens: int | None
    """What the model was trained for, where the configuration says it."""
    end_ids: frozenset[int]
    """Tokens that end an answer, as the two configurations name them; the tokenizer's end is one more."""
    template: str | None
    bos_token: str
    eos_token: str
    adds_bos: bool | None
    """Whether the first token is put before every text; `None`: as the tokenizer itself does."""
    token_bytes: Mapping[int, bytes] | None
    """What each token stands for, or `None` where only the tokenizer knows."""
    names: Mapping[int, str]
    """The special tokens."""


def read_folder(folder: Path) -> MlxFolder:
    """Check the files of a folder and read the texts that we need of it.

    Raises:
        ModelFileError: a file is missing, not what its name says, or asks for code to be run; the message names it.
    """
    config = read_json(folder / CONFIG)
    described = read_json(folder / TOKENIZER_CONFIG)
    tokenizer = read_json(folder / TOKENIZER)
    for name, values in ((CONFIG, config), (TOKENIZER_CONFIG, described)):
        _refuse_code(name, values)
    _check_weights(folder, read_optional_json(folder / INDEX))
    try:
        token_bytes, names = read_token_bytes(tokenizer), read_names(tokenizer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{TOKENIZER} lacks what a tokenizer needs", detail=f"{error!r}") from error
    adds_bos = described.get("add_bos_token")
    return MlxFolder(
        find_context(config),
        find_ends(read_optional_json(folder / GENERATION_CONFIG), config),
        find_template(folder, described),
        find_token_text(described.get("bos_token")),
        find_token_text(described.get("eos_token")),
        adds_bos if isinstance(adds_bos, bool) else None,
        token_bytes,
        names,
    )


def _refuse_code(name: str, values: Mapping[str, Any]) -> None:
    asked = sorted({*CODE_KEYS} & values.keys())
    if asked:
        raise ModelFileError(
            f"{name} asks for code of its own to be run, which is never done",
            detail=", ".join(asked),
            hint="Use a build of the model that needs none, such as a .gguf file",
        )


def _check_weights(folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse a folder without weights, without one of the shards of its index, or with a page of text for one."""
    named = index.get("weight_map")
    shards = {str(name).rpartition("/")[2] for name in named.values()} if isinstance(named, dict) else set()
    for name in sorted(shards | {path.name for path in folder.glob(WEIGHTS)} or {"model.safetensors"}):
        content = describe_file(folder / name)
        if content != SAFETENSORS:
            raise ModelFileError(f"{name} is {content}, not {SAFETENSORS}", detail=str(folder / name))

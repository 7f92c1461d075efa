"""What the files say that a server program is to serve: template, context, and what a llamafile starts itself with."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from localfirst import gguf
from localfirst.backends.model_folder import (
    CONFIG,
    TOKENIZER_CONFIG,
    find_context,
    find_template,
    find_token_text,
    read_json,
    read_optional_json,
)
from localfirst.errors import ModelFileError
from localfirst.headers.llamafile import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localfirst.types import Pooling

MOST_ARGUMENTS_BYTES = 2**20


class Described(NamedTuple):
    """What is known of a model before anything is started."""

    template: str | None
    context_tokens: int | None
    bos_token: str = ""
    eos_token: str = ""
    pooling: Pooling | None = None
    """How it makes one vector of a text; `None`: it answers."""
    member: str | None = None
    """The name of the GGUF in a llamafile."""
    arguments: tuple[str, ...] = ()
    """What a llamafile starts itself with."""
    vocabulary_size: int | None = None


def read_gguf(path: Path) -> Described:
    """What the header of a GGUF file says.

    Raises:
        ModelFileError: it is missing, damaged, or no GGUF.
    """
    try:
        with path.open("rb") as file:
            return _describe(file, path.stat().st_size, path.name)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error


def read_llamafile(path: Path) -> Described:
    """What the GGUF in a llamafile says, and the llamafile's own arguments.

    Raises:
        ModelFileError: it is missing or damaged, or has no model that can be mapped.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if _is_model(one.filename)]
            if not members:
                raise ModelFileError(f"{path.name} has no model inside")
            model = max(members, key=lambda one: one.file_size)
            if model.compress_type != zipfile.ZIP_STORED:
                raise ModelFileError(f"{path.name}: the model inside is compressed, so that no engine can map it")
            with archive.open(model) as inside:
                told = _describe(inside, model.file_size, path.name)  # type: ignore[arg-type]
            arguments: tuple[str, ...] = ()
            if ARGUMENTS in archive.namelist():
                if archive.getinfo(ARGUMENTS).file_size > MOST_ARGUMENTS_BYTES:
                    raise ModelFileError(f"{path.name}: its own arguments are no arguments", detail="more than 1 MiB")
                arguments = tuple(archive.read(ARGUMENTS).decode("utf-8", "replace").splitlines())
            return told._replace(member=model.filename, arguments=arguments)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{path.name} is no sound llamafile", detail=str(error)) from error


def read_folder(folder: Path) -> Described:
    """What a folder with `config.json` and safetensors says.

    Raises:
        ModelFileError: its configuration is missing or damaged.
    """
    described, config = read_optional_json(folder / TOKENIZER_CONFIG), read_json(folder / CONFIG)
    return Described(
        find_template(folder, described),
        find_context(config),
        find_token_text(described.get("bos_token")),
        find_token_text(described.get("eos_token")),
        vocabulary_size=_find_vocabulary_size(config),
    )


def _is_model(name: str) -> bool:
    return name.lower().endswith(".gguf") and "mmproj" not in name.lower()


def _describe(file: BinaryIO, size_bytes: int, name: str) -> Described:
    try:
        header = gguf.read_header(file, size_bytes)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error.message}", detail=error.detail, hint=error.hint) from error
    vocabulary_size = header.to_architecture().vocab_size
    return Described(header.template, header.context_tokens, pooling=header.pooling, vocabulary_size=vocabulary_size)


def _find_vocabulary_size(config: Mapping[str, Any]) -> int | None:
    """The logits that a model computes; those that also see have them in the part that speaks."""
    spoken = config.get("text_config")
    for part in (config, spoken if isinstance(spoken, dict) else {}):
        if type(size := part.get("vocab_size")) is int:
            return size
    return None

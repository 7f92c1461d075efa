"""What the files say that a server program is to serve: template, context, and what a llamafile starts itself with."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from localfirst import gguf
from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_JSON_BYTES = 16 * 2**20
ARGUMENTS = ".args"
REST = "..."
"""The place in `.args` for what is typed; without it, whatever is typed replaces all of it."""


class Described(NamedTuple):
    """What is known of a model before anything is started."""

    template: str | None
    context_tokens: int | None
    bos_token: str = ""
    eos_token: str = ""
    member: str | None = None
    """The name of the GGUF in a llamafile."""
    arguments: tuple[str, ...] = ()
    """What a llamafile starts itself with."""


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
                arguments = tuple(archive.read(ARGUMENTS).decode("utf-8", "replace").splitlines())
            return told._replace(member=model.filename, arguments=arguments)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{path.name} is no sound llamafile", detail=str(error)) from error


def read_folder(folder: Path) -> Described:
    """What a folder with `config.json` and safetensors says.

    Raises:
        ModelFileError: its configuration is missing or damaged.
    """
    config = _read_json(folder / "config.json")
    described = _read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    text = config.get("text_config")
    context = (text if isinstance(text, dict) else config).get("max_position_embeddings")
    return Described(
        _find_template(folder, described),
        context if isinstance(context, int) else None,
        _find_text(described.get("bos_token")),
        _find_text(described.get("eos_token")),
    )


def _is_model(name: str) -> bool:
    return name.lower().endswith(".gguf") and "mmproj" not in name.lower()


def _describe(file: BinaryIO, size_bytes: int, name: str) -> Described:
    try:
        header = gguf.read_header(file, size_bytes)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error.message}", detail=error.detail, hint=error.hint) from error
    return Described(header.template, header.context_tokens)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelFileError(f"{path.name} is too large for what it is named", detail=str(path))
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is damaged: it is not a JSON document", detail=str(error)) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} holds no JSON object")
    return value


def _find_template(folder: Path, described: Mapping[str, Any]) -> str | None:
    """The chat template: a file of its own, or a text, or the one named `default` of several."""
    if (path := folder / "chat_template.jinja").is_file():
        return path.read_text("utf-8", errors="replace")
    template = described.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _find_text(token: object) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""

"""GGUF files: one, or all shards of one model, and the projector that lies beside it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from localfirst.errors import ModelFileError
from localfirst.gguf import read_header
from localfirst.store.builds import find_gguf_quantization, find_shards
from localfirst.store.formats.found import Found, Told, list_files, read_head
from localfirst.store.names import is_projector
from localfirst.store.repack import MARK, SOURCE_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localfirst.gguf import GgufHeader

# What `general.architecture` and `general.type` say of files that are no models. Sources: llama.cpp,
# `gguf-py/gguf/constants.py` (`GGUFType`), and `tools/mtmd/clip-impl.h`, whose files have the architecture `clip`.
_PROJECTOR = ("a projector, which lets a model see or hear", "Import the model; a projector beside it is taken along.")
_NO_MODELS = {
    "clip": _PROJECTOR,
    "mmproj": _PROJECTOR,
    "adapter": ("an adapter (LoRA), which changes a model", "Import a model with it merged in."),
    "imatrix": ("an importance matrix, with which models are quantized", "Import the model itself."),
}
# Which of several projectors: half precision loses nothing, and takes half of `F32`.
_PROJECTOR_ORDER = ("F16", "BF16", "Q8_0", "F32")

_PULL = "`lf pull bitnet-b1.58-2b` fetches Microsoft's own, and makes a file of it that runs."


def find(path: Path) -> Found:
    """The model that a file, or any shard, belongs to.

    Raises:
        ModelFileError: damaged, incomplete, or no model.
        OSError: it cannot be read.
    """
    beside = list_files(path.parent, ".gguf")
    if is_projector(path.name):
        _check_model(path.name, _read(path))  # damaged, or what a projector is
        raise _refuse(path.name, "mmproj")
    shards = find_shards(beside, path.name)
    if shards is None:
        raise ModelFileError(
            f"Some shards of {path.name} are missing", detail=str(path.parent), hint="Put all shards into one folder."
        )
    headers = [_read(path.parent / shard) for shard in shards]
    _check_model(path.name, headers[0])
    _check_whole(path.name, headers)
    check_types(path.name, headers)
    projector = _find_projector(path.name, beside)
    if projector is not None:
        try:
            _read(path.parent / projector)
        except ModelFileError as error:
            raise ModelFileError(
                f"{projector}, the projector beside {path.name}, is damaged: {error.message}",
                detail=error.detail,
                hint="Download it again, or move it away to use the model without it.",
            ) from error
    paths = shards if projector is None else (*shards, projector)
    quantization = find_gguf_quantization(path.name) or headers[0].file_type or headers[0].main_type
    return Found("gguf", path.parent, paths, quantization)


def tell(main: Path, files: Sequence[Path]) -> Told:
    """What the headers of all shards tell.

    Raises:
        ModelFileError: one is damaged.
        OSError: one cannot be read.
    """
    shards = [file for file in files if file == main or (is_gguf(file.name) and not is_projector(file.name))]
    return tell_headers([_read(shard) for shard in shards])


def tell_headers(headers: Sequence[GgufHeader]) -> Told:
    """The same from the headers: the first describes the model, each has tensors of it."""
    whole = replace(headers[0], tensors=tuple(tensor for header in headers for tensor in header.tensors))
    return Told(
        architecture=whole.to_architecture(),
        title=whole.title,
        parameters=whole.parameters or None,
        license=whole.license,
        task="embedding" if whole.pooling else None,
    )


def is_gguf(name: str) -> bool:
    """Whether a file is called one."""
    return name.lower().endswith(".gguf")


def _read(path: Path) -> GgufHeader:
    read_head(path)
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size)
    except ModelFileError as error:  # of several files, say which
        evidence = "\n".join(filter(None, (str(path), error.detail)))
        raise ModelFileError(error.message, detail=evidence, hint="Download the file again.") from error


def _check_model(name: str, header: GgufHeader) -> None:
    for word in (header.kind, header.architecture):
        if word in _NO_MODELS:
            raise _refuse(name, word)
    if header.architecture is None:
        raise ModelFileError(
            f"{name} does not say which architecture it is",
            detail="`general.architecture` is missing",
            hint="Use a build of the model for llama.cpp.",
        )


def check_types(name: str, headers: Sequence[GgufHeader]) -> None:
    """Refuse what is only loaded after it was made into another file, and what was.

    Raises:
        ModelFileError: it is such a file.
    """
    if any(key.startswith(MARK) for key in headers[0].metadata):
        raise ModelFileError(
            f"{name} was made by lf of a file that was published, and runs only in its place",
            detail="llama.cpp by itself would compute another activation, and answer nonsense",
            hint=_PULL,
        )
    if any(tensor.type == SOURCE_TYPE for header in headers for tensor in header.tensors):
        raise ModelFileError(
            f"{name} has weights of BitNet's type {SOURCE_TYPE}, which lf loads only from files that it knows",
            detail="they are packed in several ways, and nothing in a file tells which way",
            hint=_PULL,
        )


def check_fetched(path: Path) -> None:
    """Refuse a file that was fetched as `find` refuses one that is imported; one that is damaged is left to its engine.

    Raises:
        ModelFileError: it is only loaded after it was made into another file, and nobody knows how.
    """
    headers = []
    with suppress(ModelFileError, OSError):
        headers = [_read(path)]
    if headers:
        check_types(path.name, headers)


def _refuse(name: str, word: str) -> ModelFileError:
    what, hint = _NO_MODELS[word]
    return ModelFileError(f"{name} is {what}, and no model itself", hint=hint)


def _check_whole(name: str, headers: Sequence[GgufHeader]) -> None:
    if headers[0].shards not in (None, 1, len(headers)):
        raise ModelFileError(
            f"{name} is one of {headers[0].shards} shards, and its name does not tell the others",
            hint="Give the shards the names that they were published with: NAME-00001-of-00003.gguf, ...",
        )
    if not any(header.tensors for header in headers):
        raise ModelFileError(f"{name} holds no weights, only a vocabulary", hint="Import the model itself.")


def _find_projector(name: str, beside: frozenset[str]) -> str | None:
    """The projector of a model, from the files beside it; nothing in the files says which one belongs to it.

    In a folder of one model it is that model's; among several, the one whose name is the model's without what says
    the quantization.
    """
    projectors = [one for one in beside if is_projector(one)]
    if len({_find_stem(one) for one in (*beside, name) if not is_projector(one)}) > 1:
        projectors = [one for one in projectors if _find_stem(one) == _find_stem(name)]
    return min(projectors, key=_rank_projector, default=None)


def _find_stem(name: str) -> str:
    """`mmproj-gemma-3-4b-it-f16.gguf` and `gemma-3-4b-it-Q4_K_M.gguf` -> `gemma34bit`."""
    stem = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", name.lower())
    quantization = find_gguf_quantization(name)
    if quantization is not None:
        stem = stem.replace(quantization.lower(), "")
    return "".join(character for character in stem.replace("mmproj", "").replace("model", "") if character.isalnum())


def _rank_projector(name: str) -> tuple[int, str]:
    quantization = find_gguf_quantization(name)
    known = quantization in _PROJECTOR_ORDER
    return (_PROJECTOR_ORDER.index(quantization) if known and quantization else len(_PROJECTOR_ORDER), name)

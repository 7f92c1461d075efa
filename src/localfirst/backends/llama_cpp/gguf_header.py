"""Reads a GGUF file's header before native code sees the file, for every adapter that opens such files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst import gguf
from localfirst.errors import ModelFileError

if TYPE_CHECKING:
    from pathlib import Path


def read_header(path: Path) -> gguf.GgufHeader:
    """The header of a file.

    Raises:
        ModelFileError: the file is missing, damaged, or no GGUF; the message begins with its name.
    """
    try:
        with path.open("rb") as file:
            return gguf.read_header(file, path.stat().st_size)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}", detail=str(path)) from error
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error.message}", detail=error.detail, hint=error.hint) from error


def find_context(header: gguf.GgufHeader, asked_tokens: int | None, path: Path) -> int:
    """The context to load with, in tokens: what is asked for, at most what the model was trained for.

    Raises:
        ModelFileError: nothing is asked for, and the file does not say how long its context is.
    """
    context_tokens = min(filter(None, (asked_tokens, header.context_tokens)), default=None)
    if context_tokens is None:
        raise ModelFileError(f"{path.name} does not say how long its context is")
    return context_tokens

"""Asks a server for the vectors of texts. Source: "Create embeddings", OpenAI's API reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.backends.external import http
from localfirst.backends.vectors import make_unit
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUTE = "/v1/embeddings"


def embed(
    address: http.Address, model: str, texts: Sequence[str] | Sequence[list[int]], cancelled: Callable[[], bool]
) -> list[tuple[float, ...]]:
    """The vectors of texts, or of their token ids, in their order, each of length 1; none where it was cancelled.

    Raises:
        NetworkError: there is no answer.
        EngineError, ContextError: the server refuses, or answers with something else.
    """
    if not texts:
        return []
    body = {"model": model, "input": list(texts), "encoding_format": "float"}
    answer = http.ask_until(address, ROUTE, body, cancelled)
    if answer is None:
        return []
    try:
        found = {int(item["index"]): make_unit(item["embedding"]) for item in answer["data"]}
        return [found[index] for index in range(len(texts))]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{address} answers with something that is no embedding", detail=repr(error)) from error

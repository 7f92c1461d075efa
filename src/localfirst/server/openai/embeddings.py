"""`/v1/embeddings`: texts to vectors."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.server.asked import Vectorizing
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.openai.asked import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.conversation import Embedding

MOST_TEXTS = 2048
"""Texts of one request, as OpenAI has it."""


class Embed(NamedTuple):
    """Texts that are to become vectors."""

    model: str
    texts: tuple[str, ...]
    packed: bool
    """Whether a vector is sent as the bytes of its numbers, as OpenAI's Python client asks for."""

    def make_work(self) -> Vectorizing:
        """What a loaded model is asked to do."""
        return Vectorizing(self.texts)


def parse_embed(body: Mapping[str, Any]) -> Embed:
    """A request in OpenAI's form; texts only, no token ids.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    model = fields.text("model")
    texts = fields.texts("input", MOST_TEXTS)
    if not texts:
        raise refuse_type("input", "a text or a list of texts, none of them empty")
    packing = fields.take("encoding_format") or "float"
    if packing not in ("float", "base64"):
        raise ParameterError("`encoding_format` has to be `float` or `base64`", "encoding_format")
    fields.end(IGNORED, {})
    return Embed(model, texts, packing == "base64")


def make_response(asked: Embed, embeddings: Sequence[Embedding]) -> dict[str, Any]:
    """The whole response."""
    tokens = sum(one.tokens or 0 for one in embeddings)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _pack(one.vector) if asked.packed else one.vector}
            for index, one in enumerate(embeddings)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _pack(vector: Sequence[float]) -> str:
    """Numbers of 32 bits, the lowest byte first, in base64: what `numpy.frombuffer(..., dtype="float32")` reads."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

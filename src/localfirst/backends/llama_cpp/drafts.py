"""Can one model draft for another? Only where both mean the same by a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst import gguf
from localfirst.choices import LLAMA_SPARE_TOKENS
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.gguf import GgufHeader

FIRST_COMPARED = 5
"""The first tokens are special ones, which a family's models may name differently."""
SAME_KEYS = ("model", "add_bos_token", "add_eos_token")
"""Of the tokenizer, where both files say it."""


def check(model: Path, header: GgufHeader, draft: Path, draft_header: GgufHeader) -> None:
    """Refuse a draft of another vocabulary: llama.cpp would do without it and say so in its log alone.

    The rule is llama.cpp's: `common_speculative_are_compatible` in `common/speculative.cpp`.

    Raises:
        UsageError: the vocabularies differ; the detail says where.
        ModelFileError: a file is damaged.
    """
    for key in (f"tokenizer.ggml.{name}" for name in SAME_KEYS):
        wanted, found = header.metadata.get(key), draft_header.metadata.get(key)
        if None not in (wanted, found) and wanted != found:
            raise _refuse(model, draft, f"`{key}` is {found}, not {wanted}")
    tokens, draft_tokens = _read(model), _read(draft)
    if abs(len(tokens) - len(draft_tokens)) > LLAMA_SPARE_TOKENS:
        raise _refuse(model, draft, f"it has {len(draft_tokens):,} tokens, not {len(tokens):,}")
    for number, (ours, theirs) in enumerate(zip(tokens, draft_tokens, strict=False)):
        if ours != theirs and number >= FIRST_COMPARED:
            found_text, wanted_text = (text.decode(errors="replace") for text in (theirs, ours))
            raise _refuse(model, draft, f"token {number:,} is `{found_text}`, not `{wanted_text}`")


def _read(path: Path) -> tuple[bytes, ...]:
    with path.open("rb") as file:
        return gguf.read_vocabulary(file, path.stat().st_size)


def _refuse(model: Path, draft: Path, why: str) -> UsageError:
    return UsageError(
        f"{draft.name} cannot draft for {model.name}: its vocabulary is another one",
        detail=why,
        hint="Use a smaller model of the same family with `--draft`, or none",
    )

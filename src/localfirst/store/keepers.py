"""Who keeps files that lie outside the store, by the word that manifests have for them."""

from __future__ import annotations

from types import MappingProxyType

YOU = "you"
HF_CACHE = "huggingface cache"
TITLES = MappingProxyType({YOU: "you", HF_CACHE: "the HF cache", "ollama": "Ollama", "lmstudio": "LM Studio"})
"""One name for each, wherever a user reads of it."""


def is_tool(keeper: str | None) -> bool:
    """Whether these files are another tool's, which may delete them whenever it likes."""
    return keeper not in {None, YOU}


def say_keeper(keeper: str | None) -> str:
    """The name of a keeper in a sentence; of one that a later release may know, its word."""
    return TITLES.get(keeper or "", keeper or "lf")

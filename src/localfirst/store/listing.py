"""What a hub says a repository holds, after checking, and which bytes of it are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a listing. Files in large storage have a SHA-256, small ones the digest of their git object."""

    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[HubFile, ...]
    gated: bool = False
    license: str | None = None
    task: str | None = None
    parameters: int | None = None
    context_tokens: int | None = None


class Gap(NamedTuple):
    """Bytes that are missing: `start <= offset < end`."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many they are."""
        return self.end - self.start

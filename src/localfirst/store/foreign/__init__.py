"""Models that other tools have on this disk: one reader per tool, which only reads, and a table of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from localfirst.store.foreign import huggingface, lmstudio, ollama
from localfirst.store.foreign.tool import Build, Finding, ForeignFile, NotOursError, Refusal, Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["TOOLS", "Build", "Finding", "ForeignFile", "Refusal", "Scan", "Tool", "find_foreign_files", "scan"]

TOOLS = (huggingface.TOOL, ollama.TOOL, lmstudio.TOOL)


class Scan(NamedTuple):
    """What was found of one tool."""

    tool: Tool
    looked: tuple[Path, ...]
    """Every folder that it could be in."""
    folders: tuple[Path, ...]
    """Those that are there."""
    findings: tuple[Finding, ...]


def scan(tool: Tool, environment: Mapping[str, str] = os.environ) -> Scan:
    """All that a tool has on this disk. Nothing is hashed; headers are read."""
    looked = tuple(folder.absolute() for folder in tool.find_folders(environment))
    folders = tuple(_find_present(looked))
    return Scan(tool, looked, folders, tuple(found for folder in folders for found in _find_in(tool, folder)))


def find_foreign_files(
    tools: Iterable[Tool] = TOOLS, environment: Mapping[str, str] = os.environ
) -> tuple[ForeignFile, ...]:
    """Files that other tools keep and that are whole as far as names tell. Nothing is opened; no folder is a fault."""
    files: list[ForeignFile] = []
    for tool in tools:
        for folder in _find_present(tuple(one.absolute() for one in tool.find_folders(environment))):
            try:
                files += tool.find_files(folder)
            except (OSError, NotOursError):  # what cannot be read counts for nothing
                continue
    return tuple(files)


def _find_present(folders: Iterable[Path]) -> Iterable[Path]:
    """The folders that are there, each once, however many links lead to it."""
    seen = set[str]()
    for folder in folders:
        real = os.path.realpath(folder)
        try:
            present = folder.is_dir()
        except OSError:  # it belongs to another user
            present = False
        if present and real not in seen:
            seen.add(real)
            yield folder


def _find_in(tool: Tool, folder: Path) -> Iterable[Finding]:
    try:
        yield from tool.find_findings(folder)
    except OSError as error:
        yield Refusal(tool.keeper, str(folder), "unusable", f"it cannot be read: {error.strerror}")
    except NotOursError as refused:
        yield Refusal(tool.keeper, str(folder), refused.state, refused.reason)

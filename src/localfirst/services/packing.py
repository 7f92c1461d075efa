"""A model on this disk as one program: a llamafile, which runs where nothing else is."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.catalog.rules import needs_recipe
from localfirst.catalog.wishes import is_quantization
from localfirst.errors import RuntimeMissingError, StoreError, UsageError
from localfirst.headers.llamafile import REST
from localfirst.runtimes.programs import find_program, get_program
from localfirst.services.library import find_entry
from localfirst.store import layout, pack
from localfirst.store.builtin import find_builtin
from localfirst.store.disk import check_space
from localfirst.store.verify import check_quick
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.services.library import Entry
    from localfirst.types import InstalledModel

SUFFIX = ".llamafile"
LOOPBACK = ("--host", "127.0.0.1")
"""What is served beside the chat is for this machine; releases differ in their default."""


def pack_model(
    name: str,
    output: Path,
    *,
    engine: Path | None,
    arguments: Sequence[str],
    report: Callable[[Progress], None],
) -> pack.Packed:
    """Write a llamafile of a model that is on this disk; the model and the program stay as they are.

    Args:
        name: a model name as typed.
        output: the file to write.
        engine: a llamafile without a model; `None`: the one that the environment names or the path has.
        arguments: what it starts itself with besides, one word each.
        report: told how far it is.

    Raises:
        LfError: as the name is looked up, or the file cannot be written.
        UsageError: the model has no GGUF build on this disk, or several; the file exists.
        RuntimeMissingError: there is no program to put it into.
    """
    entry = find_entry(name, offline=True)
    model = _choose(name, entry)
    main = layout.find_main(model)
    program = engine or _find_engine()
    _check_output(output)
    check_quick(model)
    check_space(output.absolute().parent, pack.find_size(program, main), hint="Name another place: `-o FILE`")
    inside = make_member_name(main.name)
    temperature = entry.model.temperature
    total = main.stat().st_size
    return pack.pack(
        program,
        main,
        output.absolute(),
        name=inside,
        arguments=(
            *("-m", f"/zip/{inside}", *LOOPBACK),
            *(() if temperature is None else ("--temp", f"{temperature:g}")),
            *arguments,
            REST,
        ),
        sha256=_find_digest(model, main),
        report=lambda done: report(Progress(output.name, done, total)),
    )


def _find_digest(model: InstalledModel, main: Path) -> str | None:
    """What is known of the file's bytes; of one that was only named by its path, nothing."""
    path = main.relative_to(model.root).as_posix()
    return next((file.sha256 for file in model.files if file.path == path), None) or None


def make_member_name(name: str) -> str:
    """What a file is called inside: with letters that every system and every command line takes.

    Letters lose their accents; a name of which nothing is left, as of one in Chinese, becomes `model`.
    """
    plain = unicodedata.normalize("NFKD", name.removesuffix(".gguf"))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return (re.sub(r"[^A-Za-z0-9._]+", "-", kept).strip("-._") or "model") + ".gguf"


def _choose(name: str, entry: Entry) -> InstalledModel:
    """The one build that can go into a llamafile."""
    builtin = [find_builtin(entry.model, one) for one in entry.model.variants if one.host == "builtin"]
    named = {one.name for one in entry.model.variants if is_quantization(one, entry.asked.quantization)}
    found = [one for one in (*builtin, *entry.installed) if one.format == "gguf" and one.variant in named]
    if not found:
        raise UsageError(
            f"`{name}` has no GGUF file on this disk, and a llamafile holds nothing else",
            hint=f"Fetch one first: `lf pull {entry.model.name}`; `lf model info {entry.model.name}` shows its builds",
        )
    if len(found) > 1:
        known = "\n".join(f"{entry.model.name}@{one.variant}" for one in found)
        raise UsageError(f"`{name}` has {len(found)} GGUF builds on this disk", detail=known, hint="Name one of them")
    if needs_recipe(found[0].quantization):
        raise UsageError(
            f"`{name}` runs only as lf runs it: no llamafile computes {found[0].quantization}",
            hint=f"Take it to another machine as a bundle: `lf bundle create {entry.model.name}`",
        )
    return found[0]


def _find_engine() -> Path:
    program = get_program("llamafile")
    path = find_program(program) if program else None
    if program is None or path is None:
        raise RuntimeMissingError(
            "There is no llamafile program to put the model into",
            detail=f"it takes {program.install}" if program else None,
            hint="Name it with `--engine PATH`, or in `LF_RUNTIME_LLAMAFILE`",
        )
    return Path(path)


def _check_output(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists already", hint="Remove it, or name another file: `-o FILE`")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}", hint="Make it first, or name another place: `-o FILE`")
    if not os.access(path.absolute().parent, os.W_OK):
        raise StoreError(f"{path.absolute().parent} cannot be written", hint="Name another place: `-o FILE`")

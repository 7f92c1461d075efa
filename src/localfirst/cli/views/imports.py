"""What an import made of the user's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.cli.screen import line, wrap
from localfirst.cli.views.details import render_facts
from localfirst.cli.views.shapes import installed_to_json
from localfirst.units import format_bytes, format_count, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.cli.screen import Screen
    from localfirst.cli.views.details import Fact
    from localfirst.services.importing import Imported


def render_imported(imported: Imported, screen: Screen) -> list[str]:
    """The name to run it by, what it is, and what it still lacks."""
    name = line(imported.installed.name)
    ending = f"Run it: `lf run {name}`"
    next_ = line(imported.remedy) or f"See `lf model explain {name}`"
    if imported.engine:
        ending = f"No engine here loads it: it needs {imported.engine}. {next_}."
    elif imported.obstacle:
        ending = f"It does not run here: {line(imported.obstacle)}. {next_}."
    return [
        f"{name} is {'imported' if imported.obstacle else 'ready'}",
        *(f"  {row}" for row in render_facts(_list_facts(imported), _narrow(screen))),
        *wrap(ending, screen.width),
    ]


def _narrow(screen: Screen) -> Screen:
    return screen if screen.width is None else screen._replace(width=screen.width - 2)


def _list_facts(imported: Imported) -> Iterator[Fact]:
    installed, model = imported.installed, imported.model
    numbers = [
        f"{format_count(model.parameters)} parameters" if model.parameters else "",
        f"{format_tokens(model.architecture.context_tokens)} context" if model.architecture.context_tokens else "",
        f"licence {line(model.license)}" if model.license != "unknown" else "",
    ]
    title = line(model.title) if model.title != installed.name else ""
    yield "Model", ", ".join(text for text in (title, *numbers) if text)
    count = len(installed.files)
    size = f"{format_bytes(installed.size_bytes)} in {count} file{'' if count == 1 else 's'}"
    yield "Build", f"{installed.format} {line(installed.quantization)}".strip() + f", {size}"
    where = "Left in" if installed.keeper else "Copied to"
    yield where, line(installed.root)


def imported_to_json(imported: Imported) -> dict[str, object]:
    """The installed model as elsewhere, with what its files tell."""
    return installed_to_json(imported.installed) | {
        "title": imported.model.title,
        "parameters": imported.model.parameters,
        "context_tokens": imported.model.architecture.context_tokens,
        "license": None if imported.model.license == "unknown" else imported.model.license,
        "keeper": imported.installed.keeper,
        "engine_missing": imported.engine,
        "obstacle": imported.obstacle,
    }

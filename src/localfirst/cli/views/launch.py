"""Programs that can be told to ask the server, and one that is."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.terminal import make_inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localfirst.cli.screen import Screen
    from localfirst.server.launch.apps import App
    from localfirst.server.launch.start import Launch

_APPS = (Column("NAME"), Column("PROGRAM"), Column("HERE", 1), Column("TOLD BY", 2))
HIDDEN = "..."
"""Instead of a key."""


def render_apps(apps: Sequence[tuple[str, App, bool]], screen: Screen) -> Iterator[str]:
    """A line for each."""
    rows = [
        {
            "NAME": name,
            "PROGRAM": app.title,
            "HERE": "yes" if installed else "no",
            "TOLD BY": line(str(app.settings.find())) if app.settings else "variables of its own run",
        }
        for name, app, installed in apps
    ]
    widths = fit(_APPS, rows, screen.width)
    yield screen.paint(format_header(widths), "bold")
    yield from (format_row(widths, row) for row in rows)


def app_to_json(name: str, app: App, installed: bool) -> dict[str, Any]:
    """One of those that are known."""
    return {
        "app": name,
        "title": app.title,
        "program": app.program,
        "installed": installed,
        "get": app.get,
        "path": str(app.settings.find()) if app.settings else None,
        "source": app.source,
    }


def find_remarks(one: Launch) -> Iterator[str]:
    """What is left to the user."""
    if one.app.remark:
        yield one.app.remark
    if one.app.keyed and one.told.key:
        yield one.app.keyed


def render_launch(one: Launch, backup: Path | None, *, dry_run: bool) -> Iterator[str]:
    """What was changed, or would be, and how the program is started."""
    if one.edit is not None and one.edit.changes and dry_run:
        yield from map(make_inert, one.edit.diff.splitlines())
    elif one.edit is not None:
        yield line(f"{one.edit.path} {'was changed' if one.edit.changes else 'has all of it already'}")
        if backup is not None:
            yield line(f"What it was: {backup}")
    if one.app.program is not None:
        yield "It would be started by:" if dry_run else "Start it by:"
        yield f"  {line(_say_command(one, hide=dry_run))}"
    yield from map(line, find_remarks(one))


def launch_to_json(one: Launch, backup: Path | None, *, dry_run: bool) -> dict[str, Any]:
    """The same for programs."""
    edit = one.edit and {
        "path": str(one.edit.path),
        "changes": one.edit.changes,
        "diff": one.edit.diff,
        "backup": str(backup) if backup else None,
    }
    return {
        "app": one.name,
        "dry_run": dry_run,
        "url": one.told.url,
        "model": one.told.model,
        "file": edit,
        "variables": _hide(one) if dry_run else dict(one.variables),
        "command": [one.app.program, *one.words] if one.app.program else None,
        "remarks": list(find_remarks(one)),
    }


def _hide(one: Launch) -> dict[str, str]:
    return {name: HIDDEN if value == one.told.key else value for name, value in one.variables.items()}


def _say_command(one: Launch, *, hide: bool) -> str:
    """As a shell takes it."""
    variables = _hide(one) if hide else one.variables
    removed = [word for name in one.app.hidden for word in ("-u", name)]
    before = ["env", *removed, *(f"{name}={value}" for name, value in variables.items())]
    words = [*(before if len(before) > 1 else ()), one.app.program or "", *one.words]
    return shlex.join(words)

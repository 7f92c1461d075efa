"""`lf store`: the models' files on this disk."""

from __future__ import annotations

import time
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app


class StoreGroup(TableGroup):
    """`lf store`."""

    table = MappingProxyType(
        {
            "df": Row("localfirst.cli.store:df", "Show what takes how much space."),
            "gc": Row("localfirst.cli.store:gc", "Remove what nothing needs."),
            "location": Row("localfirst.cli.store:location", "Show where the store is."),
            "move": Row("localfirst.cli.store:move", "Move the models to another folder."),
        }
    )


app = make_app(cls=StoreGroup, no_args_is_help=True)


def parse_age(text: str) -> float:
    """`30d` as seconds, for an option."""
    from localfirst.units import parse_age

    try:
        return parse_age(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.callback()
def store() -> None:
    """Store: the models' files on this disk."""


def df(json: options.Json = False) -> None:
    """Show what takes how much space.

    Models, downloads that were not finished, unused revisions, engines, and files that are on this disk twice.
    """
    from localfirst.cli import output
    from localfirst.cli.views import store
    from localfirst.services.usage import measure_usage

    usage = measure_usage(time.time())
    output.print_report(lambda screen: store.render_usage(usage, screen), lambda: store.usage_to_json(usage), json=json)


def gc(
    older: Annotated[
        float,
        typer.Option(
            "--older", metavar="AGE", parser=parse_age, help="Spare what is younger, e.g. 30d.", show_default=False
        ),
    ] = "0s",  # type: ignore[assignment]  # Typer parses defaults too
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only say what would go.")] = False,
    json: options.Json = False,
) -> None:
    """Remove what nothing needs.

    Downloads that nobody goes on with, revisions that are not in use, and what killed commands left.
    Models stay, and so does every file that lf did not put there.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import store
    from localfirst.services.tidy import collect

    with show_progress(quiet=json) as report:
        collected = collect(older_s=older, dry_run=dry_run, now=time.time(), report=report)
    output.print_report(
        lambda screen: store.render_collected(collected, screen),
        lambda: store.collected_to_json(collected),
        json=json,
    )


def location(json: options.Json = False) -> None:
    """Show where the store is.

    And why there, and which stores of others are read.
    """
    from localfirst.cli import output
    from localfirst.cli.views import store
    from localfirst.services.usage import find_location

    found = find_location()
    output.print_report(
        lambda screen: store.render_location(found, screen), lambda: store.location_to_json(found), json=json
    )


def move(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=options.parse_path, help="A new or empty folder.", show_default=False),
    ],
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move the models to another folder.

    And remember it. Models can be used all the while. If it is interrupted, run it again.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import store
    from localfirst.store.upkeep.move import move as move_store

    with show_progress(quiet=quiet or json) as report:
        moved = move_store(folder, report=report)
    output.print_report(lambda screen: store.render_moved(moved, screen), lambda: store.moved_to_json(moved), json=json)

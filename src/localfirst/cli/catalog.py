"""`lf catalog`: the catalogs that models are looked up in."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app


class CatalogGroup(TableGroup):
    """`lf catalog`."""

    table = MappingProxyType(
        {
            "list": Row("localfirst.cli.catalog:list_", "List catalogs."),
            "add": Row("localfirst.cli.catalog:add", "Add a catalog of your own."),
            "remove": Row("localfirst.cli.catalog:remove", "Remove a catalog that was added."),
            "lint": Row("localfirst.cli.catalog:lint", "Find mistakes in a catalog file."),
            "check": Row("localfirst.cli.catalog:check", "Compare the catalog with the hub."),
        }
    )


app = make_app(cls=CatalogGroup, no_args_is_help=True)

CatalogArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name that `lf catalog list` shows.")]


@app.callback()
def catalog() -> None:
    """Catalogs: where models are looked up."""


def list_(json: options.Json = False) -> None:
    """List catalogs.

    The built-in one and those that were added, each with its models, builds and mistakes.
    """
    from localfirst.cli import output
    from localfirst.services.catalogue import find_catalogs

    output.print_catalogs(find_catalogs(), json=json)


def add(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="A catalog in the format of catalog.yaml.")],
    name: Annotated[str | None, typer.Option("--name", help="The name to give it.", show_default=False)] = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Add a catalog of your own.

    It is checked and copied. Its models join the built-in ones; a name that is taken is refused.
    """
    from localfirst.cli import output
    from localfirst.services import own_catalogs

    output.print_catalogs((own_catalogs.add(source, name, offline=offline),), json=json)


def remove(name: CatalogArgument) -> None:
    """Remove a catalog that was added.

    Models that are on this disk stay there.
    """
    from localfirst.cli import output
    from localfirst.services import own_catalogs

    own_catalogs.remove(name)
    output.print_text(f"{name} is removed\n")


def lint(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A catalog file; the built-in one if not said.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Find mistakes in a catalog file.

    Each with its line, its model and what is wrong there.
    """
    from localfirst.cli import output
    from localfirst.services import own_catalogs

    linted = own_catalogs.lint(file)
    output.print_catalogs((linted,), json=json)
    if linted.mistakes:
        raise typer.Exit(1)
    if not json:
        output.print_text("\nNo mistakes\n")


def check(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Only this model.", autocompletion=options.complete_model),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Correct the entries in this catalog file.")
    ] = None,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
) -> None:
    """Compare the catalog with the hub.

    Revisions, file names, sizes, digests and gates, of every build or those of one model. With --write, what has
    changed there is corrected in a catalog file; review it before you trust it. Ends with 1 where something has
    changed or is gone, and with 6 where the hub did not tell of every build.
    """
    from localfirst.cli import output
    from localfirst.services import pins

    if write is not None:
        pins.read_target(write)
    checks = output.print_pin_checks(pins.check_pins(model, offline=offline), json=json)
    if write is not None:
        output.print_notice(f"Entries corrected in {write}: {pins.write_entries(write, checks)}")
    if any(one.state in ("changed", "gone") for one in checks):
        raise typer.Exit(1)
    if any(one.state == "unknown" for one in checks):
        raise typer.Exit(6)

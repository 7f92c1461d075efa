"""`lf doctor`: what works here, what does not, and what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.errors import UsageError


def doctor(
    network: Annotated[bool, typer.Option("--network", help="Ask the hub too.")] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Write what lf reads of this machine, and do no more."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the FILE of --record.")] = False,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the evidence of every check.")] = False,
) -> None:
    """Find what is wrong.

    Looks at this machine, the folders, the settings and every runtime. With --record, writes what lf reads of this
    machine to a file, without names and serial numbers.
    """
    from localfirst.cli import output
    from localfirst.services.doctor import examine, record_to

    if network and offline:
        raise UsageError("`--network` asks the hub, and `--offline` forbids to", hint="Leave one of them out")
    if record is not None:
        record_to(record, force=force)
        output.print_recorded(record, json=json)
        return
    if output.print_checks(examine(network=network), json=json, verbose=verbose):
        raise typer.Exit(1)

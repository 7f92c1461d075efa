"""`lf bench calibrate`: measure the engines that are here, so that speeds of other models are foretold by it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.errors import UsageError

FORMATS = ("table", "json")


def calibrate(
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME,...", help="These engines or runtimes only; else all that are here."),
    ] = None,
    output_format: Annotated[
        str, typer.Option("-o", "--output", metavar="|".join(FORMATS), help="How to print what was measured.")
    ] = "table",
    json: Annotated[bool, typer.Option("--json", help="The same as `-o json`.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure this machine, to foretell speeds.

    How fast its memory is read, and three networks of made-up weights in each engine that is here: about a minute.
    Speeds in `lf model list --fits` and `lf model explain` follow from it. Ordinary runs add what they see.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import measure_until_stopped
    from localfirst.services.bench.calibrate import Calibrator
    from localfirst.services.bench.marks import BUSY_SHARE

    form = "json" if json else output_format
    if form not in FORMATS:
        raise UsageError(f"`-o` does not know `{form}`", detail=f"known: {', '.join(FORMATS)}")
    names = tuple(part.strip() for part in (backend or "").split(",") if part.strip())
    one = Calibrator(names)
    silent = quiet or (form != "table" and not sys.stderr.isatty())
    before = one.prepare()
    if not quiet and before.busy_share is not None and before.busy_share > BUSY_SHARE:
        output.print_notice(
            f"The machine is busy (others take {before.busy_share:.0%} of its processors): "
            "figures will be too low; type it again when it is quiet"
        )
    code = measure_until_stopped(one.measure, quiet=silent)
    found = one.finish()
    if one.errors and not found.figures and not code:
        raise one.errors[0]
    output.print_calibration(found, json=form == "json")
    if code or one.errors:
        raise typer.Exit(code or one.errors[0].exit_code)

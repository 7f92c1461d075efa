"""`lf model pack`: a model as one program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localfirst.cli import options


def pack(
    model: options.ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The llamafile to write.", show_default=False)
    ],
    engine: Annotated[
        Path | None,
        typer.Option(
            "--engine",
            metavar="PATH",
            help="A llamafile without a model; the one on the path if not said.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="WORD", help="What it starts itself with besides; may be repeated."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a model a program.

    One file that runs it wherever it is put: a llamafile of yours, with the model's GGUF file in it.
    """
    from localfirst.cli import output as screen
    from localfirst.cli.progress import show_progress
    from localfirst.services.packing import pack_model

    with show_progress(quiet=quiet or json) as report:
        packed = pack_model(model, output, engine=engine, arguments=arg or (), report=report)
    screen.print_packed(packed, json=json)

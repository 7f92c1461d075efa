"""`lf model import`: use a model that is on this disk already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localfirst.cli import options


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            parser=options.parse_path,
            help="A .gguf, .litertlm or .llamafile file; a folder with an ONNX, OpenVINO or MLX model.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name to give it.", show_default=False)
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy it into the store, so that the original may go.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Use a model that you have.

    It is checked, and left where it is; with --copy the store gets files of its own.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import imports as view
    from localfirst.services.importing import import_model

    with show_progress(quiet=quiet or json) as report:
        imported = import_model(path, name, copy=copy, report=report)
    output.print_report(
        lambda screen: view.render_imported(imported, screen), lambda: view.imported_to_json(imported), json=json
    )

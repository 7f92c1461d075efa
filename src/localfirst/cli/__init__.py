"""The command line: options in, one service call, output out.

`main` is the one place that catches an `LfError`; anything else that escapes is a bug and shows as one.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from localfirst import __version__
from localfirst.cli import completion, hw, model, output, run, runtime
from localfirst.errors import LfError

app = typer.Typer(
    name="lf",
    help="Run the build of a language model that its own vendor made for a computer like yours.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: Rich's takes twice as long to show
    pretty_exceptions_enable=False,
    add_completion="_LF_COMPLETE" in os.environ,  # only when a shell asks; see `lf completion`
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("run")(run.run)
app.command("list")(model.list_)
app.command("pull")(model.pull)
app.command("rm")(model.rm)
app.add_typer(model.app, name="model")
app.add_typer(runtime.app, name="runtime")
app.command("hw")(hw.hw)
app.command("completion")(completion.completion)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.print_text(f"lf {__version__}\n")
        raise typer.Exit


@app.callback()
def lf(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run `lf` with the words of the command line; never returns."""
    try:
        app(prog_name="lf")
    except LfError as error:
        output.print_error(error, json="--json" in sys.argv)
        sys.exit(error.exit_code)

"""The command line: options in, one service call, output out.

`main` is the one place that catches an `LfError`, a name that the system's encoding lacks and, under `--json`, what
Typer refuses; anything else that escapes is a bug and shows as one.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

import typer

from localfirst import __version__
from localfirst.cli import streams
from localfirst.cli.groups import Row, TableGroup, make_app
from localfirst.errors import LfError, UsageError

_Refused: type[Exception] = typer.BadParameter.__mro__[1]
"""What Typer raises for words that it does not take; it exports only the one for a value."""


_YES_OR_NO = frozenset(["", *"01tfyn", "true", "false", "yes", "no", "on", "off"])
"""What Typer takes for a flag that is set by a variable."""


class Root(TableGroup):
    """`lf`."""

    table = MappingProxyType(
        {
            "run": Row("localfirst.cli.run:run", "Run a model."),
            "embed": Row("localfirst.cli.embed:embed", "Turn texts into vectors."),
            "serve": Row("localfirst.cli.serve:serve", "Serve models to programs."),
            "server": Row("localfirst.cli.server:app", "Server: the one in the background."),
            "ps": Row("localfirst.cli.ps:ps", "Show what is loaded in the server."),
            "load": Row("localfirst.cli.ps:load", "Load a model into the server."),
            "stop": Row("localfirst.cli.ps:stop", "Unload models from the server."),
            "env": Row("localfirst.cli.env:env", "Print the variables by which programs find the server."),
            "launch": Row("localfirst.cli.launch:launch", "Start a program that asks the server."),
            "list": Row("localfirst.cli.model:list_", "List models."),
            "bench": Row("localfirst.cli.bench:app", "Measure how fast models are here."),
            "pull": Row("localfirst.cli.model:pull", "Fetch a model."),
            "rm": Row("localfirst.cli.model:rm", "Remove models from this disk."),
            "model": Row("localfirst.cli.model:app", "Models: all that can be done with one."),
            "runtime": Row("localfirst.cli.runtime:app", "Runtimes: the engines that models run on."),
            "catalog": Row("localfirst.cli.catalog:app", "Catalogs: where models are looked up."),
            "bundle": Row("localfirst.cli.bundle:app", "Bundles: models and engines for a machine without a network."),
            "store": Row("localfirst.cli.store:app", "Store: the models' files on this disk."),
            "login": Row("localfirst.cli.account:login_app", "Log in to the hub."),
            "logout": Row("localfirst.cli.account:logout", "Log out of the hub."),
            "hw": Row("localfirst.cli.hw:hw", "Show this machine."),
            "doctor": Row("localfirst.cli.doctor:doctor", "Find what is wrong."),
            "completion": Row("localfirst.cli.completion:completion", "Print the completion script of a shell."),
        }
    )


app = make_app(
    cls=Root,
    name="lf",
    help="Run the build of a language model that its own vendor made for a computer like yours.",
    no_args_is_help=True,
    add_completion="_LF_COMPLETE" in os.environ,  # only when a shell asks; see `lf completion`
)


def _print_version(wanted: bool) -> None:
    from localfirst.cli import output

    if wanted:
        output.print_text(f"lf {__version__}\n")
        raise typer.Exit


@app.callback()
def lf(
    version: Annotated[  # noqa: ARG001 - its callback has printed it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network, whatever the command.")] = False,
    mirror: Annotated[
        str | None,
        typer.Option("--mirror", metavar="URL", help="Fetch from this copy of the hub; it is given no token."),
    ] = None,
) -> None:
    """Take the options that stand before a command."""
    if offline:
        os.environ["LF_OFFLINE"] = "1"  # where every command that could use the network looks
    if (said := os.environ.get("LF_OFFLINE", "")).lower() not in _YES_OR_NO:
        raise UsageError(f"LF_OFFLINE says neither yes nor no: {said}", hint="Set it to 1 or 0, or unset it")
    if mirror is not None:
        from localfirst.cli import options

        options.use_mirror(mirror)


def main() -> NoReturn:
    """Run `lf` with the words of the command line; never returns."""
    streams.open_missing()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # an orderly end, with its words
    json = "--json" in sys.argv
    try:
        code = app(prog_name="lf", standalone_mode=not json)
    except LfError as error:
        _fail(error, json=json)
    except _Refused as refused:
        _fail(_explain(refused), json=json)
    except UnicodeEncodeError as error:
        if error.encoding.startswith("utf"):  # what it cannot encode is no text
            raise
        _fail(_explain_encoding(error), json=json)
    else:
        sys.exit(code)
    finally:
        gc.freeze()  # the process ends: Python's last search for garbage would take as long as starting it


def _fail(error: LfError, *, json: bool) -> NoReturn:
    from localfirst.cli import output

    output.print_error(error, json=json)
    sys.exit(error.exit_code)


def _explain_encoding(error: UnicodeEncodeError) -> UsageError:
    """A path that is known here and that the system, as it is set, has no name for."""
    return UsageError(
        f"A name has characters that this system's encoding, {error.encoding}, lacks",
        detail=str(error.object),
        hint="Set `PYTHONUTF8=1`, or a locale such as `LANG=C.UTF-8`",
    )


def _explain(refused: Any) -> UsageError:
    """What Typer says of words that it does not take, as an error of ours."""
    context = refused.ctx
    usage = context.get_usage() if context else None
    hint = f"`{context.command_path if context else 'lf'} --help` shows what it takes"
    return UsageError(refused.format_message().rstrip("."), detail=usage, hint=hint)

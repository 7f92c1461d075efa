"""`lf server`: the server that runs in the background."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app
from localfirst.errors import ServerError

if TYPE_CHECKING:
    from localfirst.server.background import Started

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


class ServerGroup(TableGroup):
    """`lf server`."""

    table = MappingProxyType(
        {
            "start": Row("localfirst.cli.server:start_app", "Start the server."),
            "stop": Row("localfirst.cli.server:stop", "End the server."),
            "restart": Row("localfirst.cli.server:restart_app", "End the server, and start it as before."),
            "status": Row("localfirst.cli.server:status", "Show whether the server runs, and where."),
            "logs": Row("localfirst.cli.server:logs", "Show what the server says."),
            "unit": Row("localfirst.cli.unit:unit", "Print a file by which the system starts the server."),
        }
    )


app = make_app(cls=ServerGroup, no_args_is_help=True)
start_app, restart_app = make_app(), make_app()
ServeOptions = Annotated[
    list[str] | None,
    typer.Argument(metavar="[OPTIONS OF lf serve]", help="As `lf serve --help` lists them.", show_default=False),
]


@app.callback()
def server() -> None:
    """Server: the one in the background.

    It is `lf serve` in a process that outlives the terminal. `lf serve --help` says what it does.
    """


@start_app.command("start", context_settings=PASSED_ON)
def start(words: ServeOptions = None, json: options.Json = False) -> None:
    """Start the server.

    In the background, until `lf server stop` or the machine's end. Prints where it is once it answers. Takes every
    option of `lf serve`, such as `--port 8000` or `--keep-alive forever`, and remembers them for `lf server restart`.
    """
    from localfirst.server import background

    _show(background.start(background.Remembered(tuple(words or ()), str(Path.cwd()))), json=json)


def stop(json: options.Json = False) -> None:
    """End the server.

    Answers that are being given have two seconds to end.
    """
    from localfirst.cli import output
    from localfirst.cli.views import serving as views
    from localfirst.server import background
    from localfirst.server.found import find_servers

    record = next(iter(find_servers()), None)
    forced = record is not None and not background.end(record)
    text = f"The server at {record.place} has ended" if record else "No server runs here"
    output.print_report(
        lambda _: [f"{text}{', by force: it did not by itself' if forced else ''}"],
        lambda: {"stopped": views.server_to_json(record) if record else None, "forced": forced},
        json=json,
    )


@restart_app.command("restart", context_settings=PASSED_ON)
def restart(words: ServeOptions = None, json: options.Json = False) -> None:
    """End the server, and start it as before.

    With the options and the key it had; options that are named here replace all of those it had.
    """
    from localfirst.errors import LfError
    from localfirst.server import background

    running, remembered = background.find_background(), background.read_remembered()
    if words or remembered is None:
        remembered = background.Remembered(tuple(words or ()), str(Path.cwd()))
    key = None
    if running is not None:
        try:
            key = background.read_key(running)
        except LfError:  # it does not answer, which may be why it is started anew
            key = None
        background.end(running)
    _show(background.start(remembered, key), json=json)


def _show(started: Started, *, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.screen import line
    from localfirst.cli.views import serving as views
    from localfirst.server import background

    output.print_report(
        lambda _: [
            line(f"A server runs at {started.record.place} (process {started.record.pid})"),
            *views.render_made_key(started.made_key),
            line(f"Its log: {background.log_file()}; `lf server stop` ends it"),
        ],
        lambda: {**views.server_to_json(started.record), "made_key": started.made_key},
        json=json,
    )


def status(json: options.Json = False) -> None:
    """Show whether the server runs, and where.

    Exits with 11 where none does.
    """
    from localfirst.cli import output
    from localfirst.cli.views import serving as views
    from localfirst.server import background, management
    from localfirst.server.client import Client
    from localfirst.server.found import NO_SERVER, find_servers

    servers = find_servers()
    if not servers:
        raise NO_SERVER
    found = []
    for record in servers:
        about, models = None, 0
        with Client(record) as client, suppress(ServerError):
            models, about = len(client.get(management.MODELS)["models"]), client.get(management.SERVER)
        log = str(background.log_file()) if record.background else None
        found.append(views.Status(record, about, models, log))
    output.print_report(
        lambda _: [text for one in found for text in views.render_status(one)],
        lambda: {"servers": [views.status_to_json(one) for one in found]},
        json=json,
    )


def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="Begin with the last N lines.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written; Ctrl-C ends it.")] = False,
) -> None:
    """Show what the server says.

    When models come and go, and each request with its status and time: no word of what was asked or answered.
    """
    from localfirst.cli import output
    from localfirst.cli.screen import line
    from localfirst.server import background

    size = background.log_file().stat().st_size if background.log_file().exists() else 0
    for text in background.read_log(lines):
        output.print_text(f"{line(text)}\n")
    if follow:
        for text in background.follow_log(size):
            output.print_text(f"{line(text)}\n")

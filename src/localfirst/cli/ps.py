"""`lf ps`, `lf load`, `lf stop`: what is loaded in the server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from localfirst.cli import options
from localfirst.errors import UsageError


def ps(json: options.Json = False) -> None:
    """Show what is loaded in the server.

    Which build in which engine, what memory it needs, whether it is answering, and when it goes.
    """
    from localfirst.cli import output
    from localfirst.cli.views import serving as views
    from localfirst.server import management
    from localfirst.server.client import Client
    from localfirst.server.found import find_servers

    record = next(iter(find_servers()), None)
    models: list[dict[str, Any]] = []
    if record is not None:
        with Client(record) as client:
            models = client.get(management.MODELS)["models"]
    output.print_report(
        lambda screen: [*views.render_loaded(record, models, screen)],
        lambda: {"server": views.server_to_json(record) if record else None, "models": models},
        json=json,
    )


def load(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model on this disk (`lf list --installed`), as name[:size][@quant][#backend]; or hf:org/repo.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ],
    keep_alive: Annotated[
        str | None,
        typer.Option("--keep-alive", metavar="TIME", help="Unload it when unused for so long: 1h, 0, forever."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Load a model into the server.

    Before anybody asks for it. With `--keep-alive forever` it stays until `lf stop`, and makes no room for others.
    """
    from localfirst.cli import output
    from localfirst.cli.serve import parse_keep_alive
    from localfirst.cli.views import serving as views
    from localfirst.server import management
    from localfirst.server.client import Client
    from localfirst.server.found import find_server

    asked: dict[str, Any] = {"model": model}
    if keep_alive is not None:
        seconds = parse_keep_alive(keep_alive)
        asked["keep_alive_s"] = "forever" if seconds is None else seconds
    record = find_server()
    with Client(record) as client:
        shown = client.post(management.LOAD, asked, patient=True)
    output.print_report(lambda screen: [*views.render_loaded(record, [shown], screen)], lambda: shown, json=json)


def stop(
    model: options.OptionalModelArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Unload all.")] = False,
    json: options.Json = False,
) -> None:
    """Unload models from the server.

    An answer that it is giving ends. The server goes on; `lf server stop` ends it.
    """
    from localfirst.cli import output
    from localfirst.server import management
    from localfirst.server.client import Client
    from localfirst.server.found import find_server

    if (model is None) != everything:
        raise UsageError("Name one model, or `--all`", hint="`lf ps` shows what is loaded; `lf server stop` ends all")
    with Client(find_server()) as client:
        done = client.post(management.UNLOAD, {"model": model}, patient=True)
    said = [f"Unloaded {name}" for name in dict.fromkeys(done["unloaded"])] or ["Nothing is loaded"]
    output.print_report(lambda _: said, lambda: done, json=json)

"""`lf runtime`: the engines that models run on."""

from __future__ import annotations

from typing import Annotated

import typer

from localfirst.cli import options, output

app = typer.Typer(help="Engines: list, install, remove, test.", no_args_is_help=True)


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the runtimes and their state."""
    from localfirst.services.engines import find_runtimes

    output.print_runtimes(find_runtimes(), json=json)


@app.command()
def install(
    name: options.RuntimeArgument,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Install a runtime. Into an environment of its own, and only if it passes its test."""
    from localfirst.cli.progress import show_progress
    from localfirst.services import engines

    runtime = engines.find_runtime(name)
    with show_progress(quiet=quiet) as report:
        output.print_installed(engines.ensure(runtime, offline=offline, may_install=True, report=report))


@app.command()
def remove(name: options.RuntimeArgument) -> None:
    """Remove an installed runtime."""
    from localfirst.services import engines

    output.print_removed(name, engines.remove(engines.find_runtime(name)))


@app.command()
def test(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only this runtime.", autocompletion=options.complete_runtime),
    ] = None,
    json: options.Json = False,
) -> None:
    """Test the runtimes. In each one, the built-in starter model answers a known question."""
    from localfirst.services import engines

    tests = engines.run_tests(name)
    output.print_tests(tests, json=json)
    if any(test.error is not None for test in tests):
        raise typer.Exit(1)

"""`lf runtime`: the engines that models run on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app


class RuntimeGroup(TableGroup):
    """`lf runtime`."""

    table = MappingProxyType(
        {
            "list": Row("localfirst.cli.runtime:list_", "List runtimes."),
            "install": Row("localfirst.cli.runtime:install", "Install a runtime."),
            "remove": Row("localfirst.cli.runtime:remove", "Remove runtimes."),
            "test": Row("localfirst.cli.runtime:test", "Test runtimes."),
        }
    )


app = make_app(cls=RuntimeGroup, no_args_is_help=True)


@app.callback()
def runtime() -> None:
    """Runtimes: the engines that models run on."""


def list_(json: options.Json = False) -> None:
    """List runtimes.

    Those that exist for this machine, and whether they are installed.
    """
    from localfirst.cli import output
    from localfirst.services.engines import find_tools, list_runtimes

    output.print_runtimes((*list_runtimes(), *find_tools()), json=json)


def install(
    name: options.RuntimeArgument,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Install a runtime.

    Into an environment of its own, and only if it passes its test. One that is compiled here takes minutes, and asks;
    so does one that nothing here can use.
    """
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.screen import wrap
    from localfirst.errors import LfError
    from localfirst.services import engines, yardstick

    runtime = engines.find_runtime(name)
    missing = runtime.python is None and not offline
    workshop = engines.find_workshop(name) if missing else None
    useless = engines.explain_uselessness(runtime) if missing else None
    if useless:
        consent.agree(lambda screen: wrap(useless, screen.width), agreed=yes, quiet=True, advised=False)
    if workshop:  # the installation itself says what it does
        consent.agree(lambda screen: wrap(engines.say_work(workshop), screen.width), agreed=yes, quiet=True)
    with show_progress(quiet=quiet) as report:
        installed = engines.install(name, offline=offline, report=report)
    output.print_installed(installed)
    if workshop:
        try:
            with show_progress(quiet=quiet) as report:
                gain = yardstick.compare(engines.find_runtimes(), report)
        except LfError as error:  # it is installed all the same
            output.print_notice(f"what it brings could not be measured: {error.message}")
            return
        if gain is not None:
            output.print_gain(gain)


def remove(names: options.RuntimesArgument, json: options.Json = False) -> None:
    """Remove runtimes.

    Models stay; a runtime is installed again when one needs it. Nothing is removed where one of the names is wrong.
    """
    from localfirst.cli import output
    from localfirst.services import engines

    output.print_removed(engines.remove(names), json=json)


def test(names: options.OptionalRuntimesArgument = None, json: options.Json = False) -> None:
    """Test runtimes.

    In each one the built-in starter model answers a known question.
    """
    from localfirst.cli import output
    from localfirst.services import engines

    tests = engines.run_tests(names or ())
    output.print_tests(tests, json=json)
    if any(test.error is not None for test in tests):
        raise typer.Exit(1)

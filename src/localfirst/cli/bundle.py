"""`lf bundle`: one file with models and engines, for a machine without a network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app

if TYPE_CHECKING:
    from localfirst.services.planning import Planned
    from localfirst.types import InstalledModel


class BundleGroup(TableGroup):
    """`lf bundle`."""

    table = MappingProxyType(
        {
            "create": Row("localfirst.cli.bundle:create", "Make a bundle."),
            "install": Row("localfirst.cli.bundle:install", "Install a bundle."),
            "show": Row("localfirst.cli.bundle:show", "Show what is in a bundle."),
        }
    )


app = make_app(cls=BundleGroup, no_args_is_help=True)

BundleArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A bundle that `lf bundle create` made.", show_default=False)
]


@app.callback()
def bundle() -> None:
    """Bundles: models and engines for a machine without a network."""


def create(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Models as `lf pull` takes them.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="NAME|FILE",
            help="The recorded machine (`lf hw --profiles`) that it is for; this one if not said.",
            autocompletion=options.complete_profile,
            show_default=False,
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="3.N", help="The Python that lf runs on there; this one's if not said."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", show_default=False)
    ] = None,
    models_only: Annotated[
        bool, typer.Option("--models-only", help="Leave out the engines: the machine has them.")
    ] = False,
    accept_license: options.AcceptLicense = False,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Make a bundle.

    One file with the builds that fit the machine it is for, and the engines that run them, every byte with its digest.
    """
    from localfirst.cli import consent
    from localfirst.cli import output as printer
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import bundles
    from localfirst.services import bundle as service

    def fetch(one: Planned, accepted: bool) -> InstalledModel:
        with show_progress(quiet=quiet or json) as report:
            return service.fetch(one, offline=offline, accept_license=accepted, report=report)

    with show_progress(quiet=quiet or json) as report:
        order = service.plan(
            models,
            profile=profile,
            python=python,
            output=output,
            models_only=models_only,
            offline=offline,
            report=report,
        )
    installed = [consent.ask(partial(fetch, one), accepted=accept_license) for one in order.plans]
    with show_progress(quiet=quiet or json) as report:
        made = service.create(order, installed, report=report)
    printer.print_report(partial(bundles.render_created, made), partial(bundles.bundle_to_json, made), json=json)


def install(
    file: BundleArgument,
    models_only: Annotated[bool, typer.Option("--models-only", help="Leave out the engines that are in it.")] = False,
    trust_engines: Annotated[
        bool, typer.Option("--trust-engines", help="Also take engines that no digest is known of: those for GPUs.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Install a bundle.

    Nothing is put in place before every byte was found right. Needs no network.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import bundles
    from localfirst.services import bundle_install

    with show_progress(quiet=quiet or json) as report:
        done = bundle_install.install(file, models_only=models_only, trust_engines=trust_engines, report=report)
    output.print_report(partial(bundles.render_installed, done), partial(bundles.installed_to_json, done), json=json)


def show(
    file: BundleArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare it with its digest.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what is in a bundle.

    Which models and engines, for which machine, and how large they are.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import bundles
    from localfirst.services import bundle as service

    with show_progress(quiet=quiet or json) as report:
        shown = service.show(file, verify=verify, report=report)
    output.print_report(partial(bundles.render_bundle, shown), partial(bundles.bundle_to_json, shown), json=json)

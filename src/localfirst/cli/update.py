"""`lf model outdated / update / rollback / pin / unpin`: newer revisions of what is on this disk, and older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options

if TYPE_CHECKING:
    from localfirst.services.updates import Updated


def outdated(
    models: options.OptionalModelsArgument = None,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Show which models have a newer revision.

    Where the catalog names a revision, that is the newest; of the others the hub is asked. Ends with 6 where the hub
    did not tell.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import revisions
    from localfirst.services.updates import find_outlooks

    with show_progress(quiet=quiet or json) as report:
        found = find_outlooks(models or (), offline=offline, report=report)
    output.print_report(
        lambda screen: revisions.render_outlooks(found, screen, every=bool(models)),
        lambda: revisions.outlooks_to_json(found),
        json=json,
    )
    if any(one.state == "unknown" for one in found):
        raise typer.Exit(6)


def update(
    models: options.OptionalModelsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Every model on this disk.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Fetch nothing; say what would be, and end with 1 if anything.")
    ] = False,
    accept_license: options.AcceptLicense = False,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch newer revisions of models.

    The newest is fetched beside the one that is used, verified, and then used. The old one stays on this disk:
    `lf model rollback` goes back to it.
    """
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import revisions
    from localfirst.services import updates

    def fetch(accepted: bool) -> tuple[Updated, ...]:
        with show_progress(quiet=quiet or json) as report:
            return updates.update(
                models or (), every=every, check=check, offline=offline, accept_license=accepted, report=report
            )

    done = consent.ask(fetch, accepted=accept_license)
    output.print_report(
        lambda screen: revisions.render_updated(done, screen, check=check),
        lambda: revisions.updated_to_json(done),
        json=json,
    )
    if failed := next((one.error for one in done if one.error), None):
        raise typer.Exit(failed.exit_code)
    if check and any(one.outlook.is_due for one in done):
        raise typer.Exit(1)


def rollback(
    model: options.ModelArgument,
    revision: Annotated[
        str | None,
        typer.Argument(metavar="[REVISION]", help="A commit on this disk, or how it begins.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Use an earlier revision of a model.

    The one that was used before, or REVISION. Nothing is fetched or removed; again, it goes further back.
    """
    from localfirst.cli import output
    from localfirst.cli.views import revisions
    from localfirst.services.updates import roll_back

    moved = roll_back(model, revision)
    output.print_report(
        lambda screen: revisions.render_moved(moved, screen), lambda: revisions.moved_to_json(moved), json=json
    )


def pin(models: options.InstalledModelsArgument, json: options.Json = False, _quiet: options.Quiet = False) -> None:
    """Hold models at their revisions.

    An update leaves them where they are, and says so; nothing cleans them away. `lf model unpin` lets them move again.
    """
    _set_pins(models, pinned=True, json=json)


def unpin(models: options.InstalledModelsArgument, json: options.Json = False, _quiet: options.Quiet = False) -> None:
    """Let pinned models be updated again."""
    _set_pins(models, pinned=False, json=json)


def _set_pins(models: list[str], *, pinned: bool, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.views import revisions
    from localfirst.services.updates import set_pins

    done = set_pins(models, pinned=pinned)
    output.print_report(
        lambda screen: revisions.render_pins(done, screen), lambda: revisions.pins_to_json(done), json=json
    )

"""`lf model lock`, and `lf pull --locked`: the same bytes on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.cli import options

if TYPE_CHECKING:
    from localfirst.services.locking import Fulfilled


def lock(
    models: options.ModelsArgument,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Write down exactly which files models consist of.

    As JSON, for `lf model lock MODEL... > lf.lock`: each repository, commit, path, size and digest. `lf pull --locked
    lf.lock` has the same bytes on another machine, or says what differs. Of a model that is on this disk, its revision
    there is locked; of another, the build that would be fetched here.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.services.locking import lock_models
    from localfirst.store.lockfile import format_lock

    with show_progress(quiet=quiet) as report:
        locked = lock_models(models, offline=offline, report=report)
    output.print_text(format_lock(locked))


def pull_locked(path: Path, *, accept_license: bool, json: bool, offline: bool, quiet: bool) -> None:
    """Fetch what a lock file lists, and nothing else."""
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_events, show_progress
    from localfirst.cli.views import locks
    from localfirst.services import locking

    def fetch(accepted: bool) -> tuple[Fulfilled, ...]:
        with show_events() if json and not quiet else show_progress(quiet=quiet) as report:
            return locking.pull_locked(path, offline=offline, accept_license=accepted, report=report)

    done = consent.ask(fetch, accepted=accept_license)
    output.print_report(
        lambda screen: locks.render_fulfilled(done, screen),
        lambda: {"event": "done"} | locks.fulfilled_to_json(done),
        json=json,
    )

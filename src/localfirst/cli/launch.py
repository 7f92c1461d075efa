"""`lf launch`: start other programs so that they ask the server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from localfirst.cli import options
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from localfirst.server.launch.apps import App
    from localfirst.server.launch.start import Launch


def _complete(begun: str) -> list[str]:
    from localfirst.server.launch.apps import APPS

    return [name for name in APPS if name.startswith(begun)]


def launch(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="[APP]",
            help="A program; without one, those that are known are listed.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- WORDS]", help="What is passed to it, behind `--`.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="The model to begin with, one on this disk."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be changed and started; do nothing.")
    ] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Only change its settings.")] = False,
    restore: Annotated[bool, typer.Option("--restore", help="Put its settings back as they were.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Start a program that asks the server.

    Coding agents, editors, chats: told the server's address and your models, by variables for this one run where that
    will do, else in a file of settings, beside what is in it, with a copy of what it was. A server is started where
    none runs.
    """
    from localfirst.server.launch import start

    if app is None:
        if model is not None or dry_run or no_start or restore:
            raise UsageError("No program is named", hint="Name one: `lf launch` lists them")
        _list(json=json)
        return
    chosen = start.find_app(app)
    if sum((dry_run, no_start, restore)) > 1:
        raise UsageError("`--dry-run`, `--no-start` and `--restore` are one at a time")
    if restore:
        _restore(app, chosen, json=json)
        return
    starts = not dry_run and not no_start and chosen.program is not None
    if starts and json:
        raise UsageError("A program that is started has the output to itself", hint="Add `--no-start` or `--dry-run`")
    if starts:
        start.require_installed(chosen)
    one = start.prepare(app, tuple(words or ()), model, starts=starts, tell=partial(_tell, quiet=quiet))
    if starts:
        _start(one, quiet=quiet)
    _change(one, dry_run=dry_run, json=json)


def _list(*, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.views import launch as views
    from localfirst.server.launch import start
    from localfirst.server.launch.apps import APPS

    found = [(name, one, start.is_installed(one)) for name, one in APPS.items()]
    output.print_report(
        lambda screen: [*views.render_apps(found, screen)],
        lambda: {"apps": [views.app_to_json(*one) for one in found]},
        json=json,
    )


def _restore(name: str, app: App, *, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.screen import line
    from localfirst.server.launch import kept

    if app.settings is None:
        raise UsageError(f"There is nothing to put back: no file of {app.title} is ever changed")
    done = kept.restore(app.settings)
    what = "was removed: it had not been there" if done.removed else "is what it was"
    output.print_report(
        lambda _: [line(f"{done.path} {what}")],
        lambda: {"app": name, "path": str(done.path), "removed": done.removed},
        json=json,
    )


def _change(one: Launch, *, dry_run: bool, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.views import launch as views
    from localfirst.server.launch import kept

    backup = None if dry_run or one.edit is None or not one.edit.changes else kept.write(one.edit)
    output.print_report(
        lambda _: [*views.render_launch(one, backup, dry_run=dry_run)],
        lambda: views.launch_to_json(one, backup, dry_run=dry_run),
        json=json,
    )


def _start(one: Launch, *, quiet: bool) -> NoReturn:
    from localfirst.cli.views import launch as views
    from localfirst.server.launch import kept, start

    if one.edit is not None and one.edit.changes:
        backup = kept.write(one.edit)
        kept_at = f"; what it was: {backup}" if backup else ""
        _tell(f"{one.edit.path} was changed{kept_at}; `lf launch {one.name} --restore` puts it back", quiet=quiet)
    for remark in views.find_remarks(one):
        _tell(remark, quiet=quiet)
    start.start(one)


def _tell(text: str, *, quiet: bool) -> None:
    from localfirst.cli import output

    if not quiet:
        output.print_notice(text)

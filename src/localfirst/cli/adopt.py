"""`lf model adopt`: use what other tools have on this disk."""

from __future__ import annotations

from typing import Annotated

import typer

from localfirst.cli import options


def adopt(
    tool: Annotated[str, typer.Argument(metavar="[hf|ollama|lmstudio|all]", help="Whose models.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be adopted.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Use the models of other tools.

    Finds those of the HF cache, Ollama and LM Studio, verifies them, and uses them where they lie: nothing
    is copied, and nothing of theirs is changed. Run it again after those tools have fetched or deleted something.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import adopt as view
    from localfirst.services.adopt import adopt_models

    with show_progress(quiet=quiet or json) as report:
        done = adopt_models(tool, dry_run=dry_run, report=report)
    output.print_report(lambda screen: view.render_adopted(done, screen), lambda: view.adopted_to_json(done), json=json)
    if any(item.state == "damaged" for item in done.items):
        raise typer.Exit(7)

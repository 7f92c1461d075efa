"""`lf model`: what there is, what fits, and what is on this disk."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import Row, TableGroup, make_app
from localfirst.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localfirst.types import InstalledModel


class ModelGroup(TableGroup):
    """`lf model`."""

    table = MappingProxyType(
        {
            "run": Row("localfirst.cli.run:run", "Run a model."),
            "embed": Row("localfirst.cli.embed:embed", "Turn texts into vectors."),
            "list": Row("localfirst.cli.model:list_", "List models."),
            "info": Row("localfirst.cli.model:info", "Show a model."),
            "explain": Row("localfirst.cli.model:explain", "Explain the choice of a build."),
            "pull": Row("localfirst.cli.model:pull", "Fetch a model."),
            "rm": Row("localfirst.cli.model:rm", "Remove models from this disk."),
            "import": Row("localfirst.cli.imports:import_", "Use a model that you have."),
            "optimize": Row("localfirst.cli.optimize:optimize", "Make an ONNX build of a model's own weights."),
            "outdated": Row("localfirst.cli.update:outdated", "Show which models have a newer revision."),
            "update": Row("localfirst.cli.update:update", "Fetch newer revisions of models."),
            "rollback": Row("localfirst.cli.update:rollback", "Use an earlier revision of a model."),
            "pin": Row("localfirst.cli.update:pin", "Hold models at their revisions."),
            "unpin": Row("localfirst.cli.update:unpin", "Let pinned models be updated again."),
            "lock": Row("localfirst.cli.lockfile:lock", "Write down exactly which files models consist of."),
            "adopt": Row("localfirst.cli.adopt:adopt", "Use the models of other tools."),
            "pack": Row("localfirst.cli.pack:pack", "Make a model a program."),
            "verify": Row("localfirst.cli.model:verify", "Verify the files of models."),
        }
    )


app = make_app(cls=ModelGroup, no_args_is_help=True)


@app.callback()
def model() -> None:
    """Models: all that can be done with one."""


def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...", help="Only models with these words in their name or vendor.", show_default=False
        ),
    ] = None,
    fits: Annotated[bool, typer.Option("--fits", help="Only what this machine can run.")] = False,
    installed: Annotated[bool, typer.Option("--installed", help="Only what is on this disk.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every build of each model, not only the best one here.")
    ] = False,
    sort: Annotated[
        str, typer.Option("--sort", metavar="best|name|params|size|need|speed", help="What comes first.")
    ] = "best",
    vendor: Annotated[str | None, typer.Option("--vendor", metavar="NAME", help="Only models of this vendor.")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only for this, such as chat.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="Only under this licence, such as mit.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Only builds of this format, such as gguf.")
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option("--max-size", metavar="SIZE", parser=options.parse_size, help="Only builds up to this, e.g. 5GB."),
    ] = None,
    tier: options.Tier = None,
    ctx: options.Context = None,
    device: options.Device = None,
    min_tps: options.MinTps = None,
    kv_cache: options.KvCache = None,
    json: options.Json = False,
    profile: options.Profile = None,
) -> None:
    """List models.

    All of them, or those with a text in their name: `lf list qwen`.

    For each one the build to use here, the memory it needs, its speed, or why it does not run.
    """
    from localfirst.cli import output
    from localfirst.services.listing import Filter, explain_nothing, list_models
    from localfirst.services.machines import find_machine, find_recorded
    from localfirst.services.planning import make_wanted

    only = Filter(fits, installed, vendor, task, license_, format_, max_size, tuple(words or ()))
    wanted = make_wanted(context_tokens=ctx, device=device, tier=tier, min_tps=min_tps, cache=kv_cache)
    machine = find_recorded(profile)
    plans = list_models(machine, only=only, wanted=wanted, sort=sort, every_build=every)
    output.print_models(
        plans, explain_nothing=lambda: explain_nothing(only, wanted, machine or find_machine()), json=json
    )


def info(
    model: options.ModelArgument,
    json: options.Json = False,
    profile: options.Profile = None,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
) -> None:
    """Show a model.

    Its licence, its builds with their sizes, and what of it is on this disk.
    """
    from localfirst.cli import output
    from localfirst.services.machines import find_recorded
    from localfirst.services.planning import describe_model

    described = describe_model(model, find_recorded(profile), offline=offline)
    entry = described.entry
    output.print_model_info(entry.model, described.plans, entry.histories, described.parts, json=json)


def explain(
    model: options.ModelArgument,
    ctx: options.Context = None,
    device: options.Device = None,
    backend: options.Backend = None,
    quant: options.Quant = None,
    tier: options.Tier = None,
    min_tps: options.MinTps = None,
    kv_cache: options.KvCache = None,
    draft: options.Draft = None,
    json: options.Json = False,
    profile: options.Profile = None,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
) -> None:
    """Explain the choice of a build.

    Which one would run here, and why each other one would not.
    """
    from localfirst.cli import output
    from localfirst.services.machines import find_recorded
    from localfirst.services.planning import make_wanted, plan_model

    wanted = make_wanted(
        context_tokens=ctx,
        device=device,
        backend=backend,
        quantization=quant,
        tier=tier,
        min_tps=min_tps,
        cache=kv_cache,
    )
    planned = plan_model(model, wanted, find_recorded(profile), offline=offline, draft=draft)
    output.print_explanation(planned.resolution, json=json)


def pull(
    model: options.OptionalModelArgument = None,
    backend: options.Backend = None,
    quant: options.Quant = None,
    device: options.Device = None,
    tier: options.Tier = None,
    min_tps: options.MinTps = None,
    locked: Annotated[
        Path | None, typer.Option("--locked", metavar="FILE", help="Fetch exactly what this lock file lists.")
    ] = None,
    accept_license: options.AcceptLicense = False,
    json: options.JsonLines = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a model.

    The build that fits this machine, every byte verified. Run it again to continue where it stopped. With --locked
    nothing is chosen: it is what `lf model lock` wrote down, to the byte, or nothing. With --json, stdout has a JSON
    object a line: events "progress" (a few a second) and "notice", and last the model, as "done".
    """
    if locked is not None:
        from localfirst.cli.lockfile import pull_locked

        choices = {
            model: model, "--backend": backend, "--quant": quant, "--device": device, "--tier": tier,
            "--min-tps": min_tps,
        }  # fmt: skip
        if chosen := [f"`{word}`" for word, value in choices.items() if value is not None]:
            raise UsageError("A lock file says which builds to fetch", hint=f"Leave out {', '.join(chosen)}")
        return pull_locked(locked, accept_license=accept_license, json=json, offline=offline, quiet=quiet)
    if model is None:
        raise UsageError("Name a model to fetch", hint="`lf list --fits` shows what runs here")
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_events, show_progress
    from localfirst.services.files import pull_model
    from localfirst.services.planning import make_wanted

    wanted = make_wanted(device=device, backend=backend, quantization=quant, tier=tier, min_tps=min_tps)

    def fetch(accepted: bool) -> InstalledModel:
        with show_events() if json and not quiet else show_progress(quiet=quiet) as report:
            return pull_model(model, wanted, offline=offline, accept_license=accepted, report=report)

    return output.print_pulled(consent.ask(fetch, accepted=accept_license), json=json)


def rm(models: options.InstalledModelsArgument, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Remove models from this disk.

    Every build and revision that the names mean. Files that you imported stay where they are.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import store
    from localfirst.services.files import remove_models

    names = tuple(dict.fromkeys(models))
    with show_progress(quiet=quiet or json) as report:
        removal = remove_models(names, report=report)
    output.print_report(
        lambda screen: store.render_removal(names, removal, screen),
        lambda: store.removal_to_json(names, removal),
        json=json,
    )


def verify(
    models: options.OptionalModelsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Every model on this disk.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read only what was written to since; of the rest, look at the sizes.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch what is wrong, and no more than that.")] = False,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Verify the files of models.

    Reads every byte again and compares it with its digest.
    """
    from localfirst.cli import output
    from localfirst.cli.progress import show_progress
    from localfirst.services.files import verify_models

    with show_progress(quiet=quiet or json) as report:
        verified = verify_models(models or (), every=every, quick=quick, repair=repair, offline=offline, report=report)
    output.print_verified(verified, json=json)
    mendable = [one.model.full_name for one in verified if one.is_mendable]
    if mendable and repair and offline:
        raise IntegrityError(
            "Files are damaged, and --offline forbids fetching what is wrong",
            detail="\n".join(mendable),
            hint="Run it again with a connection.",
        )
    if failed := next((one.error for one in verified if one.error), None):
        raise typer.Exit(failed.exit_code)
    if any(one.remedy for one in verified):
        raise typer.Exit(7)

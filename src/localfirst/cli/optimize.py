"""`lf model optimize`: make an ONNX folder of a model's own weights."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options

if TYPE_CHECKING:
    from localfirst.types import InstalledModel


def optimize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|hf:REPO",
            help="A folder with config.json and .safetensors files, or a repository, hf:org/repo[@revision].",
            show_default=False,
        ),
    ],
    device: Annotated[
        str, typer.Option("--for", metavar="DEVICE", help="What it is to run on: cpu, cuda, dml, webgpu or trt-rtx.")
    ] = "cpu",
    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="int4|fp16|fp32", help="Of the weights; int4 if not said, where there is."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-o", metavar="NAME", help="The name to give it.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; do what the plan says.")] = False,
    accept_license: options.AcceptLicense = False,
    json: options.Json = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Make an ONNX build of a model's own weights.

    By ONNX Runtime GenAI's model builder, which is installed in an environment of its own at the first time. The plan
    is shown before anything is fetched: the size, the memory, and about how long it takes. `lf run NAME` runs the
    result.
    """
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_progress
    from localfirst.cli.views import optimize as view
    from localfirst.services import optimize as service
    from localfirst.services.checkpoints import open_source
    from localfirst.services.importing import find_obstacle

    choice = service.choose(device=device, precision=precision, name=name)

    def make(accepted: bool) -> InstalledModel:
        with ExitStack() as opened:
            with show_progress(quiet=quiet or json) as report:
                found = opened.enter_context(
                    open_source(source, offline=offline, accept_license=accepted, report=report)
                )
                order = service.plan(found, choice, offline=offline)
            consent.agree(lambda screen: view.render_order(order, screen), agreed=yes, quiet=yes and (quiet or json))
            with show_progress(quiet=quiet or json) as report:
                return service.build(order, offline=offline, report=report)

    made = consent.ask(make, accepted=accept_license)
    output.print_report(
        lambda screen: view.render_made(made, find_obstacle(made.name), screen), made.to_record, json=json
    )

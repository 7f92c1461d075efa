"""`lf hw`: what this machine is."""

from __future__ import annotations

from typing import Annotated

import typer

from localfirst.cli import options


def hw(
    json: options.Json = False,
    profile: options.Profile = None,
    profiles: Annotated[bool, typer.Option("--profiles", help="List the recorded machines to ask for.")] = False,
) -> None:
    """Show this machine.

    Its processor, memory, GPUs and NPUs.
    """
    from localfirst.cli import output
    from localfirst.services.machines import find_machine, read_profiles

    if profiles:
        output.print_profiles(read_profiles(), json=json)
    else:
        output.print_machine(find_machine(profile), json=json)

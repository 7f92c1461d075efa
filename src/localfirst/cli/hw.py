"""`lf hw`: what this machine is."""

from __future__ import annotations

from localfirst.cli import options


def hw(json: options.Json = False, profile: options.Profile = None) -> None:
    """Show this machine.

    Its processor, memory, GPUs and NPUs.
    """
    from localfirst.cli import output
    from localfirst.services.machines import find_machine

    output.print_machine(find_machine(profile), json=json)

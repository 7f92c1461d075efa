"""`lf server unit`: a file by which the system starts the server."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What starts services."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"
    TASK = "task"
    QUADLET = "quadlet"


def unit(
    kind: Annotated[
        Kind, typer.Argument(metavar="systemd|launchd|task|quadlet", help="What is to start it.", show_default=False)
    ],
) -> None:
    """Print a file by which the system starts the server.

    With your login: by systemd on Linux, launchd on macOS, the Task Scheduler on Windows (task), or in a container by
    Podman (quadlet). The file itself says where it goes and how it is switched on.
    """
    from localfirst.cli import output
    from localfirst.paths import data_dir, home
    from localfirst.server.units import Place, make_unit

    moved = home()
    command = (str(Path(sys.executable).absolute()), "-m", "localfirst")
    place = Place(command, str(data_dir()), str(moved) if moved else None, str(data_dir() / "logs" / "server.log"))
    output.print_text(make_unit(kind.value, place))

"""What a lock file has led to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import wrap
from localfirst.cli.views.revisions import name_installed
from localfirst.cli.views.shapes import installed_to_json
from localfirst.store.names import say_revision
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.locking import Fulfilled


def render_fulfilled(done: Sequence[Fulfilled], screen: Screen) -> list[str]:
    """A line for each locked build: how it came to be here."""
    return [text for one in done for text in wrap(_say(one), screen.width, "")]


def _say(one: Fulfilled) -> str:
    model = one.installed
    how = "fetched and verified" if one.fetched else "part of lf" if model.host == "builtin" else "already here"
    at = f" at {say_revision(model.revision)}" if model.revision else ""
    instead = f", used from now on in place of {say_revision(one.before.revision)}" if one.before else ""
    return f"{name_installed(model)}{at} is as locked: {format_bytes(model.size_bytes)}, {how}{instead}"


def fulfilled_to_json(done: Sequence[Fulfilled]) -> dict[str, Any]:
    """`lf pull --locked FILE --json`."""
    return {
        "models": [
            installed_to_json(one.installed)
            | {"fetched": one.fetched, "before": one.before.revision if one.before else None}
            for one in done
        ]
    }

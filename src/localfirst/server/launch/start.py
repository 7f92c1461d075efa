"""From a program's name to its start: which server, which model, what is changed for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from localfirst.catalog.memory.build import CONTEXT_DEFAULT_TOKENS
from localfirst.catalog.rules import CHAT_TASKS
from localfirst.errors import LfError, UnknownNameError, UsageError
from localfirst.inheritance import inherit
from localfirst.server import background, management
from localfirst.server.client import Client
from localfirst.server.found import find_servers
from localfirst.server.launch import kept
from localfirst.server.launch.apps import AGENT_TOKENS, APPS, Offered, Told
from localfirst.services.serving.shelf import find_offers, find_one, find_served
from localfirst.units import parse_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localfirst.server.found import Record
    from localfirst.server.launch.apps import App
    from localfirst.services.serving.shelf import Offer

BUILT_IN = "starter"
DEFAULT_URL = "http://127.0.0.1:12060/v1"
"""Of a server that nobody has given another port."""


class Launch(NamedTuple):
    """A program with all that it is told."""

    name: str
    app: App
    told: Told
    edit: kept.Edit | None
    words: tuple[str, ...]
    """What it is started with."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What its environment has besides."""
        return self.app.variables(self.told)


def find_app(name: str) -> App:
    """A program of the table.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in APPS:
        raise UnknownNameError(
            f"No program `{name}` is known", detail=f"known: {', '.join(APPS)}", hint="List them: `lf launch`"
        )
    return APPS[name]


def is_installed(app: App) -> bool:
    """Whether it could be started; of one that runs within another, whether it has ever run."""
    if app.program is None:
        return app.settings is not None and app.settings.find().parent.exists()
    return shutil.which(app.program) is not None


def require_installed(app: App) -> None:
    """Refuse to start what is not there.

    Raises:
        LfError: with how to get it.
    """
    if app.program is not None and not is_installed(app):
        raise LfError(
            f"{app.title} is not installed: no `{app.program}` is on the PATH",
            hint=f"Get it: {app.get}; `--no-start` only changes its settings",
        )


def prepare(
    name: str, words: tuple[str, ...], model: str | None, *, starts: bool, tell: Callable[[str], None]
) -> Launch:
    """Decide everything; nothing is changed but that, where a program `starts`, a server may be started before.

    Args:
        name: of the program.
        words: the user's own, for the program.
        model: a model's name as typed; `None`: one that is loaded, or the newest on this disk.
        starts: whether a server is started where none runs.
        tell: told, in a line for people, what was chosen.

    Raises:
        UnknownNameError: no such program, or no such model on this disk.
        UsageError: the model does not answer, or none can be named to this program.
        LfError: the server cannot be started or does not answer; a file of the program's is not to be changed.
    """
    app = find_app(name)
    if model is not None and not app.begins:
        raise UsageError(f"{app.title} is told of every model, and not which to begin with", hint="Choose it there")
    record = next((one for one in find_servers() if one.socket is None), None)
    offers = _find_chatters()
    chosen = _choose(model, offers, record)
    if model is None and app.begins:
        tell(f"{app.title} begins with {chosen}; `--model` names another")
    if record is None and starts:
        options = ("--ctx", str(AGENT_TOKENS)) if app.agent else ()
        asked = background.read_remembered() or background.Remembered(options, str(Path.cwd()))
        record = background.start(asked).record
        tell(f"A server was started at {record.url}; `lf server stop` ends it")
    url, key = (DEFAULT_URL, None) if record is None else (record.url, background.read_key(record))
    context = _find_context(record)
    most = find_one(chosen).offer.context_tokens if app.begins else None
    if app.agent and most is not None and most < AGENT_TOKENS:
        tell(
            f"{chosen} has a context of {most:,} tokens at the most, in which {app.title} soon has no room: "
            f"choose one with {AGENT_TOKENS:,} or more by `--model`"
        )
    elif app.agent and context < AGENT_TOKENS and record is not None and record.background:
        tell(
            f"The server's models have a context of {context:,} tokens, in which {app.title} soon has no room: "
            f"`lf server restart --ctx {AGENT_TOKENS}`"
        )
    told = Told(
        url, key, chosen, tuple(Offered(one.name, min(one.context_tokens or context, context)) for one in offers)
    )
    edit = None if app.settings is None else kept.plan(app.settings, told)
    before = app.alone(told) if app.alone and not words else app.words(told)
    return Launch(name, app, told, edit, (*before, *words))


def start(launch: Launch) -> NoReturn:
    """Become the program; on Windows, which knows no such thing, run it and end as it did."""
    assert launch.app.program is not None  # noqa: S101 - whoever starts one has asked
    program = shutil.which(launch.app.program) or launch.app.program
    argv, hidden, variables = [program, *launch.words], launch.app.hidden, dict(launch.variables)
    if sys.platform == "win32":
        done = subprocess.run(argv, env=inherit(os.environ, leave=hidden) | variables, check=False)
        sys.exit(done.returncode)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, argv, inherit(os.environ, leave=hidden) | variables)  # noqa: S606 - no shell


def _find_chatters() -> tuple[Offer, ...]:
    """The models on this disk that answer; the one that comes with lf only where there is no other."""
    offers = [one for one in find_offers() if "@" not in one.name and one.task in CHAT_TASKS]
    own = [one for one in offers if one.name != BUILT_IN]
    return tuple(own or offers)


def _choose(asked: str | None, offers: tuple[Offer, ...], record: Record | None) -> str:
    if asked is not None:
        if find_served(asked).model.task not in CHAT_TASKS:
            raise UsageError(f"`{asked}` does not answer", hint="See those that do: `lf list`")
        return asked
    if record is not None:
        with Client(record) as client:
            loaded = {one["name"] for one in client.get(management.MODELS)["models"] if one["task"] == "chat"}
        if there := [one.name for one in offers if one.name in loaded]:
            return there[0]
    if not offers:
        raise UsageError("No model that answers is on this disk", hint="Fetch one: `lf list --fits`, `lf pull MODEL`")
    return max(offers, key=lambda one: one.created_s).name


def _find_context(record: Record | None) -> int:
    """Tokens that the server's models are loaded with, as far as can be known."""
    remembered = background.read_remembered() if record is not None and record.background else None
    words = [part for word in (remembered.words if remembered else ()) for part in word.split("=", 1)]
    asked = [value for option, value in pairwise(words) if option == "--ctx"]
    return parse_tokens(asked[-1]) if asked else CONTEXT_DEFAULT_TOKENS

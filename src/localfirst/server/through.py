"""A session that a server of this user's answers, where it has the model loaded: nothing is loaded twice.

What would be loaded is decided as ever, but as if what the server holds were free; only where the server has just that
does it answer. So the answers are the same, and by what was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.names import parse_remote
from localfirst.errors import LfError
from localfirst.hwprobe.probe import probe
from localfirst.server.found import find_servers
from localfirst.services import session as sessions
from localfirst.services.library import find_entry
from localfirst.services.preparing import Allowed, ignore, prepare
from localfirst.services.serving.alike import describe, find_difference, name_build

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.server.found import Record
    from localfirst.server.served import Free
    from localfirst.services.session import Session
    from localfirst.types import Machine, Plan, Progress, Wanted

WELL_S = 1.0
"""How long a server may take to say that it is well; one that hangs is done without."""


class LoadedOtherwiseError(Exception):
    """A server has the model, but not as it was asked for."""


class Asked(NamedTuple):
    """What a session is opened for."""

    name: str
    wanted: Wanted
    allowed: Allowed
    report: Callable[[Progress], None]
    draft: str | None


def open_session(  # noqa: PLR0913 - as the one that loads
    name: str,
    wanted: Wanted,
    *,
    allowed: Allowed | None = None,
    report: Callable[[Progress], None] = ignore,
    chosen: Callable[[Plan], None] | None = None,
    draft: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Session:
    """As `services.session.open_session`; where a server has just that model loaded, nothing is loaded.

    Args:
        name: a model name as typed.
        wanted: what the user asked for.
        allowed: whether the network and an installation may be used.
        report: told of every long step.
        chosen: told of the plan.
        draft: the name of a smaller model that is to draft, or `auto`.
        tell: told, in a line for people, who answers where a server has the model.

    Raises:
        LfError: any step's own; nothing is left running.
    """
    asked = Asked(name, wanted, allowed or Allowed(), report, draft)
    others: list[str] = []
    for record in () if parse_remote(name) else find_servers():
        session = None
        try:
            session = _open_at(record, asked)
        except LoadedOtherwiseError as error:
            others.append(f"The server at {record.place} has {name} loaded, but {error}: it is loaded here, too")
        except LfError:  # nobody asked for the server; what is wrong with the request is said by who loads the model
            pass
        if session is not None:
            tell(f"{name} is loaded in the server at {record.place}, which answers; `--no-server` loads it here")
            if chosen is not None:
                chosen(session.plan)
            return session
    for text in others[:1]:
        tell(text)
    return sessions.open_session(name, wanted, allowed=asked.allowed, report=report, chosen=chosen, draft=draft)


def _open_at(record: Record, asked: Asked) -> Session | None:
    """A session with the model in one server; `None`: it has none of this name.

    Raises:
        LoadedOtherwiseError: its model is not as it was asked for.
        LfError: the server does not answer; or as planning says.
    """
    from localfirst.server.served import ServedModel, look  # noqa: PLC0415 - and with it httpx2, where a server runs

    name, wanted, allowed, report, draft = asked
    model = find_entry(name, offline=True).model.name
    loaded, free = look(record, model, WELL_S)
    if not loaded:
        return None

    def require_loaded(plan: Plan) -> None:
        if (build := name_build(plan)) not in loaded:
            raise LoadedOtherwiseError(f"its build is {' and '.join(loaded)}, not {build}")

    prepared = prepare(
        name,
        wanted,
        allowed=allowed,
        report=report,
        chosen=require_loaded,  # before anything is fetched
        draft=draft,
        see=lambda: _see(free),
    )
    there = loaded[name_build(prepared.plan)]
    here = describe(prepared.plan, prepared.load)
    named = {"context": wanted.context_tokens is not None, "threads": wanted.threads is not None}
    if difference := find_difference(here, there.how, **named):
        raise LoadedOtherwiseError(difference)
    return sessions.Session(
        prepared.plan,
        prepared.python,
        prepared.load,
        prepared.machine,
        report,
        measures=False,  # the server does
        holder=ServedModel(record, there),
    )


def _see(free: Free) -> Machine:
    """This machine, with the memory that would be free if the server had nothing loaded."""
    machine = probe()
    devices = (
        device._replace(memory_free_bytes=free_bytes)
        for device, free_bytes in zip(machine.devices, free.devices_bytes, strict=False)
    )
    memory = machine.memory._replace(available_bytes=free.memory_bytes)
    return machine._replace(memory=memory, devices=tuple(devices))

"""A session that a server of this user's answers, where it has the model loaded: nothing is loaded twice.

What would be loaded is decided as ever, but as if what the server holds were free; only where the server has just that
does it answer. So the answers are the same, and by what was asked for.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from localfirst.catalog.names import parse_remote
from localfirst.errors import LfError, ServerError
from localfirst.hwprobe.probe import probe
from localfirst.server.found import find_servers
from localfirst.services import session as sessions
from localfirst.services.library import find_entry
from localfirst.services.preparing import Allowed, Held, ignore, prepare
from localfirst.services.serving.alike import describe, find_difference, name_build

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.server.found import Record
    from localfirst.server.served import Free, There
    from localfirst.services.preparing import Prepared
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
    from localfirst.server.served import ServedModel  # noqa: PLC0415 - as `look`

    found = _find_at(record, asked, longer=asked.wanted.context_tokens is None)
    if found is None:
        return None
    prepared, there = found
    return sessions.Session(
        prepared.plan,
        prepared.python,
        prepared.load,
        prepared.machine,
        asked.report,
        measures=False,  # the server does
        holder=ServedModel(record, there),
    )


def find_held(name: str, wanted: Wanted, allowed: Allowed, report: Callable[[Progress], None], *, longer: bool) -> Held:
    """A model that a server has loaded as it was asked for, to be measured there; `longer`: or with a longer context.

    Raises:
        ServerError: none has; what is otherwise is in the detail.
        LfError: as planning says.
    """
    from localfirst.server.served import ServedModel  # noqa: PLC0415 - as `look`

    others: list[str] = []
    for record in find_servers():
        try:
            found = _find_at(record, Asked(name, wanted, allowed, report, None), longer=longer)
        except LoadedOtherwiseError as error:
            others.append(f"at {record.place}, {error}")
        except ServerError:
            continue
        else:
            if found is not None:
                prepared, there = found
                return Held(prepared._replace(load=there.how.load), partial(ServedModel, record, there))
    raise ServerError(
        f"No server has `{name}` loaded as it would be measured",
        detail="\n".join(others) or None,
        hint=f"Load it: `lf load {name}`; see what is loaded: `lf ps`",
    )


def _find_at(record: Record, asked: Asked, *, longer: bool) -> tuple[Prepared, There] | None:
    """What would be loaded, and how the server has just that; `longer`: or with a longer context."""
    from localfirst.server.served import look  # noqa: PLC0415 - and with it httpx2, where a server runs

    name, wanted, allowed, report, draft = asked
    loaded, free = look(record, find_entry(name, offline=True).model.name, WELL_S)
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
    named = {"context": not longer, "threads": wanted.threads is not None}
    if difference := find_difference(here, there.how, **named):
        raise LoadedOtherwiseError(difference)
    return prepared, there


def _see(free: Free) -> Machine:
    """This machine, with the memory that would be free if the server had nothing loaded."""
    machine = probe()
    devices = (
        device._replace(memory_free_bytes=free_bytes)
        for device, free_bytes in zip(machine.devices, free.devices_bytes, strict=False)
    )
    memory = machine.memory._replace(available_bytes=free.memory_bytes)
    return machine._replace(memory=memory, devices=tuple(devices))

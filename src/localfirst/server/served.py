"""A model that a server has loaded, in the place of a worker's: asked in the same frames, by HTTP."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.backends.base import ignore
from localfirst.conversation import Usage
from localfirst.errors import LfError, ServerError
from localfirst.server import CANCEL, LOADED, RELAY
from localfirst.server.client import Client
from localfirst.services.serving.alike import Loading
from localfirst.worker import protocol
from localfirst.worker.holder import CLOSE_TIMEOUT_S, Holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.backends.base import LoadedInfo
    from localfirst.server.client import Lines
    from localfirst.server.found import Record

CANCEL_S = 0.5
"""How long a server may take to hear that an answer is to end; one that does not is left, which ends the answer."""
LEFT = protocol.Finished("cancelled", Usage(0, 0), None, None)


class There(NamedTuple):
    """A model that a server has loaded."""

    name: str
    """By which the server loads it again, should it have gone meanwhile."""
    how: Loading
    info: LoadedInfo


class Free(NamedTuple):
    """What would be free if a server had nothing loaded; `None` is unknown."""

    memory_bytes: int | None
    devices_bytes: tuple[int | None, ...]
    """In the order in which the machine has its devices."""


def look(record: Record, model: str, well_s: float) -> tuple[dict[str, There], Free]:
    """The builds of a model that a server has loaded, by their names; one that it is loading is waited for.

    Raises:
        ServerError: it does not say within `well_s` that it is well, or ends meanwhile, or speaks otherwise.
    """
    with Client(record) as client:
        if not client.is_well(well_s):
            raise ServerError(f"The server at {record.place} does not answer")
        told = client.post(LOADED, {"model": model}, patient=True)
    try:
        return _read(told)
    except (KeyError, TypeError, ValueError) as error:  # it runs since before lf was renewed
        raise _say_other(record) from error


def _read(told: Any) -> tuple[dict[str, There], Free]:
    loaded = {}
    for one in told["loaded"]:
        _, load = protocol.decode_request(one["load"].encode())
        _, event = protocol.decode_event(one["info"].encode())
        if isinstance(load, protocol.Load) and isinstance(event, protocol.Loaded):
            how = Loading(one["runtime"], one["device"], load)
            loaded[one["build"]] = There(one["build"], how, event.info)
    return loaded, Free(told["free"]["memory_bytes"], tuple(told["free"]["devices_bytes"]))


class ServedModel(Holder):
    """A model in a server. Each of its requests is a connection with a thread that reads what comes."""

    def __init__(self, record: Record, there: There) -> None:
        """Ask nothing yet."""
        super().__init__()
        self._record, self._there = record, there
        self._asking: dict[int, _Asking] = {}
        self._death: LfError | None = None

    @property
    def alive(self) -> bool:
        """Whether the server was still there when it was last asked."""
        return self._death is None

    @property
    def pid(self) -> int:
        """Of the server, whose worker is a child of it."""
        return self._record.pid

    def load(self, request: protocol.Load, report: Callable[[str, bool], None] = ignore) -> LoadedInfo:  # noqa: ARG002 - as a worker's
        """What the server has loaded."""
        return self._there.info

    def send(self, request: protocol.Request, request_id: int) -> None:
        """Ask, or cancel what was asked, in a thread: who waits for events is never kept by a server that hangs."""
        if isinstance(request, protocol.Cancel):
            if (asking := self._asking.get(request.target)) is not None:
                _start(partial(self._cancel, asking, request.target))
        else:
            self._asking[request_id] = asking = _Asking()
            _start(partial(self._follow, asking, request, request_id))

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:  # noqa: ARG002 - as a worker's
        """Leave; what the server still answers ends."""
        for asking in list(self._asking.values()):
            asking.leave()

    def kill(self, error: LfError) -> None:
        """Leave for good."""
        self._death = error
        self.close()
        self.tell_gone()

    def explain_death(self) -> LfError:
        """What happened to the server, as far as this side knows."""
        return self._death or ServerError("The server is gone")

    def _follow(self, asking: _Asking, request: protocol.Request, request_id: int) -> None:
        how = self._there.how
        asked = {
            "model": self._there.name,
            "runtime": how.runtime,
            "device": how.device,
            "load": protocol.encode(how.load, 0).decode(),
            "request": protocol.encode(request, request_id).decode(),
            "ticket": asking.ticket,
        }
        try:
            with Client(self._record) as client, client.stream(RELAY, asked) as lines:
                asking.hold(lines)
                for line in lines:
                    if (event := _read_event(line)) is None:
                        self.kill(_say_other(self._record))
                        return
                    self.pass_on(request_id, event)
        except ServerError as error:
            if not asking.left:
                self.kill(_say_gone(error))
        except LfError as error:
            self.pass_on(request_id, protocol.Failed(error.code, error.message, error.detail, error.hint))
        finally:
            self._asking.pop(request_id, None)

    def _cancel(self, asking: _Asking, request_id: int) -> None:
        """End a request: the server tells the end of one that it has begun; another one ends by being left."""
        told = {"begun": False}
        with suppress(LfError), Client(self._record, CANCEL_S) as client:
            told = client.post(CANCEL, {"ticket": asking.ticket})
        if not told["begun"]:
            asking.leave()
            self.pass_on(request_id, LEFT)


class _Asking:
    """A request that is under way."""

    def __init__(self) -> None:
        self.ticket = secrets.token_hex(8)
        self.left = False
        self._lines: Lines | None = None

    def hold(self, lines: Lines) -> None:
        """Keep what there is to leave."""
        self._lines = lines
        if self.left:
            lines.leave()

    def leave(self) -> None:
        """Wait for nothing more of it."""
        self.left = True
        if self._lines is not None:
            self._lines.leave()


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _read_event(line: str) -> protocol.Event | None:
    """What a server says; `None`: what this version does not know."""
    try:
        return protocol.decode_event(line.encode())[1]
    except (ValueError, KeyError, TypeError):
        return None


def _say_other(record: Record) -> ServerError:
    return ServerError(
        f"The server at {record.place} is one of another version of lf",
        hint="End it, and start it anew: `lf server stop`",
    )


def _say_gone(error: LfError) -> ServerError:
    return ServerError(
        "The server ended, or was lost, before the answer was whole",
        detail=error.detail,
        hint="Ask again: the model is loaded here then. What the server did: `lf server logs`",
    )
